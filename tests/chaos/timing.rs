//! What can be learnt of how long a refusal takes: whether a key's id or somebody's e-mail exists.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bridge_proto::admin::v1::LoginRequest;
use bridge_proto::admin::v1::auth_service_client::AuthServiceClient;
use bridge_tests::admin::EMAIL;
use bridge_tests::fake_control_plane::with_checksum;
use bridge_tests::stage::Stage;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tonic::Code;
use tonic::transport::Endpoint;

use crate::report::{Plan, Report, Run};

pub(crate) const RUN: Run = Run {
    name: "timing",
    rows: "H64,H65",
    about: "what is there and what is not are refused in the same time: keys by their id, people by their e-mail",
    start: |plan| Box::pin(run(plan)),
};

/// Welch's t beyond which two kinds of refusals take different times, with an error of 1 in 1,000.
const T_MAX: f64 = 3.3;
/// The slowest tenth of both together says how busy the machine is, and nothing else.
const KEPT: f64 = 0.9;
/// Tries of one address for one account, below what makes it wait.
const TRIES_PER_ADDRESS: usize = 4;

async fn run(plan: Plan) -> Result<Report> {
    let (keys, logins) = plan.pick((200, 12), (20_000, 2_000));
    let mut random = StdRng::seed_from_u64(plan.seed);
    let mut stage = Stage::start().await?;
    let mut report = Report::new(plan);
    let of_keys = keys_refused(&stage, keys, &mut random).await?;
    of_keys.judge("H65", "the id of a key and no id at all", &mut report);
    let address = stage.bridge.control().admin_address();
    let of_people = logins_refused(&address, logins, &mut random).await?;
    of_people.judge("H64", "somebody's e-mail and nobody's", &mut report);
    Ok(report)
}

/// How long refusals took, in ms.
#[derive(Default)]
struct Refused {
    known: Vec<f64>,
    unknown: Vec<f64>,
}

impl Refused {
    fn add(&mut self, is_known: bool, took: Duration) {
        let times = if is_known {
            &mut self.known
        } else {
            &mut self.unknown
        };
        times.push(took.as_secs_f64() * 1e3);
    }

    fn judge(mut self, row: &'static str, what: &str, report: &mut Report) {
        let mut all: Vec<f64> = self.known.iter().chain(&self.unknown).copied().collect();
        all.sort_by(f64::total_cmp);
        let limit = all[(all.len() as f64 * KEPT) as usize];
        self.known.retain(|ms| *ms <= limit);
        self.unknown.retain(|ms| *ms <= limit);
        let ((known, known_error), (unknown, unknown_error)) = (mean(&self.known), mean(&self.unknown));
        let t = (known - unknown) / (known_error + unknown_error).sqrt();
        report.should(
            row,
            format!("{what} are refused in the same time, |t| at most {T_MAX}"),
            format!("t {t:.2}: {known:.4} and {unknown:.4} ms, {} tries", all.len()),
            t.abs() <= T_MAX,
        );
    }
}

/// The mean, and the square of its error.
fn mean(times: &[f64]) -> (f64, f64) {
    let count = times.len() as f64;
    let mean = times.iter().sum::<f64>() / count;
    let variance = times.iter().map(|ms| (ms - mean).powi(2)).sum::<f64>() / (count - 1.0);
    (mean, variance / count)
}

async fn keys_refused(stage: &Stage, tries: usize, random: &mut StdRng) -> Result<Refused> {
    // `sk-bridge-`, the id, `-`, secret and checksum.
    let id = stage.key.split('-').nth(2).context("a key has an id")?;
    let client = stage.client()?;
    let mut refused = Refused::default();
    for _ in 0..2 * tries {
        let is_known = random.random();
        let other = text(random, id.len());
        let id = if is_known { id } else { &other };
        let key = with_checksum(&format!("sk-bridge-{id}-{}", text(random, 43)));
        let client = client.with_key(&key);
        let began = Instant::now();
        let answer = client.try_key().await?;
        refused.add(is_known, began.elapsed());
        ensure!(answer.status == 401, "{}", answer.status);
    }
    Ok(refused)
}

fn text(random: &mut StdRng, length: usize) -> String {
    (0..length)
        .map(|_| char::from(random.random_range(b'a'..=b'z')))
        .collect()
}

/// From many addresses, so that none has to wait.
async fn logins_refused(address: &str, tries: usize, random: &mut StdRng) -> Result<Refused> {
    let mut refused = Refused::default();
    for first in (0..tries).step_by(TRIES_PER_ADDRESS) {
        let [high, low] = u16::try_from(first / TRIES_PER_ADDRESS + 1)?.to_be_bytes();
        let local = Ipv4Addr::new(127, 1, high, low);
        let endpoint =
            Endpoint::from_shared(format!("http://{address}"))?.local_address(Some(IpAddr::V4(local)));
        let mut auth = AuthServiceClient::new(endpoint.connect().await?);
        let mut kinds = [[true; TRIES_PER_ADDRESS], [false; TRIES_PER_ADDRESS]].concat();
        rand::seq::SliceRandom::shuffle(&mut kinds[..], random);
        for is_known in kinds {
            let nobody = format!("{}@example.com", text(random, 5));
            let request = LoginRequest {
                email: if is_known { EMAIL.to_owned() } else { nobody },
                password: text(random, 20),
            };
            let began = Instant::now();
            let code = auth.login(request).await.err().map(|status| status.code());
            refused.add(is_known, began.elapsed());
            ensure!(code == Some(Code::Unauthenticated), "{code:?}");
        }
    }
    Ok(refused)
}
