//! Requests of every kind through three providers, each of which fails by a plan.
//!
//! Without breakers what a client sees follows from the plan and the table of failures alone, and is
//! held to the letter. With them it depends on what came before, and is held to what may come at all.

mod bench;
mod table;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use futures_util::{StreamExt, stream};

use crate::report::{Plan, Report, Run};
use bench::{Bench, DEADLINE_S, Form, Memory, Request};
use table::{Call, Told, told};

pub(crate) const RUN: Run = Run {
    name: "faults",
    rows: "E46",
    about: "a seeded plan of faults at three providers: every answer is as the table says",
    start: |plan| Box::pin(run(plan)),
};

const AT_ONCE: usize = 32;
/// No request takes longer.
const LATEST: Duration = Duration::from_secs(DEADLINE_S as u64 + 1);
/// Whoever is shed comes again, so often and after so long: the plan is not about load.
const SHED_TRIES: u64 = 100;
const SHED_PAUSE: Duration = Duration::from_millis(200);
/// How many differences are told.
const WRONG_MAX: usize = 5;

async fn run(plan: Plan) -> Result<Report> {
    let mut report = Report::new(plan);
    for (memory, requests) in [
        (Memory::Off, plan.pick(600, 20_000)),
        (Memory::On, plan.pick(300, 5_000)),
    ] {
        Box::pin(campaign(plan.seed, memory, requests, &mut report)).await?;
    }
    Ok(report)
}

/// One request that is over.
struct Seen {
    request: Request,
    told: Result<Told>,
    took: Duration,
    /// How often it was sent in vain before.
    shed: u64,
}

async fn campaign(seed: u64, memory: Memory, requests: u64, report: &mut Report) -> Result<()> {
    let mut bench = Bench::start(seed, memory).await?;
    let counted_before = bench.sum("bridge_requests_total").await?;
    let started = Instant::now();
    let asked = stream::iter(0..requests).map(|number| ask(&bench, Request::of(seed, number)));
    let seen: Vec<Seen> = asked.buffer_unordered(AT_ONCE).collect().await;
    let took = started.elapsed();

    let mut wrong = Vec::new();
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    // The fewest and the most candidates that were asked.
    let mut asked = 0..=0;
    for seen in &seen {
        let expected = told(&bench.calls(&seen.request));
        match judge(memory, &bench, seen, &expected) {
            Ok(kind) => *kinds.entry(kind).or_default() += 1,
            Err(error) => wrong.push(format!("request {}: {error:#}", seen.request.number)),
        }
        if seen.request.form != Form::Count {
            let counts = || expected.iter().map(|(_, calls)| *calls);
            let (fewest, most) = (
                counts().min().unwrap_or_default(),
                counts().max().unwrap_or_default(),
            );
            asked = asked.start() + fewest..=asked.end() + most;
        }
    }
    let name = format!("memory {memory:?}, {requests} requests");
    report.figure(&name, format!("{kinds:?} in {took:?}"));
    report.must(
        "E46",
        "status and type as the table says",
        format!(
            "{name}: {} wrong {:#?}",
            wrong.len(),
            wrong.iter().take(WRONG_MAX).collect::<Vec<_>>()
        ),
        wrong.is_empty(),
    );
    let longest = seen.iter().map(|seen| seen.took).max().unwrap_or_default();
    report.must(
        "E46",
        format!("none after {LATEST:?}"),
        format!("{name}: {longest:?}"),
        longest <= LATEST,
    );

    let open = bench.settled_connections().await?;
    report.must(
        "E46",
        "no exchange with an upstream is left",
        format!("{name}: {open} idle connections"),
        true,
    );
    let (arrived, again) = bench.arrived();
    let attempts = bench.sum("bridge_upstream_attempts_total").await? as usize;
    if memory == Memory::Off {
        report.must(
            "E46",
            "as many candidates asked as the table says",
            format!("{name}: {} of {asked:?}", arrived - again),
            asked.contains(&(arrived - again)),
        );
    }
    // What is sent again on a fresh connection is no attempt of its own.
    let counts = arrived - again..=arrived;
    report.must(
        "E46",
        "every call is counted",
        format!("{name}: {attempts} of {counts:?}"),
        counts.contains(&attempts),
    );
    let counted = bench.sum("bridge_requests_total").await? - counted_before;
    let shed: u64 = seen.iter().map(|seen| seen.shed).sum();
    let sent = requests + shed;
    report.must(
        "E46",
        "every request is counted",
        format!("{name}: {counted} of {sent}, {shed} of them shed"),
        counted == sent as f64,
    );
    let in_flight = bench.sum("bridge_requests_in_flight").await?;
    let panics = bench.sum("bridge_panics_total").await? as usize + bench.panics()?;
    report.must(
        "E46",
        "nothing in flight, no panic",
        format!("{name}: {in_flight} in flight, {panics} panics"),
        in_flight == 0.0 && panics == 0,
    );
    Ok(())
}

async fn ask(bench: &Bench, request: Request) -> Seen {
    let mut shed = 0;
    loop {
        let started = Instant::now();
        let told = bench.send(&request).await;
        if matches!(told, Ok(Told::Shed)) && shed < SHED_TRIES {
            shed += 1;
            tokio::time::sleep(SHED_PAUSE).await;
            continue;
        }
        return Seen {
            request,
            told,
            took: started.elapsed(),
            shed,
        };
    }
}

/// What the answer is called in the figures, if it is right.
fn judge(memory: Memory, bench: &Bench, seen: &Seen, expected: &[(Told, usize)]) -> Result<String> {
    let is_expected = |told: &Told| expected.iter().any(|(expected, _)| expected == told);
    let told = match &seen.told {
        _ if is_expected(&Told::AsItIs) => return Ok("as it is".to_owned()),
        _ if memory == Memory::On && may_pass_as_it_is(bench, &seen.request) => {
            return Ok("as it is".to_owned());
        }
        Ok(told) => told,
        Err(error) => bail!("{error:#}, expected {expected:?}"),
    };
    let kind = match told {
        Told::Whole { .. } => "200".to_owned(),
        Told::Broken { kind } => format!("200, {kind}"),
        Told::Refused { status, kind, .. } => format!("{status} {kind}"),
        Told::Shed => "shed".to_owned(),
        Told::AsItIs => "as it is".to_owned(),
    };
    let is_right = match (seen.request.form, memory) {
        (Form::Count, _) => is_count_right(told, expected),
        (Form::Stream | Form::Whole, Memory::Off) => is_expected(told),
        (Form::Stream | Form::Whole, Memory::On) => may_be_told(told),
    };
    if !is_right {
        let faults: Vec<_> = bench
            .calls(&seen.request)
            .into_iter()
            .map(|call| call.fault)
            .collect();
        bail!(
            "{:?} {told:?}, expected {expected:?} of {faults:?}",
            seen.request.form
        );
    }
    Ok(kind)
}

fn may_pass_as_it_is(bench: &Bench, request: &Request) -> bool {
    bench.calls(request).iter().any(Call::may_pass_as_it_is)
}

/// A count falls back to our own; refused is only what is the client's fault, by the provider whose
/// turn it is first.
fn is_count_right(told: &Told, expected: &[(Told, usize)]) -> bool {
    match told {
        Told::Whole { .. } => true,
        Told::Refused {
            status: 400 | 413, ..
        } => expected.contains(&(told.clone(), 1)),
        Told::Broken { .. } | Told::Refused { .. } | Told::Shed | Told::AsItIs => false,
    }
}

/// Whatever came before, a client may see nothing else.
fn may_be_told(told: &Told) -> bool {
    match told {
        Told::Whole { .. } => true,
        Told::Broken { kind } => ["api_error", "timeout_error"].contains(&kind.as_str()),
        Told::Shed | Told::AsItIs => false,
        Told::Refused {
            status, kind, wait_s, ..
        } => {
            let is_obeyed = wait_s.is_none_or(|wait| !(61..=300).contains(&wait));
            let expected = match status {
                400 | 422 => "invalid_request_error",
                413 => "request_too_large",
                429 => "rate_limit_error",
                500 | 502 | 503 => "api_error",
                504 => "timeout_error",
                529 => "overloaded_error",
                _ => return false,
            };
            is_obeyed && kind == expected
        }
    }
}
