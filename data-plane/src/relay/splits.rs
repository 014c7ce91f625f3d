//! Metamorphic: however an upstream's bytes are cut and however slowly the pieces come, the client
//! gets the same bytes, pings aside. Over every stream of the translation's fixtures.

use std::{fs, path::Path};

use bridge_translate::{
    Ids, Translator, anthropic,
    native::{self, History},
    request,
};
use http_body_util::BodyExt;
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng, seq::IndexedRandom as _};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::*;
use crate::{
    metrics::Metrics,
    overload::Pressure,
    routing::Candidate,
    running,
    snapshot::{
        Snapshot,
        decode::tests::{provider_of, snapshot},
    },
    upstream::{
        admission::Upstreams,
        client::Client,
        way_back::{Progress, Stream},
    },
};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/translate/fixtures");
const REQUEST: &[u8] =
    br#"{"model":"opus","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"Hi"}]}"#;
const SPLITS: u64 = 8;
const CUTS_MAX: usize = 12;
/// All shorter than a provider may be silent; some longer than a client is left without a word.
const PAUSES_MS: &[u64] = &[0, 0, 1, 40, 999, 1000, 3500, 9999, 10_000, 21_000, 45_000];

/// What the streams share: nobody may be shut out because an earlier stream failed.
struct Stage {
    upstreams: Arc<Upstreams>,
    snapshot: Arc<Snapshot>,
    metrics: Arc<Metrics>,
}

#[derive(Clone, Copy)]
enum Api {
    OpenAi,
    Anthropic,
}

impl Stage {
    fn new() -> Self {
        let metrics = Arc::new(Metrics::new());
        let mut snapshot = snapshot();
        snapshot.settings.breaker.enabled = false;
        snapshot.settings.breaker.failure_threshold = u32::MAX;
        for preset in ["generic", "anthropic"] {
            let mut provider = provider_of(preset);
            // A pause is no end here.
            provider.endpoint.pace.finish_grace = provider.endpoint.pace.idle;
            snapshot.providers.push(Arc::new(provider));
        }
        Self {
            upstreams: Arc::new(Upstreams::new(
                Client::plain(),
                Arc::clone(&metrics),
                Arc::default(),
            )),
            snapshot: Arc::new(snapshot),
            metrics,
        }
    }

    fn candidate(&self, api: Api) -> Candidate {
        let last = self.snapshot.providers.len() - 1;
        let place = match api {
            Api::OpenAi => last - 1,
            Api::Anthropic => last,
        };
        Candidate {
            provider: Arc::clone(&self.snapshot.providers[place]),
            model: "m".into(),
        }
    }

    fn stream(&self, api: Api) -> Stream {
        let parsed = anthropic::Request::parse(REQUEST).unwrap();
        let candidate = self.candidate(api);
        let target = candidate.target(&self.snapshot);
        match api {
            Api::OpenAi => {
                let reply = request::to_openai(&parsed, &target).unwrap().reply;
                Stream::Translated(Translator::new(reply, Ids::new([7; 32])))
            }
            Api::Anthropic => {
                let outbound = native::edit(REQUEST, &parsed, &target, History::Signed).unwrap();
                Stream::Native(native::Stream::new(outbound.reply))
            }
        }
    }

    /// What the client gets; `None` if it fails before any content, when others may still answer.
    async fn relayed(&self, api: Api, pieces: &[(&[u8], Duration)]) -> Option<String> {
        let mut stream = self.stream(api);
        let mut out = Vec::new();
        let mut pieces = pieces.iter();
        // As the walk does it: up to the first content.
        let end = loop {
            let progress = match pieces.next() {
                Some((piece, _)) => stream.push(piece, &mut out),
                None => stream.end(&mut out),
            };
            match progress {
                Progress::Held => {}
                Progress::Streaming => break None,
                Progress::Ended(reason) => break Some(Ok(reason)),
                Progress::Failed(fault) if stream.is_committed() => break Some(Err(fault)),
                Progress::Failed(_) => return None,
            }
        };
        let (upstream, chunks) = unbounded_channel();
        let candidate = self.candidate(api);
        let meter = Meter::start(&self.metrics, RequestId::new(), std::time::Instant::now());
        let admission = self
            .upstreams
            .admit(&self.snapshot, &candidate, meter.id(), std::time::Instant::now())
            .unwrap();
        let flow = Flow::new(Body::of(chunks), stream, out, end, admission);
        let id = meter.id().to_string();
        let relay = Relay::content(
            Box::new(flow),
            meter,
            running::tests::leash(&Arc::default()),
            Gather::new(Pressure::default()),
        );
        let ((), client) = tokio::join!(send(upstream, pieces), relay.collect());
        let client = String::from_utf8(client.unwrap().to_bytes().to_vec()).unwrap();
        let pings = std::str::from_utf8(PING).unwrap();
        Some(client.replace(&id, "req_").replace(pings, ""))
    }
}

async fn send<'p>(
    upstream: UnboundedSender<Result<Bytes, std::io::Error>>,
    pieces: impl Iterator<Item = &'p (&'p [u8], Duration)>,
) {
    for (piece, pause) in pieces {
        sleep(*pause).await;
        // Nobody listens any more to what comes after the end.
        upstream.send(Ok(Bytes::copy_from_slice(piece))).ok();
    }
}

/// The upstream's part of each stream of a folder, by the file's name.
fn fixtures(folder: &str, read: impl Fn(&str) -> String) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(Path::new(FIXTURES).join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let named = |path: std::path::PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (path.display().to_string(), read(&text).into_bytes())
    };
    files.into_iter().map(named).collect()
}

fn upstream_part(text: &str) -> String {
    let (_, rest) = text.split_once("\n: upstream\n").unwrap();
    let (upstream, _) = rest.split_once("\n: client\n").unwrap_or((rest, ""));
    format!("{upstream}\n")
}

/// Random pieces, each after a random pause.
fn cut<'b>(bytes: &'b [u8], dice: &mut SmallRng) -> Vec<(&'b [u8], Duration)> {
    let count = dice.random_range(0..=CUTS_MAX);
    let mut cuts: Vec<usize> = (0..count).map(|_| dice.random_range(0..=bytes.len())).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2)
        .map(|ends| {
            let pause = PAUSES_MS.choose(dice).copied().unwrap();
            (&bytes[ends[0]..ends[1]], Duration::from_millis(pause))
        })
        .collect()
}

async fn check(api: Api, streams: Vec<(String, Vec<u8>)>) {
    let stage = Stage::new();
    let mut dice = SmallRng::seed_from_u64(1);
    let mut answered = 0;
    for (name, bytes) in &streams {
        let whole = stage.relayed(api, &[(bytes.as_slice(), Duration::ZERO)]).await;
        answered += usize::from(whole.is_some());
        for _ in 0..SPLITS {
            let pieces = cut(bytes, &mut dice);
            let split = stage.relayed(api, &pieces).await;
            assert_eq!(split, whole, "{name}, cut as {pieces:?}");
        }
    }
    assert!(
        answered * 2 > streams.len(),
        "only {answered} streams have content"
    );
}

#[tokio::test(start_paused = true)]
async fn cuts_and_pauses_change_nothing_of_a_translated_stream() {
    check(Api::OpenAi, fixtures("stream", upstream_part)).await;
}

#[tokio::test(start_paused = true)]
async fn cuts_and_pauses_change_nothing_of_a_native_stream() {
    check(Api::Anthropic, fixtures("native", str::to_owned)).await;
}
