//! A scripted upstream on a raw socket: OpenAI-compatible, and below `/v1/messages` Anthropic's own.
//!
//! It does what no well-behaved server does: it cuts an answer after any byte with a FIN or
//! a reset, stalls, holds an event back until a test lets it go, and notices when its client
//! hangs up. That needs the socket itself, so HTTP/1.1 is spoken by hand (`http1`, `play`), behind
//! TLS where a test wants it (`tls`). What it answers is data (`script`); a model without a script
//! gets the canned answer that its name asks for (`canned`), with the faults that its name asks for
//! (`fault`) or that a seed has planned (`plan`), which is what the program of the same name serves.
//! What goes wrong in HTTP/2 alone has an upstream of its own (`http2`).
//! Before a real server it passes that one's answers on, and breaks them in the same ways (`proxy`).
//! Who cannot look into the process asks it at `REQUESTS_PATH` what a model was sent, and at
//! `FATES_PATH` what became of that.

pub mod agent;
pub mod answer;
pub mod canned;
pub mod fault;
mod http1;
pub mod http2;
pub mod plan;
mod play;
mod proxy;
pub mod script;
pub mod tls;
mod window;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result};
use bytes::Bytes;
use tokio::io::BufReader;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::wait;
use play::Delivery;
use proxy::Server;
use script::Reply;
pub use script::{Gate, Script};
use tls::Front;

/// Below it, by a model's name: the bodies of all requests for it, as a JSON array.
const REQUESTS_PATH: &str = "/v1/requests/";

/// Below it, in the same order: what became of them.
const FATES_PATH: &str = "/v1/fates/";

/// What an upstream does, by what it is asked.
type ByRequest = dyn Fn(&Recorded) -> Script + Send + Sync;

/// A running upstream; dropping it closes its port and every connection.
pub struct Faultd {
    address: SocketAddr,
    scheme: &'static str,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

/// One request as it arrived, and what became of it.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub method: String,
    pub path: String,
    /// Names in lower case, in the order they came.
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    pub received_at: Instant,
    pub fate: Fate,
}

/// How the exchange of a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Running,
    /// The script was played to its end, whatever that end was.
    Played,
    /// The client hung up first.
    ClientGone {
        at: Instant,
    },
}

#[derive(Default)]
struct State {
    scripts: Mutex<HashMap<String, Scripts>>,
    by_path: Mutex<HashMap<String, Script>>,
    recorded: Mutex<Vec<Recorded>>,
    connections: Mutex<Vec<JoinHandle<()>>>,
    accepted: AtomicUsize,
    /// Whose answers are passed on for models without a script.
    behind: Option<Server>,
}

#[derive(Default)]
struct Scripts {
    once: VecDeque<Script>,
    always: Option<Script>,
    /// Instead of it: a script for each request.
    by_request: Option<Arc<ByRequest>>,
    /// How many requests with each nonce, or without one, found no script here.
    canned: HashMap<String, usize>,
}

// === impl Faultd ===

impl Faultd {
    /// Listens on a free port of loopback.
    pub async fn start() -> Result<Self> {
        Self::bind("127.0.0.1:0").await
    }

    pub async fn bind(address: &str) -> Result<Self> {
        Self::listen(address, Front::open(), None).await
    }

    /// On a free port of loopback, behind a handshake.
    pub async fn start_behind(front: Front) -> Result<Self> {
        Self::listen("127.0.0.1:0", front, None).await
    }

    /// Passes on what a real server says, and breaks it where a model's name says so.
    pub async fn bind_before(address: &str, server_origin: &str) -> Result<Self> {
        Self::listen(address, Front::open(), Some(Server::new(server_origin))).await
    }

    async fn listen(address: &str, front: Front, behind: Option<Server>) -> Result<Self> {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address}"))?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            behind,
            ..State::default()
        });
        let scheme = front.scheme();
        let accepting = tokio::spawn(accept(listener, front, Arc::clone(&state)));
        Ok(Self {
            address,
            scheme,
            state,
            accepting,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What a provider's `base_url` has to be.
    pub fn base_url(&self) -> String {
        format!("{}://{}/v1", self.scheme, self.address)
    }

    /// The next request for `model` gets this answer; later ones the next in the queue.
    pub fn once(&self, model: &str, script: Script) {
        let mut scripts = lock(&self.state.scripts);
        scripts
            .entry(model.to_owned())
            .or_default()
            .once
            .push_back(script);
    }

    /// Every request for `model` that finds the queue empty gets this answer.
    pub fn always(&self, model: &str, script: Script) {
        let mut scripts = lock(&self.state.scripts);
        scripts.entry(model.to_owned()).or_default().always = Some(script);
    }

    /// The same, with an answer that depends on the request.
    pub fn by_request(&self, model: &str, script: impl Fn(&Recorded) -> Script + Send + Sync + 'static) {
        let mut scripts = lock(&self.state.scripts);
        scripts.entry(model.to_owned()).or_default().by_request = Some(Arc::new(script));
    }

    /// Every request at this path gets this answer, whatever model it names.
    pub fn at_path(&self, path: &str, script: Script) {
        lock(&self.state.by_path).insert(path.to_owned(), script);
    }

    pub fn requests(&self) -> Vec<Recorded> {
        lock(&self.state.recorded).clone()
    }

    pub fn requests_for(&self, model: &str) -> Vec<Recorded> {
        let mut requests = self.requests();
        requests.retain(|request| request.model().as_deref() == Some(model));
        requests
    }

    /// How many connections were ever taken.
    pub fn connections_accepted(&self) -> usize {
        self.state.accepted.load(Ordering::Relaxed)
    }

    /// How many of them are open.
    pub fn connections_open(&self) -> usize {
        let connections = lock(&self.state.connections);
        let open = connections.iter().filter(|running| !running.is_finished());
        open.count()
    }

    /// The `nth` request (from 0) for `model`, once it has arrived.
    pub async fn wait_for_request(&self, model: &str, nth: usize) -> Result<Recorded> {
        wait::until(&format!("request {nth} for {model} at the upstream"), || async {
            self.requests_for(model).into_iter().nth(nth)
        })
        .await
    }

    /// Waits until the client of the `nth` request for `model` hung up; answers when that was.
    pub async fn wait_for_client_gone(&self, model: &str, nth: usize) -> Result<Instant> {
        let what = format!("the client of request {nth} for {model} to hang up");
        wait::until(&what, || async {
            match self.requests_for(model).get(nth)?.fate {
                Fate::ClientGone { at } => Some(at),
                Fate::Running | Fate::Played => None,
            }
        })
        .await
    }

    /// Resets every connection and closes the port, as the kernel does for a killed process.
    pub fn kill(self) {
        drop(self);
    }
}

impl Drop for Faultd {
    fn drop(&mut self) {
        self.accepting.abort();
        for connection in lock(&self.state.connections).drain(..) {
            connection.abort();
        }
    }
}

// === impl Recorded ===

impl Recorded {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body).context("the upstream got a body that is not JSON")
    }

    pub fn model(&self) -> Option<String> {
        let body: serde_json::Value = serde_json::from_slice(&self.body).ok()?;
        Some(body.get("model")?.as_str()?.to_owned())
    }
}

// === impl State ===

impl State {
    fn script_for(&self, request: &Recorded) -> Script {
        if let Some(model) = request.path.strip_prefix(REQUESTS_PATH) {
            return Script::body(200, "application/json", self.bodies_for(model));
        }
        if let Some(model) = request.path.strip_prefix(FATES_PATH) {
            return Script::body(200, "application/json", self.fates_for(model));
        }
        if let Some(script) = lock(&self.by_path).get(&request.path) {
            return script.clone();
        }
        let Some(model) = request.model() else {
            return match &self.behind {
                Some(server) => Script::of(Reply::Behind(server.clone())),
                None => canned::without_model(&request.path),
            };
        };
        let mut scripts = lock(&self.scripts);
        let scripts = scripts.entry(model.clone()).or_default();
        let next = scripts.once.pop_front();
        let next = next.or_else(|| Some(scripts.by_request.as_ref()?(request)));
        next.or_else(|| scripts.always.clone()).unwrap_or_else(|| {
            let nonce = plan::nonce(&request.body).unwrap_or_default();
            let count = scripts.canned.entry(nonce).or_default();
            let nth = *count;
            *count += 1;
            match &self.behind {
                Some(server) => passed_on(server, &model, request, nth),
                None => canned::script(&model, request, nth),
            }
        })
    }

    fn bodies_for(&self, model: &str) -> String {
        self.list_for(model, |request| {
            String::from_utf8_lossy(&request.body).into_owned()
        })
    }

    fn fates_for(&self, model: &str) -> String {
        let name = |fate| match fate {
            Fate::Running => "running",
            Fate::Played => "played",
            Fate::ClientGone { .. } => "client gone",
        };
        self.list_for(model, |request| format!("{:?}", name(request.fate)))
    }

    /// A JSON array of something about each request for a model.
    fn list_for(&self, model: &str, tell: impl Fn(&Recorded) -> String) -> String {
        let recorded = lock(&self.recorded);
        let asked = recorded
            .iter()
            .filter(|request| request.model().as_deref() == Some(model));
        let told: Vec<String> = asked.map(tell).collect();
        format!("[{}]", told.join(","))
    }

    /// Answers the index under which the request was kept.
    fn record(&self, request: Recorded) -> usize {
        let mut recorded = lock(&self.recorded);
        recorded.push(request);
        recorded.len() - 1
    }

    fn set_fate(&self, index: usize, fate: Fate) {
        if let Some(request) = lock(&self.recorded).get_mut(index) {
            request.fate = fate;
        }
    }
}

/// `NAME~FAULT~…`: what the server says to `NAME`, with these faults.
fn passed_on(server: &Server, model: &str, request: &Recorded, nth: usize) -> Script {
    let (name, faults) = model.split_once('~').unwrap_or((model, ""));
    let script = Script::of(Reply::Behind(server.of_model(name)));
    canned::with_faults(faults, script, request, nth).unwrap_or_else(|| canned::unknown(model))
}

async fn accept(listener: TcpListener, front: Front, state: Arc<State>) {
    // An accept error concerns one connection; the next may be fine.
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            continue;
        };
        state.accepted.fetch_add(1, Ordering::Relaxed);
        let connection = tokio::spawn(serve(socket, front.clone(), Arc::clone(&state)));
        let mut connections = lock(&state.connections);
        connections.retain(|running| !running.is_finished());
        connections.push(connection);
    }
}

async fn serve(socket: TcpStream, front: Front, state: Arc<State>) {
    if socket.set_nodelay(true).is_err() {
        return;
    }
    // An aborted task drops the socket: with this, its peer sees a reset and not a tidy end.
    if socket.set_zero_linger().is_err() {
        return;
    }
    // A handshake that fails is the client's affair, or was meant to.
    let Ok(Some(socket)) = front.enter(socket).await else {
        return;
    };
    let mut socket = BufReader::new(socket);
    while let Ok(Some(request)) = http1::read_request(&mut socket).await {
        let script = state.script_for(&request);
        let index = state.record(request.clone());
        let response = script.render(&request).await;
        let delivery = play::play(&mut socket, response).await;
        match delivery {
            Delivery::KeepAlive => state.set_fate(index, Fate::Played),
            Delivery::Closed => {
                state.set_fate(index, Fate::Played);
                return;
            }
            Delivery::ClientGone => {
                let at = Instant::now();
                state.set_fate(index, Fate::ClientGone { at });
                return;
            }
        }
    }
}

/// A panicking test must not hide behind a poisoned lock of another one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
