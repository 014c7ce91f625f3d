//! Streams of a native provider.

use super::*;

const START: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\"m\",\"usage\":{\"input_tokens\":5,\"output_tokens\":1}}}\n\n";
const PING: &str = "event: ping\ndata: {\"type\":\"ping\"}\n\n";
const BLOCK: &str = "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n";
const DELTA: &str = "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":8}}\n\n";
const STOP: &str = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
const OVERLOADED: &str = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";

/// What a client gets of these bytes in pieces of one size, and what became of the stream.
fn passed(stream: &mut Stream, text: &str, step: usize) -> (String, Status) {
    let mut out = Vec::new();
    let mut status = Status::Held;
    for piece in text.as_bytes().chunks(step) {
        status = stream.push(piece, &mut out);
    }
    (String::from_utf8(out).unwrap(), status)
}

fn new(renamed: Option<&str>) -> Stream {
    Stream::new(reply::tests::reply(renamed))
}

#[test]
fn a_stream_passes_as_it_is_however_it_is_cut() {
    let text = [
        ": hello\n\n",
        START,
        PING,
        BLOCK,
        "event: brand_new\ndata: {\"type\":\"brand_new\"}\r\n\r\n",
        DELTA,
        STOP,
    ]
    .concat();
    for step in 1..=text.len() {
        let mut stream = new(None);
        let (out, status) = passed(&mut stream, &format!("{text}data: [DONE]\n\n"), step);
        assert_eq!((&out, status), (&text, Status::Ended), "by {step}");
        let usage = stream.usage();
        assert_eq!((usage.input_tokens, usage.output_tokens), (5, 8));
        let mut renamed = new(Some("claude-opus"));
        let (out, _) = passed(&mut renamed, &text, step);
        assert_eq!(
            out,
            text.replace("\"model\":\"m\"", "\"model\":\"claude-opus\""),
            "by {step}"
        );
    }
}

#[test]
fn nothing_is_written_before_content() {
    let mut stream = new(None);
    assert_eq!(
        passed(&mut stream, &[START, PING].concat(), 9),
        (String::new(), Status::Held)
    );
    stream.keep_alive(&mut Vec::new());
    let (out, status) = passed(&mut stream, OVERLOADED, 9);
    assert_eq!(out, "");
    assert!(!stream.is_committed());
    assert!(matches!(status, Status::Failed(fault) if fault.kind == FaultKind::Overloaded));
    for (text, kind) in [
        (OVERLOADED, FaultKind::Overloaded),
        (BLOCK, FaultKind::Nonsense),
        ("<html>\n\n", FaultKind::Nonsense),
        ("", FaultKind::Nonsense),
        (START, FaultKind::Cut),
    ] {
        let mut stream = new(None);
        passed(&mut stream, text, 100);
        let mut out = Vec::new();
        let status = stream.end(&mut out);
        stream.fail(&ErrorBody::new(ErrorType::Api, "m", "req_1"), &mut out);
        assert!(out.is_empty(), "{text}");
        assert!(
            matches!(&status, Status::Failed(fault) if fault.kind == kind),
            "{text}: {status:?}"
        );
    }
}

#[test]
fn a_broken_stream_ends_in_one_error_event_and_no_half_one() {
    let whole = [START, BLOCK].concat();
    let error = ErrorBody::new(ErrorType::Api, "m", "req_1");
    for cut in 0..DELTA.len() {
        let mut stream = new(None);
        let (mut out, _) = passed(&mut stream, &format!("{whole}{}", &DELTA[..cut]), 7);
        let mut after = Vec::new();
        assert!(matches!(stream.end(&mut after), Status::Failed(fault) if fault.kind == FaultKind::Cut));
        stream.fail(&error, &mut after);
        stream.fail(&error, &mut after);
        stream.keep_alive(&mut after);
        out.push_str(std::str::from_utf8(&after).unwrap());
        let mut expected = whole.clone().into_bytes();
        error.to_event(&mut expected);
        assert_eq!(out.as_bytes(), expected, "{cut}");
    }
}

#[test]
fn an_error_of_the_provider_is_left_to_the_caller_to_tell() {
    let mut stream = new(None);
    let (out, status) = passed(&mut stream, &[START, BLOCK, OVERLOADED, STOP].concat(), 11);
    assert_eq!(out, [START, BLOCK].concat());
    assert!(matches!(status, Status::Failed(fault) if fault.kind == FaultKind::Overloaded));
    assert!(stream.is_committed());
}

#[test]
fn an_event_that_is_named_an_error_is_one_whatever_it_holds() {
    for (event, kind) in [
        (
            "event: error\ndata: {\"error\":{\"message\":\"Overloaded\",\"type\":\"overloaded_error\"}}\n\n",
            FaultKind::Overloaded,
        ),
        ("event: error\ndata: <html>\n\n", FaultKind::Nonsense),
        ("event: error\n\n", FaultKind::Nonsense),
    ] {
        let mut stream = new(None);
        let (out, status) = passed(&mut stream, &[START, BLOCK, event, STOP].concat(), 11);
        assert_eq!(out, [START, BLOCK].concat(), "{event}");
        assert!(
            matches!(&status, Status::Failed(fault) if fault.kind == kind),
            "{event}: {status:?}"
        );
    }
}

#[test]
fn an_end_without_its_empty_line_is_an_end() {
    let whole = [START, BLOCK, DELTA, STOP].concat();
    for missing in 1..=2 {
        let mut stream = new(None);
        let (mut out, status) = passed(&mut stream, &whole[..whole.len() - missing], 5);
        assert_eq!(status, Status::Streaming);
        let mut rest = Vec::new();
        assert_eq!(stream.end(&mut rest), Status::Ended);
        out.push_str(std::str::from_utf8(&rest).unwrap());
        assert_eq!(out, whole, "{missing} bytes were missing");
    }
}

#[test]
fn a_huge_event_passes_in_pieces_and_a_loss_inside_it_is_told() {
    let huge = format!("event: content_block_delta\ndata: {}\n\n", "x".repeat(200_000));
    let text = [START, BLOCK, &huge, DELTA, STOP].concat();
    for step in [1_000, 70_000, 300_000] {
        let mut stream = new(None);
        let (out, status) = passed(&mut stream, &text, step);
        assert!(out == text && status == Status::Ended, "by {step}");
        assert_eq!(stream.usage().output_tokens, 8);
    }
    let mut stream = new(None);
    let (out, _) = passed(&mut stream, &text[..150_000], 1_000);
    assert_eq!(out, text[..150_000]);
    let mut rest = Vec::new();
    stream.keep_alive(&mut rest);
    stream.fail(&ErrorBody::new(ErrorType::Api, "m", "req_1"), &mut rest);
    assert!(rest.starts_with(b"\n\nevent: error\n"));
}

#[test]
fn a_ping_stands_between_events() {
    let mut stream = new(None);
    let mut out = Vec::new();
    stream.push([START, BLOCK, &DELTA[..20]].concat().as_bytes(), &mut out);
    stream.keep_alive(&mut out);
    stream.push(&DELTA.as_bytes()[20..], &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        [START, BLOCK, PING, DELTA].concat()
    );
}

#[test]
fn endless_nothing_is_no_answer() {
    let mut stream = new(None);
    let (out, status) = passed(&mut stream, &PING.repeat(40_000), 4_096);
    assert_eq!(out, "");
    assert!(matches!(status, Status::Failed(fault) if fault.kind == FaultKind::Nonsense));
}
