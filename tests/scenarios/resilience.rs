//! Providers that fail for a while: who is left alone, who is asked instead, and what of it
//! clients see. Each run is short here; its size is an argument.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use bridge_proto::admin::v1::Provider;
use bridge_tests::admin;
use bridge_tests::anthropic::{Answer, ask};
use bridge_tests::faultd::{Faultd, Recorded, Script};
use bridge_tests::stage::{MODEL, Stage};
use bridge_tests::wait;
use futures_util::{StreamExt, stream};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// As short as it can be configured.
const RECOVERY: Duration = Duration::from_secs(1);
/// Failures in a row that open a breaker.
const THRESHOLD: usize = 5;
/// By how much a breaker's pause may be longer, by chance.
const JITTER: f64 = 1.2;
/// What a retry budget gives for nothing, for each provider and ten seconds.
const FREE_RETRIES: usize = 3;
const SECOND: &str = "second";
/// Of the run with random failures.
const SEED: u64 = 4;

/// A provider and one to fall back on, with breakers that recover soon.
struct Bed {
    stage: Stage,
    second: Faultd,
}

/// So many requests, so far apart, so many at once at most.
#[derive(Clone, Copy)]
struct Load {
    requests: usize,
    pause: Duration,
    at_once: usize,
}

const SHORT: Load = Load {
    requests: 300,
    pause: Duration::from_millis(10),
    at_once: 8,
};

// === impl Bed ===

impl Bed {
    async fn start() -> Result<Self> {
        let stage = Stage::start().await?;
        let second = Faultd::start().await?;
        second.always(SECOND, Script::text("from the second"));
        let provider = Provider {
            priority: 2,
            ..admin::provider(SECOND, &second.base_url(), SECOND)
        };
        stage.admin.create_provider(provider).await?;
        let mut settings = stage.admin.get_settings().await?;
        let breaker = settings.circuit_breaker.get_or_insert_default();
        breaker.recovery_timeout = u32::try_from(RECOVERY.as_secs())?;
        stage.admin.update_settings(settings, "circuit_breaker").await?;
        stage.settle().await?;
        Ok(Self { stage, second })
    }

    async fn once(&self) -> Result<Answer> {
        self.stage.client()?.messages(&ask("opus", "Hi")).await
    }

    async fn run(&self, load: Load) -> Result<Vec<Answer>> {
        let client = self.stage.client()?;
        let started = tokio::time::Instant::now();
        let asked = (0_u32..).take(load.requests).map(|nth| {
            let client = &client;
            async move {
                tokio::time::sleep_until(started + load.pause * nth).await;
                client.messages(&ask("opus", "Hi")).await
            }
        });
        let mut answers = stream::iter(asked).buffer_unordered(load.at_once);
        let mut told = Vec::new();
        while let Some(answer) = answers.next().await {
            told.push(answer?);
        }
        Ok(told)
    }

    fn calls(&self) -> (usize, usize) {
        (self.stage.upstream.requests().len(), self.second.requests().len())
    }

    /// Of both providers, since the nodes started.
    async fn count(&mut self, metric: &str) -> Result<usize> {
        let metrics = self.stage.bridge.node(0)?.metrics().await?;
        let values = metrics
            .lines()
            .filter(|line| line.starts_with(metric))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        Ok(values.sum::<f64>() as usize)
    }
}

fn failing(status: u16) -> Script {
    Script::error(status, "server_error", "the engine is on fire")
}

fn limited(retry_after: &str) -> Script {
    Script::error(429, "rate_limit_error", "slow down").header("retry-after", retry_after)
}

fn attempts(answer: &Answer) -> Result<usize> {
    let told = answer
        .header("x-bridge-attempts")
        .context("no attempts are told")?;
    Ok(told.parse()?)
}

fn wait_s(answer: &Answer) -> Option<u64> {
    answer.header("retry-after")?.parse().ok()
}

#[tokio::test]
async fn e36_a_dead_primary_is_left_alone_and_costs_few_calls() -> Result<()> {
    let mut bed = Bed::start().await?;
    bed.stage.upstream.always(MODEL, failing(500));
    let started = Instant::now();
    let answers = bed.run(SHORT).await?;
    let failed = answers.iter().filter(|answer| answer.status != 200).count();
    assert_eq!(failed, 0);
    let (first, second) = bed.calls();
    let windows = 1 + started.elapsed().as_secs() as usize / 10;
    let allowed = SHORT.requests * 11 / 10 + windows * FREE_RETRIES * 2;
    assert!(
        first + second <= allowed,
        "{first} + {second} calls for {} requests",
        SHORT.requests
    );
    println!(
        "figure: a dead primary: {first} of {} calls for {} requests reached it, 0 failures",
        first + second,
        SHORT.requests
    );
    assert_eq!(
        bed.count("bridge_breaker_transitions_total{provider=\"scripted\",to=\"open\"}")
            .await?,
        1
    );
    // Those that were on their way when it opened, their retries, and a probe for each pause.
    let burst = THRESHOLD + SHORT.at_once + FREE_RETRIES + 1;
    let pauses = 1 + started.elapsed().as_secs() / RECOVERY.as_secs();
    assert!(first <= burst + pauses as usize, "{first} calls to the dead one");
    let calls = bed.stage.upstream.requests();
    let is_probe = |pair: &[Recorded]| pair[1].received_at - pair[0].received_at >= RECOVERY;
    assert!(calls.windows(2).any(is_probe), "nobody looked whether it is back");
    Ok(())
}

#[tokio::test]
async fn e37_with_every_provider_dead_clients_are_told_at_once_and_nobody_is_flooded() -> Result<()> {
    const TRIES_OF_AN_SDK: usize = 3;
    const CALLS_MAX: usize = 9;
    const SDK_CALLS: usize = 60;
    // Until both breakers are open, nobody is refused a call.
    const CALLS_OF_THE_FIRST: usize = 2 * THRESHOLD;
    let bed = Bed::start().await?;
    bed.stage.upstream.always(MODEL, failing(500));
    bed.second.always(SECOND, failing(500));
    let client = bed.stage.client()?;
    for nth in 0..SDK_CALLS {
        let (first, second) = bed.calls();
        let before = first + second;
        for _ in 0..TRIES_OF_AN_SDK {
            let answer = client.messages(&ask("opus", "Hi")).await?;
            assert!(
                [(502, "api_error"), (503, "api_error")].contains(&(answer.status, answer.error_type())),
                "{answer:?}"
            );
            if answer.header("x-should-retry") == Some("false") {
                break;
            }
        }
        let (first, second) = bed.calls();
        let calls = first + second - before;
        let most = if nth == 0 { CALLS_OF_THE_FIRST } else { CALLS_MAX };
        assert!(calls <= most, "{calls} calls for call {nth} of an SDK");
    }
    let (first, second) = bed.calls();

    let (before, started) = (first + second, Instant::now());
    let answers = bed.run(SHORT).await?;
    let (first, second) = bed.calls();
    let seconds = 1 + started.elapsed().as_secs() as usize;
    let calls = first + second - before;
    println!(
        "figure: everybody dead: {calls} calls for {} requests in {seconds} s",
        SHORT.requests
    );
    // One probe for each provider and one last resort a second, and one of each before the first is over.
    assert!(calls <= (seconds + 1) * 3, "{calls} calls in {seconds} s");
    let told = answers.iter().filter(|answer| answer.status == 503);
    for answer in told {
        let wait = wait_s(answer).context("no wait is told")?;
        assert!(wait >= 1 && wait <= 1 + RECOVERY.as_secs(), "{answer:?}");
    }
    Ok(())
}

#[tokio::test]
async fn e38_a_primary_that_fails_at_random_is_hidden_from_clients() -> Result<()> {
    let bed = Bed::start().await?;
    let mut random = StdRng::seed_from_u64(SEED);
    for _ in 0..SHORT.requests * 2 {
        let is_fine = random.random_bool(0.7);
        let script = if is_fine {
            Script::text("well")
        } else {
            failing(500)
        };
        bed.stage.upstream.once(MODEL, script);
    }
    let started = Instant::now();
    let answers = bed.run(SHORT).await?;
    let failed = answers.iter().filter(|answer| answer.status != 200).count();
    assert_eq!(failed, 0, "seed {SEED}");
    let mut retries = 0;
    for answer in &answers {
        let is_second = answer.header("x-bridge-provider") == Some(SECOND);
        // Falling over is no retry.
        retries += attempts(answer)?.saturating_sub(1 + usize::from(is_second));
    }
    let windows = 1 + started.elapsed().as_secs() as usize / 10;
    assert!(retries > 0, "seed {SEED}: nothing was retried");
    assert!(
        retries <= SHORT.requests / 10 + windows * FREE_RETRIES,
        "seed {SEED}: {retries} retries"
    );
    Ok(())
}

#[tokio::test]
async fn e39_a_primary_that_is_back_gets_its_traffic_after_one_probe() -> Result<()> {
    let mut bed = Bed::start().await?;
    bed.stage.upstream.always(MODEL, failing(500));
    wait::until("the breaker to open", || async {
        let answer = bed.once().await.ok()?;
        (attempts(&answer).ok()? == 1).then_some(())
    })
    .await?;
    bed.stage.upstream.always(MODEL, Script::text("back again"));
    let healed = Instant::now();
    wait::until("the primary to answer", || async {
        let answer = bed.once().await.ok()?;
        (answer.text() == "back again").then_some(())
    })
    .await?;
    let waited = healed.elapsed();
    println!("figure: back after {waited:?}, with pauses of {RECOVERY:?} and more");
    assert!(
        waited <= RECOVERY.mul_f64(JITTER) + Duration::from_secs(1),
        "{waited:?}"
    );
    for answer in bed
        .run(Load {
            requests: 50,
            ..SHORT
        })
        .await?
    {
        assert_eq!(answer.text(), "back again");
    }
    for to in ["open", "closed"] {
        let transitions = format!("bridge_breaker_transitions_total{{provider=\"scripted\",to=\"{to}\"}}");
        assert_eq!(bed.count(&transitions).await?, 1, "{to}");
    }
    assert_eq!(bed.count("bridge_breaker_state").await?, 0);
    Ok(())
}

#[tokio::test]
async fn e40_whoever_is_limited_is_asked_no_sooner_than_it_said() -> Result<()> {
    let in_half_a_minute = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(30));
    let mut stage = Stage::start().await?;
    stage
        .offer(&["l-hour", "l-date", "l-40", "l-1", "l-soon"])
        .await?;
    for (model, said, told) in [
        // Longer than a minute is believed for a minute, and told once as it was said.
        ("l-hour", "3600", 50..=60),
        ("l-date", &*in_half_a_minute, 15..=30),
        ("l-40", "40", 30..=40),
    ] {
        stage.upstream.always(model, limited(said));
        for is_first in [true, false] {
            let answer = stage.client()?.messages(&ask(model, "Hi")).await?;
            assert_eq!((answer.status, answer.error_type()), (429, "rate_limit_error"));
            let wait = wait_s(&answer).context("no wait is told")?;
            let is_hopeless = is_first && said == "3600";
            assert!(
                told.contains(&wait) || (is_hopeless && wait == 3600),
                "{said}: {wait} s"
            );
            assert_eq!(answer.header("x-should-retry"), is_hopeless.then_some("false"));
        }
        assert_eq!(stage.upstream.requests_for(model).len(), 1, "{said}");
    }
    for (model, said) in [("l-1", "1"), ("l-soon", "soon")] {
        stage.upstream.once(model, limited(said));
        stage.upstream.always(model, Script::text("cooled down"));
        let answer = stage.client()?.messages(&ask(model, "Hi")).await?;
        assert_eq!(answer.text(), "cooled down", "{answer:?}");
        let [limited, answered] = &stage.upstream.requests_for(model)[..] else {
            bail!("it was not asked twice")
        };
        let apart = answered.received_at - limited.received_at;
        assert!(apart >= Duration::from_secs(1), "asked again after {apart:?}");
    }
    Ok(())
}

#[tokio::test]
async fn e40_of_several_waits_clients_are_told_the_shortest() -> Result<()> {
    let bed = Bed::start().await?;
    bed.stage.upstream.always(MODEL, limited("9"));
    bed.second.always(SECOND, limited("50"));
    for _ in 0..2 {
        let answer = bed.once().await?;
        assert_eq!((answer.status, answer.error_type()), (429, "rate_limit_error"));
        let wait = wait_s(&answer).context("no wait is told")?;
        assert!((3..=9).contains(&wait), "{wait} s");
    }
    assert_eq!(bed.calls(), (1, 1));
    Ok(())
}

#[tokio::test]
async fn e41_a_refused_credential_is_an_alarm_and_used_no_more() -> Result<()> {
    let mut bed = Bed::start().await?;
    bed.stage
        .upstream
        .always(MODEL, Script::error(401, "invalid_api_key", "Incorrect API key"));
    for attempts_told in [2, 1, 1] {
        let answer = bed.once().await?;
        assert_eq!(answer.text(), "from the second", "{answer:?}");
        assert_eq!(attempts(&answer)?, attempts_told);
    }
    assert_eq!(bed.calls().0, 1);
    for metric in [
        "bridge_quarantined{provider=\"scripted\"}",
        "bridge_quarantines_total{provider=\"scripted\"}",
        "bridge_alarms_total{provider=\"scripted\",outcome=\"credentials\"}",
    ] {
        assert_eq!(bed.count(metric).await?, 1, "{metric}");
    }
    let log = bed.stage.bridge.node(0)?.process()?.log_text();
    let alarms: Vec<_> = log
        .lines()
        .filter(|line| line.contains("credential refused"))
        .collect();
    let [alarm] = alarms[..] else {
        bail!("{} alarms", alarms.len())
    };
    assert!(alarm.contains("ERROR") && alarm.contains("req_"), "{alarm}");

    // Nobody else left: the admin's problem, and never the client's key.
    bed.second
        .always(SECOND, Script::error(402, "billing", "Insufficient Balance"));
    for _ in 0..3 {
        let answer = bed.once().await?;
        assert_eq!((answer.status, answer.error_type()), (502, "api_error"));
        assert_eq!(answer.header("x-should-retry"), Some("false"), "{answer:?}");
    }
    let stream = bed.stage.client()?.stream(&ask("opus", "Hi")).await?;
    assert_eq!(stream.status, 502);
    let calls_so_far = (1, bed.calls().1);
    assert_eq!(bed.calls(), calls_so_far);

    // The admin acts: its record is another one.
    bed.stage.upstream.always(MODEL, Script::text("accepted"));
    let provider = Provider {
        timeout: 9,
        ..bed.stage.provider.clone()
    };
    bed.stage.admin.update_provider(provider, "timeout").await?;
    bed.stage.settle().await?;
    assert_eq!(bed.once().await?.text(), "accepted");
    assert_eq!(bed.count("bridge_quarantined{provider=\"scripted\"}").await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_single_forbidden_prompt_takes_no_provider_away() -> Result<()> {
    let bed = Bed::start().await?;
    bed.stage
        .upstream
        .once(MODEL, Script::error(403, "moderation", "your input was flagged"));
    bed.stage.upstream.always(MODEL, Script::text("from the first"));
    assert_eq!(bed.once().await?.text(), "from the second");
    assert_eq!(bed.once().await?.text(), "from the first");
    Ok(())
}

#[tokio::test]
async fn no_request_costs_more_calls_than_it_may() -> Result<()> {
    const MODELS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
    let mut stage = Stage::start().await?;
    stage.offer(&MODELS).await?;
    for model in MODELS {
        stage.upstream.always(model, failing(500));
    }
    let answer = stage.client()?.messages(&ask("haiku", "Hi")).await?;
    assert_eq!((answer.status, attempts(&answer)?), (502, 4));
    assert_eq!(stage.upstream.requests().len(), 4);
    Ok(())
}
