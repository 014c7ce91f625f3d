//! What listeners do with connections: bytes that are no request, too many of them, and
//! those that are open when a node ends.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bridge_tests::anthropic::ask;
use bridge_tests::bridge::Bridge;
use bridge_tests::faultd::script::{After, End};
use bridge_tests::faultd::{Gate, Script};
use bridge_tests::stage::{MODEL, Stage};
use bridge_tests::wait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const BODY: &str = r#"{"model":"haiku","max_tokens":10,"messages":[{"role":"user","content":"Hi"}]}"#;
/// A node that was told twice to end.
const EXIT_MAX: Duration = Duration::from_millis(500);
/// On a loaded machine.
const SLACK: Duration = Duration::from_secs(3);

/// Sends bytes and returns all that comes back before the server closes.
async fn exchange(address: &str, bytes: &[u8]) -> Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(bytes).await?;
    let mut answer = Vec::new();
    // A reset after the answer is an end, too.
    let _ = timeout(wait::DEADLINE, stream.read_to_end(&mut answer))
        .await
        .context("the server neither answers nor closes")?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Reads to the end of an answer that says how long it is.
async fn rest_of_answer(stream: &mut TcpStream) -> Result<()> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        timeout(wait::DEADLINE, stream.read_exact(&mut byte)).await??;
        head.extend_from_slice(&byte);
    }
    let head = String::from_utf8(head)?;
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.context("an answer without a length")?.parse()?];
    timeout(wait::DEADLINE, stream.read_exact(&mut body)).await??;
    Ok(())
}

fn statuses(answers: &str) -> Vec<&str> {
    let lines = answers.split("HTTP/1.1 ").skip(1);
    lines.filter_map(|line| line.get(..3)).collect()
}

#[tokio::test]
async fn bytes_that_can_be_read_in_two_ways_are_refused_and_reach_nobody() -> Result<()> {
    let mut stage = Stage::start().await?;
    stage.upstream.always(MODEL, Script::text("Hi"));
    let address = stage.bridge.node(0)?.address();
    let length = BODY.len();
    let key = &stage.key;
    let head = |line: &str, more: &str| {
        format!("{line}\r\nhost: bridge\r\nx-api-key: {key}\r\ncontent-type: application/json\r\n{more}\r\n")
    };
    let post = |more: &str| head("POST /v1/messages HTTP/1.1", more);
    let hidden = format!("{}{BODY}", post(&format!("content-length: {length}\r\n")));
    let chunked = format!("{length:x}\r\n{BODY}\r\n0\r\n\r\n");
    let refused = [
        // Two lengths: who stands in front may have read the other one.
        post(&format!("content-length: {length}\r\ncontent-length: 0\r\n")) + BODY + &hidden,
        post(&format!("content-length: {length}, 0\r\n")) + BODY,
        post("content-length: +5\r\n") + BODY,
        post("content-length: 0x10\r\n") + BODY,
        post("content-length: -1\r\n") + BODY,
        post("transfer-encoding: chunked, identity\r\n") + &chunked,
        post("transfer-encoding: xchunked\r\n") + &chunked,
        post("transfer-encoding : chunked\r\n") + &chunked,
        // Lines that go on in the next one, and ends of line in the wrong place.
        post(&format!("x-long: a\r\n b\r\ncontent-length: {length}\r\n")) + BODY,
        post(&format!("x-nul: a\0b\r\ncontent-length: {length}\r\n")) + BODY,
        post(&format!("x-return: a\rb\r\ncontent-length: {length}\r\n")) + BODY,
        post(&format!("no colon here\r\ncontent-length: {length}\r\n")) + BODY,
        post(&format!("x y: z\r\ncontent-length: {length}\r\n")) + BODY,
        // Chunks that are none.
        post("transfer-encoding: chunked\r\n") + &format!("zz\r\n{BODY}\r\n0\r\n\r\n"),
        post("transfer-encoding: chunked\r\n") + &format!("-1\r\n{BODY}\r\n0\r\n\r\n"),
        post("transfer-encoding: chunked\r\n") + &format!("fffffffffffffffff\r\n{BODY}\r\n0\r\n\r\n"),
        post("transfer-encoding: chunked\r\n") + &format!("{length:x}\r\n{BODY}xx0\r\n\r\n"),
        // Versions and methods that do not exist.
        head(
            "POST /v1/messages HTTP/9.9",
            &format!("content-length: {length}\r\n"),
        ) + BODY,
        head("POST /v1/messages", &format!("content-length: {length}\r\n")) + BODY,
        head(
            "POST  /v1/messages HTTP/1.1",
            &format!("content-length: {length}\r\n"),
        ) + BODY,
        head(
            "PO ST /v1/messages HTTP/1.1",
            &format!("content-length: {length}\r\n"),
        ) + BODY,
        // More than a head holds.
        post(&format!(
            "x-long: {}\r\ncontent-length: {length}\r\n",
            "x".repeat(70 << 10)
        )) + BODY,
        post(&"x-many: 1\r\n".repeat(101)) + BODY,
        format!("POST /{} HTTP/1.1\r\nhost: bridge\r\n\r\n", "x".repeat(70 << 10)),
    ];
    for request in &refused {
        let answer = exchange(&address, request.as_bytes()).await?;
        let shown: String = request.chars().filter(|c| *c != 'x').take(300).collect();
        // Refused in words or by closing, and nothing behind it is taken for a second request.
        let statuses = statuses(&answer);
        assert!(
            statuses.len() <= 1 && statuses.iter().all(|status| status.starts_with('4')),
            "{shown:?}\ngot {answer:?}"
        );
    }
    assert!(
        stage.upstream.requests_for(MODEL).is_empty(),
        "somebody was asked"
    );

    // Chunks go before a length, and nothing behind them is a request.
    let both = post("content-length: 0\r\ntransfer-encoding: chunked\r\n") + &chunked + &hidden;
    let answer = exchange(&address, both.as_bytes()).await?;
    assert_eq!(statuses(&answer), ["200"], "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    assert_eq!(stage.upstream.requests_for(MODEL).len(), 1);

    // The same in one way only, with a proxy's form of the address, is served.
    for line in [
        "POST /v1/messages HTTP/1.1",
        "POST http://elsewhere.example/v1/messages HTTP/1.1",
    ] {
        let request = head(line, "connection: close\r\ntransfer-encoding: chunked\r\n");
        let extended = format!("{length:x};name=value\r\n{BODY}\r\n0\r\n\r\n");
        let answer = exchange(&address, (request + &extended).as_bytes()).await?;
        assert_eq!(statuses(&answer), ["200"], "{answer}");
    }
    assert_eq!(stage.upstream.requests_for(MODEL).len(), 3);
    Ok(())
}

#[tokio::test]
async fn a_connection_over_the_limit_is_told_so_and_the_others_stay() -> Result<()> {
    let mut bridge = Bridge::start(0).await?;
    bridge
        .add_node_with(vec![("MAX_CONNECTIONS", "2".to_owned())])
        .await?;
    let address = bridge.node(0)?.address();
    let health = b"GET /health HTTP/1.1\r\nhost: bridge\r\n\r\n";
    let mut first = TcpStream::connect(&address).await?;
    let second = TcpStream::connect(&address).await?;
    first.write_all(health).await?;
    let mut buffer = [0; 15];
    first.read_exact(&mut buffer).await?;
    assert_eq!(&buffer, b"HTTP/1.1 200 OK");

    let refused = exchange(&address, health).await?;
    assert!(refused.starts_with("HTTP/1.1 529"), "{refused}");
    for part in ["retry-after: 1", "connection: close", "overloaded_error"] {
        assert!(refused.contains(part), "no {part} in {refused}");
    }
    assert_eq!(
        bridge.node(0)?.metric("bridge_connections_refused_total").await?,
        1.0
    );

    drop(second);
    wait::until("room for another", || async {
        let request = b"GET /health HTTP/1.1\r\nhost: bridge\r\nconnection: close\r\n\r\n";
        let answer = exchange(&address, request).await.ok()?;
        answer.starts_with("HTTP/1.1 200").then_some(())
    })
    .await
}

#[tokio::test]
async fn more_requests_than_the_limit_are_shed_before_their_body_is_read() -> Result<()> {
    let mut bridge = Bridge::start(0).await?;
    bridge
        .add_node_with(vec![("MAX_REQUESTS", "1".to_owned())])
        .await?;
    let mut stage = Stage::behind(bridge).await?;
    let gate = Gate::closed();
    stage
        .upstream
        .once(MODEL, Script::text("Once upon a time").hold_after(2, &gate));
    let mut stream = stage.client()?.stream(&ask("haiku", "A story")).await?;
    stream.next_of("content_block_delta").await?;

    let shed = stage.client()?.messages(&ask("haiku", "Hi")).await?;
    assert_eq!(
        (shed.status, shed.error_type()),
        (529, "overloaded_error"),
        "{shed:?}"
    );
    assert_eq!(shed.header("retry-after"), Some("1"));
    let address = stage.bridge.node(0)?.address();
    // Refused while the body is on its way; and the connection takes another request after it.
    let mut slow = TcpStream::connect(&address).await?;
    for _ in 0..2 {
        let head = format!(
            "POST /v1/messages HTTP/1.1\r\nhost: bridge\r\ncontent-length: {}\r\n\r\n",
            BODY.len()
        );
        slow.write_all(head.as_bytes()).await?;
        let mut status = [0; 12];
        timeout(wait::DEADLINE, slow.read_exact(&mut status))
            .await
            .context("it waits for the body")??;
        assert_eq!(&status, b"HTTP/1.1 529");
        slow.write_all(BODY.as_bytes()).await?;
        rest_of_answer(&mut slow).await?;
    }
    // A body that is too long to be read past ends the connection.
    let promised = "POST /v1/messages HTTP/1.1\r\nhost: bridge\r\ncontent-length: 9000000\r\n\r\n";
    let answer = exchange(&address, promised.as_bytes()).await?;
    assert!(answer.starts_with("HTTP/1.1 529"), "{answer}");
    assert!(
        stage
            .bridge
            .node(0)?
            .metrics()
            .await?
            .contains("bridge_requests_shed_total{shortage=\"requests\"} 4")
    );
    gate.open();
    stream.next_of("message_stop").await?;
    Ok(())
}

#[tokio::test]
async fn who_is_connected_when_a_node_ends_is_still_served() -> Result<()> {
    let mut bridge = Bridge::start(0).await?;
    bridge
        .add_node_with(vec![("DRAIN_DELAY_S", "5".to_owned())])
        .await?;
    let address = bridge.node(0)?.address();
    let mut idle = TcpStream::connect(&address).await?;
    let health = b"GET /health HTTP/1.1\r\nhost: bridge\r\n\r\n";
    bridge.node(0)?.process()?.signal("TERM")?;
    let node = bridge.node(0)?;
    wait::until("not ready", || async {
        (node.readiness().await == Some(503)).then_some(())
    })
    .await?;
    // Old connections and new ones, until the listener is closed; each is told not to stay.
    idle.write_all(health).await?;
    let mut answer = String::new();
    idle.read_to_string(&mut answer).await?;
    let another = exchange(&address, health).await?;
    for answer in [answer, another] {
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
    }
    let status = bridge.node(0)?.process()?.wait_for_exit().await?;
    assert_eq!(status.code(), Some(0));
    Ok(())
}

#[tokio::test]
async fn an_endless_stream_is_cut_when_its_time_is_over() -> Result<()> {
    let mut bridge = Bridge::start(0).await?;
    bridge
        .add_node_with(vec![("DRAIN_MAX_S", "1".to_owned())])
        .await?;
    let mut stage = Stage::behind(bridge).await?;
    let endless = || Script::text("Once upon a time").cut(After::Events(2), End::Stall);
    stage.upstream.always(MODEL, endless());
    let mut stream = stage.client()?.stream(&ask("haiku", "A story")).await?;
    stream.next_of("content_block_delta").await?;
    let told = Instant::now();
    stage.bridge.node(0)?.process()?.signal("TERM")?;
    let error = stream.next_of("error").await?;
    assert_eq!(error.payload["error"]["type"], "overloaded_error");
    assert!(stream.next().await?.is_none());
    let status = stage.bridge.node(0)?.process()?.wait_for_exit().await?;
    assert_eq!(status.code(), Some(0));
    let took = told.elapsed();
    println!("figure: an endless stream with one second to end: {took:?}");
    assert!(took < Duration::from_secs(2) + SLACK, "{took:?}");
    Ok(())
}

#[tokio::test]
async fn a_second_signal_ends_a_node_at_once() -> Result<()> {
    let mut stage = Stage::start().await?;
    let endless = Script::text("Once upon a time").cut(After::Events(2), End::Stall);
    stage.upstream.always(MODEL, endless);
    let mut stream = stage.client()?.stream(&ask("haiku", "A story")).await?;
    stream.next_of("content_block_delta").await?;
    let node = stage.bridge.node(0)?;
    node.process()?.signal("TERM")?;
    wait::until("not ready", || async {
        (node.readiness().await == Some(503)).then_some(())
    })
    .await?;
    let told = Instant::now();
    node.process()?.signal("TERM")?;
    let status = node.process()?.wait_for_exit().await?;
    let took = told.elapsed();
    println!("figure: a node that was told twice to end: {took:?}");
    assert_eq!(status.code(), Some(1), "streams were lost");
    assert!(took < EXIT_MAX + SLACK, "{took:?}");
    Ok(())
}
