//! Cases 53–64, 69 and 74: what streams say, in every way that upstreams write it.

use std::time::Duration;

use anyhow::Result;
use bridge_tests::anthropic::ask;
use bridge_tests::faultd::Script;
use serde_json::{Value, json};

use super::bed::{Bed, call_ids, calls, kinds, text, thinking, thought, tool, with};
use super::chunks::{self, DONE, arguments, content, delta, event, finish, opening, reasoning, stream};

fn with_tools() -> Value {
    with(
        ask("haiku", "Go"),
        "tools",
        json!([tool("f"), tool("g"), tool("h")]),
    )
}

#[tokio::test]
async fn c053_s01_the_sequence_of_a_text() -> Result<()> {
    let bed = Bed::start().await?;
    let pieces = ["One ", "two ", "three"];
    let chunks = pieces.map(content).into_iter();
    let role = delta(json!({"role": "assistant", "content": ""}));
    let script = stream(std::iter::once(role).chain(chunks).chain([finish("stop")]));
    let transcript = bed.streamed(script, &ask("haiku", "Count")).await?;
    let mut seen = transcript.kinds();
    seen.retain(|kind| *kind != "ping");
    let deltas = ["content_block_delta"; 3];
    let expected = ["message_start", "content_block_start"].into_iter();
    let expected = expected
        .chain(deltas)
        .chain(["content_block_stop", "message_delta", "message_stop"]);
    assert_eq!(seen, expected.collect::<Vec<_>>());
    let said = transcript
        .events
        .iter()
        .filter_map(|event| event.payload["delta"]["text"].as_str());
    assert_eq!(said.collect::<Vec<_>>(), pieces);
    Ok(())
}

#[tokio::test]
async fn c054_s02_thinking_is_a_block_of_its_own_each_time() -> Result<()> {
    let bed = Bed::start().await?;
    let hm = || reasoning("Hm.");
    let call = || opening(0, "call_1", "f");
    type Row = (
        Vec<Value>,
        &'static str,
        &'static [&'static str],
        &'static [&'static str],
    );
    // What comes, and the blocks of it that are shown with thinking and without.
    let rows: [Row; 3] = [
        (
            vec![hm(), hm(), content("42")],
            "stop",
            &["thinking", "text"],
            &["text"],
        ),
        (
            vec![hm(), call(), arguments(0, "{}")],
            "tool_calls",
            &["thinking", "tool_use"],
            &["tool_use"],
        ),
        (
            vec![hm(), content("a"), hm(), content("b")],
            "stop",
            &["thinking", "text", "thinking", "text"],
            &["text"],
        ),
    ];
    for (chunks, reason, shown, hidden) in rows {
        let script = || stream(chunks.iter().cloned().chain([finish(reason)]));
        let asked = bed.streamed(script(), &thinking(with_tools())).await?.message;
        assert_eq!(kinds(&asked), shown);
        assert!(
            thought(&asked).starts_with("Hm.Hm.") || thought(&asked) == "Hm.",
            "{asked}"
        );
        let unasked = bed.streamed(script(), &with_tools()).await?.message;
        assert_eq!(kinds(&unasked), hidden);
    }
    Ok(())
}

#[tokio::test]
async fn c055_s03_arguments_in_pieces_are_the_same_json() -> Result<()> {
    let bed = Bed::start().await?;
    let whole = r#"{"path":"/a b","text":"é\n\"q\" 🦊","n":[1,{"z":null}]}"#;
    let pieces: Vec<Value> = whole.chars().map(|c| arguments(0, &c.to_string())).collect();
    let script = stream(
        [opening(0, "call_abc", "f")]
            .into_iter()
            .chain(pieces)
            .chain([finish("tool_calls")]),
    );
    let transcript = bed.streamed(script, &with_tools()).await?;
    assert_eq!(call_ids(&transcript.message), ["call_abc"]);
    assert_eq!(calls(&transcript.message), [("f", &serde_json::from_str(whole)?)]);
    Ok(())
}

#[tokio::test]
async fn c056_s04_three_parallel_calls() -> Result<()> {
    let bed = Bed::start().await?;
    let mut chunks = vec![content("Looking.")];
    for (index, name) in ["f", "g", "h"].into_iter().enumerate() {
        chunks.push(opening(index, &format!("call_{index}"), name));
        chunks.push(arguments(index, &format!("{{\"n\":{index}}}")));
    }
    chunks.push(finish("tool_calls"));
    let message = bed.streamed(stream(chunks), &with_tools()).await?.message;
    assert_eq!(kinds(&message), ["text", "tool_use", "tool_use", "tool_use"]);
    let expected = [json!({"n": 0}), json!({"n": 1}), json!({"n": 2})];
    assert_eq!(
        calls(&message),
        [("f", &expected[0]), ("g", &expected[1]), ("h", &expected[2])]
    );
    assert_eq!(call_ids(&message), ["call_0", "call_1", "call_2"]);
    Ok(())
}

#[tokio::test]
async fn c057_s05_interleaved_calls_come_one_after_the_other() -> Result<()> {
    let bed = Bed::start().await?;
    let chunks = [
        opening(0, "call_0", "f"),
        arguments(0, "{\"a\":"),
        opening(1, "call_1", "g"),
        arguments(1, "{\"b\""),
        arguments(0, "1"),
        arguments(1, ":2"),
        arguments(0, "}"),
        arguments(1, "}"),
        finish("tool_calls"),
    ];
    let message = bed.streamed(stream(chunks), &with_tools()).await?.message;
    assert_eq!(
        calls(&message),
        [("f", &json!({"a": 1})), ("g", &json!({"b": 2}))]
    );
    assert_eq!(call_ids(&message), ["call_0", "call_1"]);
    Ok(())
}

#[tokio::test]
async fn c058_s06_calls_without_order_are_told_apart() -> Result<()> {
    let bed = Bed::start().await?;
    let whole = |mut call: Value, index: Option<usize>| {
        if let Some(index) = index {
            call["index"] = json!(index);
        }
        chunks::call(call)
    };
    let f = || chunks::whole_call("call_f", "f", "{\"a\":1}");
    let g = || chunks::whole_call("call_g", "g", "{\"b\":2}");
    let repeated = |piece: &str| {
        chunks::call(json!({"index": 0, "id": "call_f", "function": {"name": "f", "arguments": piece}}))
    };
    let object = json!({"index": 0, "id": "call_f", "function": {"name": "f", "arguments": {"a": 1}}});
    let both: &[(&str, i64)] = &[("f", 1), ("g", 2)];
    let one = &both[..1];
    let rows = [
        (
            "one index for all",
            vec![whole(f(), Some(0)), whole(g(), Some(0))],
            both,
        ),
        ("no index", vec![whole(f(), None), whole(g(), None)], both),
        (
            "whole arguments",
            vec![whole(f(), Some(0)), whole(g(), Some(1))],
            both,
        ),
        (
            "in one chunk",
            vec![delta(json!({"tool_calls": [f(), g()]}))],
            both,
        ),
        (
            "all repeated",
            vec![repeated("{\"a\""), repeated(":1"), repeated("}")],
            one,
        ),
        ("an object", vec![chunks::call(object)], one),
    ];
    for (what, chunks, expected) in rows {
        let script = stream(chunks.into_iter().chain([finish("tool_calls")]));
        let message = bed.streamed(script, &with_tools()).await?.message;
        let seen: Vec<(&str, i64)> = calls(&message)
            .into_iter()
            .map(|(name, input)| {
                (
                    name,
                    input["a"].as_i64().or(input["b"].as_i64()).unwrap_or_default(),
                )
            })
            .collect();
        assert_eq!(seen, expected, "{what}");
    }
    Ok(())
}

#[tokio::test]
async fn c059_s07_ids_of_streamed_calls_are_unique_and_plain() -> Result<()> {
    let bed = Bed::start().await?;
    let nameless =
        |index: usize| chunks::call(json!({"index": index, "function": {"name": "f", "arguments": "{}"}}));
    let lists = [
        vec![nameless(0), nameless(1)],
        vec![
            opening(0, "functions.Read:0", "f"),
            opening(1, "functions.Read:1", "g"),
        ],
        vec![opening(0, "call_1", "f"), opening(1, "call_1", "g")],
    ];
    for chunks in lists {
        let script = stream(chunks.into_iter().chain([finish("tool_calls")]));
        let message = bed.streamed(script, &with_tools()).await?.message;
        assert_eq!(call_ids(&message).len(), 2, "{message}");
    }
    Ok(())
}

#[tokio::test]
async fn c060_s08_a_call_without_arguments_has_an_empty_object() -> Result<()> {
    let bed = Bed::start().await?;
    let absent = chunks::call(json!({"index": 0, "id": "call_1", "function": {"name": "f"}}));
    let null =
        chunks::call(json!({"index": 0, "id": "call_1", "function": {"name": "f", "arguments": null}}));
    for opening in [opening(0, "call_1", "f"), absent, null] {
        let script = stream([opening, finish("tool_calls")]);
        let message = bed.streamed(script, &with_tools()).await?.message;
        assert_eq!(calls(&message), [("f", &json!({}))]);
    }
    Ok(())
}

#[tokio::test]
async fn c061_s09_what_was_said_decides_why_it_stopped() -> Result<()> {
    let bed = Bed::start().await?;
    let call = || [opening(0, "call_1", "f"), arguments(0, "{}")];
    let text_after = stream(call().into_iter().chain([content("Done."), finish("tool_calls")]));
    let message = bed.streamed(text_after, &with_tools()).await?.message;
    assert_eq!(
        (kinds(&message), text(&message).as_str()),
        (vec!["tool_use", "text"], "Done.")
    );
    assert_eq!(message["stop_reason"], "tool_use");

    let stopped = stream(call().into_iter().chain([finish("stop")]));
    assert_eq!(
        bed.streamed(stopped, &with_tools()).await?.message["stop_reason"],
        "tool_use"
    );
    let without = stream([content("No call."), finish("tool_calls")]);
    assert_eq!(
        bed.streamed(without, &with_tools()).await?.message["stop_reason"],
        "end_turn"
    );
    Ok(())
}

#[tokio::test]
async fn c062_s10_every_framing_is_read() -> Result<()> {
    let bed = Bed::start().await?;
    let chunks = [content("Grüße, "), content("🦊!"), finish("stop")];
    let plain: Vec<String> = chunks.iter().map(event).chain([DONE.to_owned()]).collect();
    let all = plain.concat();
    let ndjson: String = chunks.iter().map(|chunk| format!("{chunk}\n")).collect();
    let commented = format!(
        ": hello\n\nretry: 10\nid: 1\n{}",
        all.replace("\n\n", "\n\n: waiting\n\nid: 2\n")
    );
    let rows: Vec<(&str, Vec<Vec<u8>>)> = vec![
        ("CRLF", vec![all.replace('\n', "\r\n").into_bytes()]),
        ("CR", vec![all.replace('\n', "\r").into_bytes()]),
        ("no space", vec![all.replace("data: ", "data:").into_bytes()]),
        ("no blank lines", vec![all.replace("\n\n", "\n").into_bytes()]),
        ("NDJSON", vec![format!("{ndjson}data: [DONE]\n").into_bytes()]),
        ("comments, ids, retry", vec![commented.into_bytes()]),
        ("a byte order mark", vec![format!("\u{feff}{all}").into_bytes()]),
        ("one write", vec![all.clone().into_bytes()]),
        ("a byte at a time", all.bytes().map(|byte| vec![byte]).collect()),
    ];
    for (what, pieces) in rows {
        let transcript = bed.streamed(Script::stream(pieces), &ask("haiku", "Hi")).await?;
        assert_eq!(transcript.text(), "Grüße, 🦊!", "{what}");
        assert!(transcript.error.is_none(), "{what}");
    }
    Ok(())
}

#[tokio::test]
async fn c063_s11_odd_characters_arrive_and_halves_are_joined() -> Result<()> {
    let bed = Bed::start().await?;
    let piece = |escaped: &str| {
        format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{escaped}\"}}}}]}}\n\n")
    };
    let end = || [event(&finish("stop")), DONE.to_owned()];
    let rows: [(&[&str], &str); 3] = [
        (&[r"a\u0000b\u2028c", "🦊"], "a\u{0}b\u{2028}c🦊"),
        (&[r"x\ud83e", r"\udd8ay"], "x🦊y"),
        (&[r"x\ud83e", "y"], "x\u{fffd}y"),
    ];
    for (pieces, expected) in rows {
        let events = pieces.iter().map(|escaped| piece(escaped)).chain(end());
        let transcript = bed.streamed(Script::stream(events), &ask("haiku", "Hi")).await?;
        assert_eq!(transcript.text(), expected);
    }
    Ok(())
}

#[tokio::test]
async fn c064_s12_large_deltas_and_many_of_them() -> Result<()> {
    const LARGE_BYTES: usize = 1024 * 1024;
    const MANY: usize = 3000;
    let bed = Bed::start().await?;
    let large = "x".repeat(LARGE_BYTES);
    let transcript = bed
        .streamed(stream([content(&large), finish("stop")]), &ask("haiku", "Hi"))
        .await?;
    assert!(transcript.text() == large);

    let many = (0..MANY).map(|nth| content(&format!("{nth} ")));
    let transcript = bed
        .streamed(stream(many.chain([finish("stop")])), &ask("haiku", "Hi"))
        .await?;
    let expected: String = (0..MANY).map(|nth| format!("{nth} ")).collect();
    assert!(transcript.text() == expected);
    Ok(())
}

#[tokio::test]
async fn c069_s17_deltas_leave_as_they_come() -> Result<()> {
    const PACE: Duration = Duration::from_millis(100);
    const PIECES: u32 = 5;
    let bed = Bed::start().await?;
    let chunks = (0..PIECES).map(|_| content("word ")).chain([finish("stop")]);
    bed.once(stream(chunks).paced(PACE));
    let mut events = bed.client.stream(&ask("haiku", "Hi")).await?;
    events.next_of("content_block_delta").await?;
    let first = std::time::Instant::now();
    for _ in 1..PIECES {
        events.next_of("content_block_delta").await?;
    }
    assert!(
        first.elapsed() >= PACE * (PIECES - 2),
        "they came within {:?}",
        first.elapsed()
    );
    Ok(())
}

#[tokio::test]
async fn c074_s22_fifty_streams_at_once_stay_apart() -> Result<()> {
    const STREAMS: usize = 50;
    let bed = Bed::start().await?;
    bed.stage
        .upstream
        .always(bridge_tests::stage::MODEL, Script::echo());
    let prompts: Vec<String> = (0..STREAMS)
        .map(|nth| format!("prompt number {nth} of many"))
        .collect();
    let streams = prompts.iter().map(|prompt| async {
        let transcript = bed.client.stream_to_end(&ask("haiku", prompt)).await?;
        anyhow::Ok(transcript.text())
    });
    assert_eq!(futures_util::future::try_join_all(streams).await?, prompts);
    Ok(())
}
