//! An upstream that speaks HTTP/2, by hand and behind TLS: what its connections and their streams
//! are told is a script by model, which no library would follow.
//!
//! It reads no more of a head than where it ends, answers every request with the same stream,
//! and keeps to no window: its answers are small. What requests take of a connection's window
//! it gives back.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::script::Gate;
use super::tls::Authority;
use super::{lock, wait};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_BYTES_MAX: usize = 1 << 20;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
/// Of data and heads; of settings and pings it says that they are an answer.
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const MAX_CONCURRENT_STREAMS: u16 = 3;

const NO_ERROR: u32 = 0;
pub const INTERNAL_ERROR: u32 = 2;
const REFUSED_STREAM: u32 = 7;

/// Status 200 and the type of a stream, in the words of HPACK that need no table.
const HEAD: &[u8] = b"\x88\x0f\x10\x11text/event-stream";
const BEGINNING: &[u8] = b"data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\
\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"Once\"},\"finish_reason\":null}]}\n\n";
const REST: &[u8] = b"data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\
\"choices\":[{\"index\":0,\"delta\":{\"content\":\" upon a time\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

/// What every whole answer says.
pub const TEXT: &str = "Once upon a time";

/// What is done with one request.
#[derive(Clone, Debug)]
pub enum Deed {
    Answer,
    /// The beginning of an answer, and the rest once the gate is open.
    Hold(Gate),
    /// The stream has not been looked at.
    Refuse,
    /// Before the head, with this code.
    Reset(u32),
    /// After the first content, with this code.
    ResetInTheMiddle(u32),
    /// The first content, and then nothing.
    Stall,
    /// This stream is the last one of its connection, and is answered.
    LastOne,
    /// The one before was the last one, and this one has not been looked at.
    OneTooMany,
}

/// A running upstream; dropping it ends its connections.
pub struct Upstream {
    address: SocketAddr,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    deeds: Mutex<HashMap<String, VecDeque<Deed>>>,
    /// By number of the connection.
    requests: Mutex<Vec<usize>>,
    connections: AtomicUsize,
    streams_max: Option<u32>,
}

// === impl Upstream ===

impl Upstream {
    /// On a free port of loopback. `streams_max` is what it tells its clients to keep to.
    pub async fn start(authority: &Authority, streams_max: Option<u32>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            streams_max,
            ..State::default()
        });
        let acceptor = authority.http2_acceptor()?;
        let accepting = tokio::spawn(accept(listener, acceptor, Arc::clone(&state)));
        Ok(Self {
            address,
            state,
            accepting,
        })
    }

    pub fn base_url(&self) -> String {
        format!("https://{}/v1", self.address)
    }

    /// What is done with the next requests for a model; those after them are answered.
    pub fn script(&self, model: &str, deeds: impl IntoIterator<Item = Deed>) {
        lock(&self.state.deeds).insert(model.to_owned(), deeds.into_iter().collect());
    }

    /// For each request so far the number of its connection.
    pub fn requests(&self) -> Vec<usize> {
        lock(&self.state.requests).clone()
    }

    /// Waits until so many requests have come.
    pub async fn wait_for_requests(&self, count: usize) -> Result<()> {
        wait::until("requests over HTTP/2", || async {
            (self.requests().len() >= count).then_some(())
        })
        .await
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, state: Arc<State>) {
    // They end with this task.
    let mut connections = JoinSet::new();
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            continue;
        };
        let (acceptor, state) = (acceptor.clone(), Arc::clone(&state));
        connections.spawn(async move {
            // A client that hangs up ends its connection, and that is all.
            let _ = serve(socket, acceptor, state).await;
        });
    }
}

async fn serve(socket: TcpStream, acceptor: TlsAcceptor, state: Arc<State>) -> Result<()> {
    socket.set_nodelay(true)?;
    let number = state.connections.fetch_add(1, Ordering::Relaxed);
    let (mut reader, mut writer) = tokio::io::split(acceptor.accept(socket).await?);
    let (out, mut queue) = mpsc::unbounded_channel::<Vec<u8>>();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Some(bytes) = queue.recv().await {
            if writer.write_all(&bytes).await.is_err() || writer.flush().await.is_err() {
                break;
            }
        }
    });
    let mut preface = [0; PREFACE.len()];
    reader.read_exact(&mut preface).await?;
    ensure!(preface == PREFACE, "no preface of HTTP/2");
    let limit = state.streams_max.map(|max| {
        let id = MAX_CONCURRENT_STREAMS.to_be_bytes();
        [&id[..], &max.to_be_bytes()].concat()
    });
    out.send(frame(SETTINGS, 0, 0, &limit.unwrap_or_default()))?;
    let mut bodies: HashMap<u32, Vec<u8>> = HashMap::new();
    loop {
        let mut head = [0; 9];
        reader.read_exact(&mut head).await?;
        let [a, b, c, kind, flags, id @ ..] = head;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        ensure!(length <= FRAME_BYTES_MAX, "a frame of {length} bytes");
        let mut payload = vec![0; length];
        reader.read_exact(&mut payload).await?;
        let stream = u32::from_be_bytes(id);
        match kind {
            SETTINGS | PING if flags & END_STREAM == 0 => {
                let told = if kind == PING { &payload[..] } else { &[] };
                out.send(frame(kind, END_STREAM, 0, told))?;
            }
            DATA => {
                if length > 0 {
                    out.send(frame(WINDOW_UPDATE, 0, 0, &(length as u32).to_be_bytes()))?;
                }
                let body = bodies.entry(stream).or_default();
                body.extend_from_slice(&payload);
                if flags & END_STREAM != 0 {
                    let body = bodies.remove(&stream).unwrap_or_default();
                    let model = model_of(&body)?;
                    lock(&state.requests).push(number);
                    let next = lock(&state.deeds).get_mut(&model).and_then(VecDeque::pop_front);
                    let deed = next.unwrap_or(Deed::Answer);
                    tasks.spawn(deed.carry_out(stream, out.clone()));
                }
            }
            // Resets, windows, heads and what else there is.
            _ => {}
        }
    }
}

fn model_of(body: &[u8]) -> Result<String> {
    let body: Value = serde_json::from_slice(body)?;
    Ok(body["model"].as_str().context("no model")?.to_owned())
}

// === impl Deed ===

impl Deed {
    async fn carry_out(self, stream: u32, out: mpsc::UnboundedSender<Vec<u8>>) {
        let head = || frame(HEADERS, END_HEADERS, stream, HEAD);
        let beginning = || [head(), frame(DATA, 0, stream, BEGINNING)].concat();
        let rest = || frame(DATA, END_STREAM, stream, REST);
        let reset = |code: u32| frame(RST_STREAM, 0, stream, &code.to_be_bytes());
        let go_away = |last: u32| {
            let told = [last.to_be_bytes(), NO_ERROR.to_be_bytes()].concat();
            frame(GOAWAY, 0, 0, &told)
        };
        let frames = match self {
            Self::Answer => [beginning(), rest()].concat(),
            Self::Hold(gate) => {
                // Nobody reads what a connection that is gone would have said.
                let _ = out.send(beginning());
                gate.opened().await;
                rest()
            }
            Self::Refuse => reset(REFUSED_STREAM),
            Self::Reset(code) => reset(code),
            Self::ResetInTheMiddle(code) => [beginning(), reset(code)].concat(),
            Self::Stall => beginning(),
            Self::LastOne => [go_away(stream), beginning(), rest()].concat(),
            Self::OneTooMany => go_away(stream.saturating_sub(2)),
        };
        let _ = out.send(frames);
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags];
    [&head[..], &stream.to_be_bytes(), payload].concat()
}
