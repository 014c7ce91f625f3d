//! Upstreams that fall silent: before a head, behind one, and in the middle of saying why not.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// Answers one request with a head and the role of the answer, and then says nothing.
async fn say_no_word(listener: tokio::net::TcpListener) {
    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n\
        data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n";
    let (mut socket, _) = listener.accept().await.unwrap();
    socket.read_u8().await.unwrap();
    socket.write_all(HEAD).await.unwrap();
    // Its end is the client's.
    socket.read_to_end(&mut Vec::new()).await.ok();
}

#[tokio::test]
async fn p21_a_client_that_waits_no_longer_gets_a_beginning_without_words() {
    const STREAMED: &[u8] =
        br#"{"model":"opus","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"Hi"}]}"#;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut provider = fixture::provider("slow", 1, &["big-1"], &[]);
    let address = listener.local_addr().unwrap();
    provider.endpoint.url = format!("http://{address}/").parse().unwrap();
    let mut stage = Stage::down();
    stage.snapshot.providers = vec![Arc::new(provider)];
    let minutes_ago = Instant::now().checked_sub(Duration::from_secs(200)).unwrap();
    let asked = async {
        let (result, attempts) = stage.run_since(STREAMED, minutes_ago).await;
        (matches!(result, Ok(Committed::Flow(_))), attempts)
    };
    let (begun, ()) = tokio::join!(asked, say_no_word(listener));
    assert_eq!(begun, (true, 1));
}

/// Refuses one request at once, and never comes to the end of saying why.
async fn refuse_without_end(listener: tokio::net::TcpListener) {
    let (mut socket, _) = listener.accept().await.unwrap();
    socket.read_u8().await.unwrap();
    let mut words: &[u8] = b"HTTP/1.1 500 S\r\ncontent-length: 1000000\r\n\r\n";
    while socket.write_all(words).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(20)).await;
        words = b" ";
    }
}

#[tokio::test]
async fn a_refusal_that_does_not_end_is_judged_by_its_status() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut provider = fixture::provider("talker", 1, &["big-1"], &[]);
    let address = listener.local_addr().unwrap();
    provider.endpoint.url = format!("http://{address}/").parse().unwrap();
    provider.endpoint.pace.idle = Duration::from_millis(300);
    provider.max_retries = 0;
    let mut stage = Stage::down();
    stage.snapshot.providers = vec![Arc::new(provider)];
    let (result, attempts) = tokio::select! {
        () = refuse_without_end(listener) => panic!("the call was left early"),
        walked = tokio::time::timeout(Duration::from_secs(10), stage.run()) => walked.unwrap(),
    };
    let Err(Error::Upstream(failure)) = result else {
        panic!("it was refused")
    };
    assert_eq!((failure.class, attempts), (Class::Said(FaultKind::Server), 1));
}

/// Takes a call, says this, and then a comment every ten seconds; tells once the former is said.
async fn stall(listener: tokio::net::TcpListener, head: &[u8], said: tokio::sync::oneshot::Sender<()>) {
    let (mut socket, _) = listener.accept().await.unwrap();
    socket.read_u8().await.unwrap();
    socket.write_all(head).await.unwrap();
    said.send(()).unwrap();
    loop {
        tokio::time::sleep(Duration::from_secs(10)).await;
        let is_begun = !head.is_empty();
        if is_begun && socket.write_all(b": still there\n\n").await.is_err() {
            return;
        }
    }
}

/// Holds that a stream that begins like this is given up after a minute.
async fn hold_given_up(head: &[u8]) {
    const STREAMED: &[u8] =
        br#"{"model":"opus","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"Hi"}]}"#;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut provider = fixture::provider("stalled", 1, &["big-1"], &[]);
    let address = listener.local_addr().unwrap();
    provider.endpoint.url = format!("http://{address}/").parse().unwrap();
    let mut stage = Stage::down();
    stage.snapshot.providers = vec![Arc::new(provider)];
    let (said, is_said) = tokio::sync::oneshot::channel();
    let asked = async {
        let (result, attempts) = stage.run_since(STREAMED, Instant::now()).await;
        (result.err().unwrap(), attempts, tokio::time::Instant::now())
    };
    // From here on time passes by itself; before, it would outrun the connection.
    let pause = async {
        is_said.await.unwrap();
        tokio::time::pause();
        tokio::time::Instant::now()
    };
    let exchange = async { tokio::join!(asked, pause) };
    let ((error, attempts, ended), began) = tokio::select! {
        both = exchange => both,
        () = stall(listener, head, said) => panic!("the upstream was left early"),
    };
    assert_eq!((error.status(), attempts), (504, 1));
    let waited = (ended - began).as_secs_f64();
    assert!((59.0..=61.0).contains(&waited), "given up after {waited} s");
}

#[tokio::test]
async fn e43_whose_head_does_not_come_is_given_up_after_a_minute() {
    Box::pin(hold_given_up(b"")).await;
}

#[tokio::test]
async fn e43_who_says_nothing_but_comments_is_given_up_after_a_minute() {
    Box::pin(hold_given_up(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n",
    ))
    .await;
}
