//! Upstreams that do what their script says, call by call.

use std::sync::Mutex;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{Act, Case};

const DOCUMENT: &str =
    r#"{"choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"Hello"}}]}"#;
const ROLE: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"}}]}\n\n";
const CONTENT: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello\"}}]}\n\n";
const FINISH: &str =
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

pub(super) type Calls = Mutex<Vec<(String, String)>>;

/// Plays all upstreams of a case; every call has a connection of its own.
pub(super) async fn serve(listener: TcpListener, case: &Case, calls: &Calls) {
    loop {
        let (mut socket, _) = listener.accept().await.unwrap();
        let Some((provider, model)) = read_call(&mut socket).await else {
            continue;
        };
        let call = (provider.clone(), model.clone());
        let nth = {
            let mut calls = calls.lock().unwrap();
            calls.push(call.clone());
            calls.iter().filter(|known| **known == call).count() - 1
        };
        let mut candidates = case.candidates.iter();
        let candidate = candidates.find(|known| (&known.provider, &known.model) == (&provider, &model));
        let act = candidate.unwrap().act(nth);
        let bytes = reply(act, case.is_stream);
        // Who breaks off its answer closes the connection, and so does whoever completes one.
        socket.write_all(bytes.as_bytes()).await.ok();
        socket.shutdown().await.ok();
    }
}

async fn read_call(socket: &mut TcpStream) -> Option<(String, String)> {
    let mut request = Vec::new();
    loop {
        if socket.read_buf(&mut request).await.ok()? == 0 {
            return None;
        }
        let Some(end) = request.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
            continue;
        };
        // The whole body is there as soon as it is JSON.
        if let Ok(body) = serde_json::from_slice::<Value>(&request[end + 4..]) {
            let head = String::from_utf8_lossy(&request[..end]).into_owned();
            let path = head.split(' ').nth(1)?;
            let provider = path.trim_start_matches('/').split('/').next()?.to_owned();
            return Some((provider, body["model"].as_str()?.to_owned()));
        }
    }
}

fn reply(act: Act, is_stream: bool) -> String {
    let with_length = |status: u16, content_type: &str, body: &str| {
        let bytes = body.len();
        let wait = if status == 429 { "retry-after: 30\r\n" } else { "" };
        format!(
            "HTTP/1.1 {status} S\r\nconnection: close\r\ncontent-type: {content_type}\r\n{wait}\
             content-length: {bytes}\r\n\r\n{body}"
        )
    };
    let json = |status, body: &str| with_length(status, "application/json", body);
    let error =
        |kind: &str| format!(r#"{{"error":{{"message":"as scripted","type":"{kind}","code":null}}}}"#);
    let events = |events: &[&str], is_whole: bool| {
        let mut out = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream\r\n\
                       transfer-encoding: chunked\r\n\r\n"
            .to_owned();
        for event in events {
            out.push_str(&format!("{:x}\r\n{event}\r\n", event.len()));
        }
        out.push_str(if is_whole { "0\r\n\r\n" } else { "" });
        out
    };
    let cut = |whole: String| whole[..whole.len() - 20].to_owned();
    match (act, is_stream) {
        (Act::Answers, true) => events(&[ROLE, CONTENT, FINISH], true),
        (Act::Answers, false) => json(200, DOCUMENT),
        (Act::Refuses(status), _) => json(status, &error("scripted_error")),
        (Act::Admits(kind), true) => events(&[&format!("data: {}\n\n", error(kind))], true),
        (Act::Admits(kind), false) => json(200, &error(kind)),
        (Act::CutsBeforeHead, _) => String::new(),
        (Act::CutsAfterHead, true) => events(&[ROLE], false),
        (Act::CutsAfterContent, true) => events(&[ROLE, CONTENT], false),
        (Act::CutsAfterHead | Act::CutsAfterContent, false) => cut(json(200, DOCUMENT)),
        (Act::FailsAfterContent, true) => {
            let error = format!("data: {}\n\n", error("server_error"));
            events(&[ROLE, CONTENT, &error], true)
        }
        (Act::FailsAfterContent, false) => json(200, &error("server_error")),
        (Act::TalksNonsense, _) => json(200, "}{ not json"),
        (Act::ShowsPage, _) => with_length(200, "text/html", "<html>It works!</html>"),
        (Act::Redirects, _) => "HTTP/1.1 307 S\r\nconnection: close\r\nlocation: /p0/elsewhere\r\n\
                                content-length: 0\r\n\r\n"
            .to_owned(),
    }
}
