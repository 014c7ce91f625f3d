//! As much of HTTP/1.1 as a client of ours needs, with every byte in our hands.

use std::io;
use std::time::Instant;

use bytes::Bytes;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

use super::script::{Framing, Head};
use super::tls::Io;
use super::{Fate, Recorded};

pub(super) type Socket = BufReader<Box<dyn Io>>;

const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Ends a chunked body.
pub(super) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

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

pub(super) fn head_text(head: &Head) -> String {
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

pub(super) fn framed(framing: Framing, bytes: &Bytes) -> Bytes {
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
