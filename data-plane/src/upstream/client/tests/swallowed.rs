//! Calls that die on a kept connection, and on a new one.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use bytes::Bytes;
use http::HeaderMap;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::super::{Accept, Client, Request};
use crate::upstream::outcome::Class;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

/// An upstream that answers so many calls on each connection, and ends the next one with it.
struct Upstream {
    url: url::Url,
    calls: Arc<AtomicU32>,
    /// Ends with the upstream.
    _serving: JoinSet<()>,
}

impl Upstream {
    async fn start(answered: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let calls = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&calls);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                connections.spawn(serve(socket, answered, Arc::clone(&counted)));
            }
        });
        Self {
            url: url.parse().unwrap(),
            calls,
            _serving: serving,
        }
    }

    fn calls(&self) -> u32 {
        self.calls.load(Ordering::Relaxed)
    }
}

async fn serve(mut socket: TcpStream, answered: u32, calls: Arc<AtomicU32>) {
    for number in 0.. {
        let mut call = Vec::new();
        while !call.ends_with(b"{\"q\":1}") {
            match socket.read_buf(&mut call).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
        calls.fetch_add(1, Ordering::Relaxed);
        if number == answered {
            return;
        }
        socket.write_all(ANSWER).await.unwrap();
    }
}

async fn ask(client: &Client, upstream: &Upstream) -> Result<u16, Class> {
    let call = Request {
        url: upstream.url.clone(),
        headers: HeaderMap::new(),
        accept: Accept::Json,
        body: Bytes::from_static(b"{\"q\":1}"),
    };
    let mut answer = client.send(&call).await?;
    // A connection is free for the next call after the end of its body.
    while answer.body.chunk().await.transpose()?.is_some() {}
    Ok(answer.status)
}

#[tokio::test]
async fn a_call_that_a_kept_connection_swallowed_goes_out_once_more() {
    let client = Client::plain();
    let upstream = Upstream::start(1).await;
    for (calls, swallowed) in [(1, 0), (3, 1), (4, 1)] {
        assert_eq!(ask(&client, &upstream).await, Ok(200));
        assert_eq!((upstream.calls(), client.swallowed.get()), (calls, swallowed));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_a_new_connection_swallowed_does_not() {
    let client = Client::plain();
    let upstream = Upstream::start(0).await;
    for calls in 1..=200 {
        assert_eq!(ask(&client, &upstream).await, Err(Class::Reset));
        assert_eq!((upstream.calls(), client.swallowed.get()), (calls, 0));
    }
}
