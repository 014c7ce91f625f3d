//! As much of HTTP/1.1 as a client of ours needs, with every byte in our hands.

use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::script::{End, Framing, Gate, Head, Response, Step};
use super::{Fate, Recorded};

type Socket = BufReader<TcpStream>;

const HEAD_BYTES_MAX: usize = 64 * 1024;

/// How long a stall lasts if nobody hangs up: longer than any limit under test.
const STALL: Duration = Duration::from_secs(600);

pub(super) enum Delivery {
    KeepAlive,
    Closed,
    ClientGone,
}

/// `None`: the client closed the connection between two requests.
pub(super) async fn read_request(socket: &mut Socket) -> io::Result<Option<Recorded>> {
    let Some((method, path, headers)) = read_head(socket).await? else {
        return Ok(None);
    };
    let header = |name: &str| {
        let found = headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    };
    let body = match (header("content-length"), header("transfer-encoding")) {
        (Some(length), _) => read_sized(socket, parse_number(length, 10)?).await?,
        (None, Some(_)) => read_chunked(socket).await?,
        (None, None) => Vec::new(),
    };
    Ok(Some(Recorded {
        method,
        path,
        headers,
        body: Bytes::from(body),
        received_at: Instant::now(),
        fate: Fate::Running,
    }))
}

type RequestHead = (String, String, Vec<(String, String)>);

async fn read_head(socket: &mut Socket) -> io::Result<Option<RequestHead>> {
    let first = read_line(socket).await?;
    let mut words = first.split(' ');
    let (Some(method), Some(path)) = (words.next(), words.next()) else {
        return match first.is_empty() {
            true => Ok(None),
            false => Err(malformed("request line")),
        };
    };
    let mut headers = Vec::new();
    let mut head_bytes = first.len();
    loop {
        let line = read_line(socket).await?;
        head_bytes += line.len();
        if head_bytes > HEAD_BYTES_MAX {
            return Err(malformed("head: too long"));
        }
        if line.is_empty() {
            return Ok(Some((method.to_owned(), path.to_owned(), headers)));
        }
        let (name, value) = line.split_once(':').ok_or_else(|| malformed("header"))?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

async fn read_line(socket: &mut Socket) -> io::Result<String> {
    let mut line = String::new();
    socket.read_line(&mut line).await?;
    line.truncate(line.trim_end().len());
    Ok(line)
}

async fn read_sized(socket: &mut Socket, length: usize) -> io::Result<Vec<u8>> {
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await?;
    Ok(body)
}

async fn read_chunked(socket: &mut Socket) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size_line = read_line(socket).await?;
        let length = parse_number(&size_line, 16)?;
        body.extend(read_sized(socket, length).await?);
        read_line(socket).await?;
        if length == 0 {
            return Ok(body);
        }
    }
}

fn parse_number(text: &str, radix: u32) -> io::Result<usize> {
    usize::from_str_radix(text, radix).map_err(|_| malformed("length"))
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("malformed {what}"))
}

/// Plays a response; a write that fails means that the client is gone.
pub(super) async fn play(socket: &mut Socket, response: Response) -> Delivery {
    match try_play(socket, response).await {
        Ok(delivery) => delivery,
        Err(_) => Delivery::ClientGone,
    }
}

async fn try_play(socket: &mut Socket, response: Response) -> io::Result<Delivery> {
    let Response { head, steps, end } = response;
    let framing = head.as_ref().map_or(Framing::Chunked, |head| head.framing);
    if let Some(head) = head {
        socket.write_all(head_text(&head).as_bytes()).await?;
    }
    for step in steps {
        let is_client_there = match step {
            Step::Write(bytes) => {
                socket.write_all(&framed(framing, &bytes)).await?;
                true
            }
            Step::Wait(gate) => wait_for_gate(socket, &gate).await,
            Step::Delay(delay) => outlasts(socket, tokio::time::sleep(delay)).await,
        };
        if !is_client_there {
            return Ok(Delivery::ClientGone);
        }
    }
    finish(socket, framing, end).await
}

async fn finish(socket: &mut Socket, framing: Framing, end: End) -> io::Result<Delivery> {
    match (end, framing) {
        (End::Whole | End::Early, Framing::Chunked) => {
            socket.write_all(b"0\r\n\r\n").await?;
            Ok(Delivery::KeepAlive)
        }
        (End::Whole | End::Early, Framing::Sized { .. }) => Ok(Delivery::KeepAlive),
        (End::Fin, _) => {
            socket.shutdown().await?;
            // Closing now would reset the connection; the client's own end comes first.
            tokio::io::copy_buf(socket, &mut tokio::io::sink()).await?;
            Ok(Delivery::Closed)
        }
        // Dropping the socket resets it: its linger time is zero.
        (End::Reset, _) => Ok(Delivery::Closed),
        (End::Stall, _) => match outlasts(socket, tokio::time::sleep(STALL)).await {
            true => Ok(Delivery::Closed),
            false => Ok(Delivery::ClientGone),
        },
    }
}

fn head_text(head: &Head) -> String {
    let Head {
        status,
        headers,
        framing,
    } = head;
    let mut text = format!("HTTP/1.1 {status} Scripted\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    match framing {
        Framing::Sized { body_bytes } => {
            text.push_str(&format!("content-length: {body_bytes}\r\n\r\n"));
        }
        Framing::Chunked => text.push_str("transfer-encoding: chunked\r\n\r\n"),
    }
    text
}

fn framed(framing: Framing, bytes: &Bytes) -> Bytes {
    match framing {
        Framing::Sized { .. } => bytes.clone(),
        Framing::Chunked => {
            let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
            chunk.extend_from_slice(bytes);
            chunk.extend_from_slice(b"\r\n");
            Bytes::from(chunk)
        }
    }
}

async fn wait_for_gate(socket: &mut Socket, gate: &Gate) -> bool {
    outlasts(socket, gate.opened()).await
}

/// Whether the client is still there when `wait` is over.
async fn outlasts(socket: &mut Socket, wait: impl Future<Output = ()>) -> bool {
    tokio::select! {
        // The wait first: a client that leaves as it ends has been served.
        biased;
        () = wait => true,
        () = hung_up(socket) => false,
    }
}

async fn hung_up(socket: &mut (impl AsyncBufRead + Unpin)) {
    match socket.fill_buf().await {
        Ok([]) | Err(_) => {}
        // A request sent ahead: its client is there.
        Ok(_) => std::future::pending().await,
    }
}
