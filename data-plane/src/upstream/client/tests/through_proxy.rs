//! What a proxy gets to see.

use bytes::Bytes;
use http::HeaderMap;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

use super::super::{Accept, Client, Request};
use crate::{config, overload::Budget, upstream::outcome::Class};

fn client(proxy: &str, listener: &TcpListener) -> Client {
    let proxy = format!("{proxy}@{}", listener.local_addr().unwrap());
    let config = config::Upstream {
        // The proxy's own place is the operator's affair.
        deny: vec!["127.0.0.0/8".parse().unwrap()],
        proxy: Some(config::proxy(&proxy).unwrap()),
        ..config::Upstream::default()
    };
    Client::new(
        config,
        &crate::metrics::Metrics::new().process,
        Budget::new(1 << 30),
    )
    .unwrap()
}

fn call(url: &str) -> Request {
    let mut headers = HeaderMap::new();
    headers.insert("x-api-key", "theirs".parse().unwrap());
    Request {
        url: url.parse().unwrap(),
        headers,
        accept: Accept::Json,
        body: Bytes::from_static(b"{}"),
    }
}

/// Reads one head, gives that answer, and keeps the connection.
async fn answer(listener: &TcpListener, answer: &str) -> (Vec<String>, BufReader<TcpStream>) {
    let (socket, _) = listener.accept().await.unwrap();
    let mut socket = BufReader::new(socket);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        socket.read_line(&mut line).await.unwrap();
        if line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_lowercase());
    }
    socket.write_all(answer.as_bytes()).await.unwrap();
    (lines, socket)
}

#[tokio::test]
async fn an_http_proxy_sees_calls_of_plain_upstreams() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = client("http://me:s%40cret", &listener);
    let denied = client.send(&call("http://169.254.169.254/")).await;
    assert_eq!(denied.map(|answer| answer.status), Err(Class::DeniedAddress));
    let named = call("http://model.nowhere.invalid/v1");
    let (answered, (lines, _socket)) = tokio::join!(
        client.send(&named),
        answer(&listener, "HTTP/1.1 204 No Content\r\n\r\n")
    );
    assert_eq!(answered.unwrap().status, 204);
    assert_eq!(lines[0], "post http://model.nowhere.invalid/v1 http/1.1");
    for line in ["proxy-authorization: basic bwu6c0bjcmv0", "x-api-key: theirs"] {
        assert!(lines.contains(&line.to_owned()), "{lines:?}");
    }
}

#[tokio::test]
async fn an_http_proxy_is_told_where_an_https_upstream_is_and_nothing_of_the_call() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = client("http://me:s%40cret", &listener);
    let named = call("https://model.nowhere.invalid/v1");
    let stand_between = async {
        let (lines, socket) = answer(&listener, "HTTP/1.1 200 Connection established\r\n\r\n").await;
        drop(socket);
        lines
    };
    let (answered, lines) = tokio::join!(client.send(&named), stand_between);
    assert_eq!(answered.map(|answer| answer.status), Err(Class::Tls));
    assert_eq!(
        lines,
        [
            "connect model.nowhere.invalid:443 http/1.1",
            "host: model.nowhere.invalid:443",
            "proxy-authorization: basic bwu6c0bjcmv0",
        ]
    );
}

#[tokio::test]
async fn a_socks_proxy_looks_up_the_name() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = client("socks5://me:s%40cret", &listener);
    let named = call("http://model.nowhere.invalid/v1");
    let stand_between = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        // RFC 1928 and 1929: a choice of methods, a name and password, and where to go.
        let mut methods = [0; 2];
        socket.read_exact(&mut methods).await.unwrap();
        let mut listed = vec![0; usize::from(methods[1])];
        socket.read_exact(&mut listed).await.unwrap();
        assert!(listed.contains(&2));
        socket.write_all(&[5, 2]).await.unwrap();
        let mut credentials = [0; 11];
        socket.read_exact(&mut credentials).await.unwrap();
        assert_eq!(&credentials, b"\x01\x02me\x06s@cret");
        socket.write_all(&[1, 0]).await.unwrap();
        let mut place = [0; 28];
        socket.read_exact(&mut place).await.unwrap();
        assert_eq!(&place, b"\x05\x01\x00\x03\x15model.nowhere.invalid\x00\x50");
        // And then hangs up.
    };
    let (answered, ()) = tokio::join!(client.send(&named), stand_between);
    assert_eq!(answered.map(|answer| answer.status), Err(Class::Unreachable));
}
