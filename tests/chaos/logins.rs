//! Somebody guesses passwords as fast as they can: few guesses are looked at, and others sign in as
//! if nothing were the matter.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bridge_proto::admin::v1::LoginRequest;
use bridge_proto::admin::v1::auth_service_client::AuthServiceClient;
use bridge_tests::admin::{EMAIL, PASSWORD};
use bridge_tests::bridge::Bridge;
use bridge_tests::load::tally::Times;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use crate::report::{Plan, Report, Run};

pub(crate) const RUN: Run = Run {
    name: "logins",
    rows: "H64",
    about: "passwords are guessed: few guesses are looked at, and others sign in in time",
    start: |plan| Box::pin(run(plan)),
};

/// Guesses that are compared with a password, which is what costs.
const COMPARED_PER_MINUTE_MAX: f64 = 60.0;
const HONEST_P99_MAX: Duration = Duration::from_millis(300);
const GUESSER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 66);
const HONEST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Guesses at the same time.
const AT_ONCE: usize = 16;
/// An address has so many tries a minute: the honest one stays below.
const HONEST_PAUSE: Duration = Duration::from_millis(3_200);

async fn run(plan: Plan) -> Result<Report> {
    let guesses = plan.pick(500, 10_000);
    let mut bridge = Bridge::start(0).await?;
    let address = bridge.control().admin_address();
    let (guesser, honest) = (from(&address, GUESSER).await?, from(&address, HONEST).await?);
    let is_over = AtomicBool::new(false);
    let guessing = async {
        let began = Instant::now();
        let (mut compared, mut told_to_wait) = (0_u64, 0_u64);
        for first in (0..guesses).step_by(AT_ONCE) {
            let trying = (first..guesses.min(first + AT_ONCE)).map(|n| {
                // The admin, and people who are not there.
                let email = if n % 2 == 0 {
                    EMAIL.to_owned()
                } else {
                    format!("nobody-{n}@example.com")
                };
                login(&guesser, email, format!("a guess of many {n}"))
            });
            for (code, _) in futures_util::future::join_all(trying).await {
                match code {
                    Code::Unauthenticated => compared += 1,
                    Code::ResourceExhausted => told_to_wait += 1,
                    other => anyhow::bail!("a guess was answered {other:?}"),
                }
            }
        }
        is_over.store(true, Ordering::SeqCst);
        anyhow::Ok((compared, told_to_wait, began.elapsed()))
    };
    let signing_in = async {
        let mut times = Times::new()?;
        loop {
            let (code, took) = login(&honest, EMAIL.to_owned(), PASSWORD.to_owned()).await;
            ensure!(code == Code::Ok, "who knows the password was answered {code:?}");
            times.add(took);
            if is_over.load(Ordering::SeqCst) {
                return Ok(times);
            }
            tokio::time::sleep(HONEST_PAUSE).await;
        }
    };
    let (guessed, times) = tokio::join!(guessing, signing_in);
    let ((compared, told_to_wait, took), times) = (guessed?, times?);

    let mut report = Report::new(plan);
    let minutes = (took.as_secs_f64() / 60.0).max(1.0);
    report.must(
        "H64",
        format!("at most {COMPARED_PER_MINUTE_MAX} guesses a minute are compared"),
        format!("{compared} of {guesses} in {took:?}, {told_to_wait} told to wait"),
        compared as f64 <= COMPARED_PER_MINUTE_MAX * minutes && compared + told_to_wait == guesses as u64,
    );
    report.should(
        "H64",
        format!("others sign in within {HONEST_P99_MAX:?} at p99"),
        &times,
        times.p99() <= HONEST_P99_MAX,
    );
    Ok(report)
}

async fn from(address: &str, local: Ipv4Addr) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?.local_address(Some(IpAddr::V4(local)));
    endpoint.connect().await.context("cannot connect")
}

async fn login(channel: &Channel, email: String, password: String) -> (Code, Duration) {
    let began = Instant::now();
    let answer = AuthServiceClient::new(channel.clone())
        .login(LoginRequest { email, password })
        .await;
    (
        answer.map_or_else(|status| status.code(), |_| Code::Ok),
        began.elapsed(),
    )
}
