use std::{
    cell::Cell,
    io::{Read, Write},
    os::fd::AsFd,
    sync::atomic::{AtomicU32, Ordering},
};

use axum::routing::get;
use http_body_util::BodyExt;
use rustix::net::{RecvFlags, recv};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;

const FIRST: &[u8] = b"GET / HTTP/1.1\r\nhost: bridge\r\n\r\n";
const LAST: &[u8] = b"GET / HTTP/1.1\r\nhost: bridge\r\nconnection: close\r\n\r\n";
const UNLIMITED: Patience = Patience {
    head: Duration::from_millis(5),
    idle: Duration::from_secs(3600),
};
const OVER: Patience = Patience {
    head: Duration::ZERO,
    idle: Duration::ZERO,
};

/// Serves a client that is late: its last request arrives when the time of its connection is
/// found to be over. Returns what it gets.
async fn answers_to_a_late_request(is_used: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let queue = stream.as_fd().try_clone_to_owned().unwrap();
    let served = Arc::new(AtomicU32::new(0));
    let router = Router::new().route(
        "/",
        get({
            let served = Arc::clone(&served);
            async move || served.fetch_add(1, Ordering::Relaxed).to_string()
        }),
    );
    if is_used {
        client.write_all(FIRST).unwrap();
    }
    let (is_started, is_sent) = (Cell::new(false), Cell::new(false));
    let patience = || {
        let is_idle = served.load(Ordering::Relaxed) == u32::from(is_used);
        if !is_started.replace(true) || !is_idle || is_sent.replace(true) {
            return UNLIMITED;
        }
        (&client).write_all(LAST).unwrap();
        while recv(&queue, &mut [0], RecvFlags::PEEK | RecvFlags::DONTWAIT).is_err() {
            std::thread::yield_now();
        }
        OVER
    };
    let terms = Terms::new(Arc::default(), CancellationToken::new());
    terms.serve(stream, router, patience, Wish::Stay).await;
    drop(queue);
    let mut answers = String::new();
    client.read_to_string(&mut answers).unwrap();
    answers
}

#[tokio::test]
async fn what_has_arrived_is_served_though_the_time_of_its_connection_is_over() {
    for (is_used, bodies) in [(false, &["0"][..]), (true, &["0", "1"])] {
        let answers = answers_to_a_late_request(is_used).await;
        let got: Vec<&str> = answers
            .split("HTTP/1.1 200 OK")
            .skip(1)
            .filter_map(|answer| answer.split("\r\n\r\n").nth(1))
            .collect();
        assert_eq!(got, bodies, "{answers}");
    }
}

/// The rest of a body is no head that takes too long: nobody waits for it.
#[tokio::test]
async fn a_client_that_is_refused_while_it_sends_gets_its_answer_and_then_the_end() {
    const TOLD: usize = 1 << 30;
    const SENT: usize = 64 << 10;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = tokio::net::TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let refuses = Router::new().fallback(async || http::StatusCode::PAYLOAD_TOO_LARGE);
    let terms = Terms::new(Arc::default(), CancellationToken::new());
    let serving = terms.serve(stream, refuses, || UNLIMITED, Wish::Stay);
    let asking = async {
        let head = format!("POST / HTTP/1.1\r\nhost: bridge\r\ncontent-length: {TOLD}\r\n\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        client.write_all(&[b'x'; SENT]).await.unwrap();
        let mut answer = Vec::new();
        // With bytes on their way it may be a reset.
        let _ = client.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    };
    let both = async { tokio::join!(serving, asking) };
    let ((), answer) = tokio::time::timeout(Duration::from_secs(10), both).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

/// Nor does it begin the time of the next head once somebody has read past it.
#[tokio::test]
async fn a_client_whose_body_is_read_past_may_ask_again_as_late_as_others() {
    const REST: &[u8] = &[b'x'; 32 << 10];
    const PAUSE: Duration = Duration::from_millis(20 * UNLIMITED.head.as_millis() as u64);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = tokio::net::TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let tasks = tokio_util::task::TaskTracker::new();
    let refuses = Router::new().fallback({
        let tasks = tasks.clone();
        async move |request: axum::extract::Request| {
            tasks.spawn(request.into_body().collect());
            http::StatusCode::PAYLOAD_TOO_LARGE
        }
    });
    let terms = Terms::new(Arc::default(), CancellationToken::new());
    let serving = terms.serve(stream, refuses, || UNLIMITED, Wish::Stay);
    let asking = async {
        let head = format!(
            "POST / HTTP/1.1\r\nhost: bridge\r\ncontent-length: {}\r\n\r\n",
            REST.len()
        );
        client.write_all(head.as_bytes()).await.unwrap();
        // The answer's first bytes: the rest of the body comes after it.
        let mut refused = [0; 12];
        client.read_exact(&mut refused).await.unwrap();
        client.write_all(REST).await.unwrap();
        tokio::time::sleep(PAUSE).await;
        client.write_all(LAST).await.unwrap();
        let mut rest = String::new();
        client.read_to_string(&mut rest).await.unwrap();
        rest
    };
    let both = async { tokio::join!(serving, asking) };
    let ((), rest) = tokio::time::timeout(Duration::from_secs(10), both).await.unwrap();
    assert!(rest.contains("HTTP/1.1 413 "), "{rest}");
}

#[tokio::test]
async fn over_http2_a_large_piece_is_handed_over_in_small_ones() {
    const WHOLE: usize = 2 * stall::PIECE_BYTES + 5;
    for (is_alone, expected) in [
        (false, &[stall::PIECE_BYTES, stall::PIECE_BYTES, 5][..]),
        (true, &[WHOLE]),
    ] {
        let activity = Arc::new(Activity::new(Instant::now()));
        let mut answer = Answer {
            body: Body::from(vec![b'x'; WHOLE]),
            rest: Bytes::new(),
            is_alone,
            at_work: AtWork::new(activity),
        };
        let (mut pieces, mut left) = (Vec::new(), WHOLE);
        while !http_body::Body::is_end_stream(&answer) {
            assert_eq!(http_body::Body::size_hint(&answer).exact(), Some(left as u64));
            let piece = answer.frame().await.unwrap().unwrap().into_data().unwrap();
            left -= piece.len();
            pieces.push(piece.len());
        }
        assert_eq!((&pieces[..], left), (expected, 0));
        assert!(answer.frame().await.is_none());
    }
}
