//! Requests of every kind through three providers, each of which fails by a plan.
//!
//! Without breakers what a client sees follows from the plan and the table of failures alone, and is
//! held to the letter. With them it depends on what came before, and is held to what may come at all.

mod bench;
mod table;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use anyhow::{Result, bail};
use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use crate::report::{Plan, Report, Run};
use bench::{Bench, DEADLINE_S, Form, Memory, Request};
use table::{Call, Cause, Told, cause, told};

pub(crate) const RUN: Run = Run {
    name: "faults",
    rows: "E46",
    about: "a seeded plan of faults at three providers: every answer is as the table says",
    start: |plan| Box::pin(run(plan)),
};

const AT_ONCE: usize = 32;
/// With memory, requests come one after the other: a burst would be over before any pause is.
const REMEMBERED_INTERVAL: Duration = Duration::from_millis(7);
/// No request takes longer.
const LATEST: Duration = Duration::from_secs(DEADLINE_S as u64 + 1);
/// Whoever is shed comes again, so often and after so long: the plan is not about load.
const SHED_TRIES: u64 = 100;
const SHED_PAUSE: Duration = Duration::from_millis(200);
/// With memory, and faults in a quarter of all calls.
const GOOD_OF_HUNDRED_MIN: usize = 75;
const GOOD: &str = "200";
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
    let bench_of_all = &bench;
    let asked = stream::iter(0..requests).map(|number| async move {
        if memory == Memory::On {
            tokio::time::sleep_until(started + REMEMBERED_INTERVAL * number as u32).await;
        }
        ask(bench_of_all, Request::of(seed, number)).await
    });
    let acts = AtomicUsize::new(0);
    let seen: Vec<Seen> = tokio::select! {
        // Whoever attends to the providers does so to the end.
        biased;
        seen = asked.buffer_unordered(AT_ONCE).collect() => seen,
        failed = bench.attend(&acts) => match failed? {},
    };
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
    if memory == Memory::On {
        remembered(&bench, &kinds, acts.into_inner(), requests, report).await?;
    }
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

    // Fails while an exchange with an upstream is left.
    let open = bench.settled_connections().await?;
    report.figure(format!("{name}: idle connections"), open);
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
    let mut kind = match told {
        Told::Whole { .. } => GOOD.to_owned(),
        Told::Broken { kind } => format!("200, {kind}"),
        Told::Refused { status, kind, .. } => format!("{status} {kind}"),
        Told::Shed => "shed".to_owned(),
        Told::AsItIs => "as it is".to_owned(),
    };
    let is_right = match (seen.request.form, memory) {
        (Form::Count, _) => is_count_right(told, expected),
        (Form::Stream | Form::Whole, Memory::Off) => is_expected(told),
        (Form::Stream | Form::Whole, Memory::On) => {
            let cause = cause(told, &bench.calls(&seen.request));
            if let Some(cause @ (Cause::Open | Cause::Cooling | Cause::Quarantined)) = cause {
                kind = format!("{kind}, {cause:?}");
            }
            cause.is_some() && is_wait_obeyed(told)
        }
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

/// Clients give up at once on a wait between what they bear and what is told as hopeless.
fn is_wait_obeyed(told: &Told) -> bool {
    match told {
        Told::Refused { wait_s, .. } => wait_s.is_none_or(|wait| !(61..=300).contains(&wait)),
        Told::Whole { .. } | Told::Broken { .. } | Told::Shed | Told::AsItIs => true,
    }
}

/// What took part where failures are remembered, and what it cost clients.
async fn remembered(
    bench: &Bench,
    kinds: &BTreeMap<String, usize>,
    acts: usize,
    requests: u64,
    report: &mut Report,
) -> Result<()> {
    let mut took_part = BTreeMap::new();
    for (what, metric) in [
        ("breakers opened or closed", "bridge_breaker_transitions_total"),
        ("cool-downs", "bridge_cooldowns_total"),
        ("quarantines", "bridge_quarantines_total"),
        ("retries refused", "bridge_retries_refused_total"),
    ] {
        took_part.insert(what, bench.sum(metric).await? as usize);
    }
    took_part.insert("quarantines ended by an admin", acts);
    report.should(
        "E46",
        "breakers, cool-downs, quarantines and retry budgets take part, and end",
        format!("{took_part:?}"),
        took_part.values().all(|times| *times > 0),
    );
    let good = kinds.get(GOOD).copied().unwrap_or_default();
    let share = good * 100 / requests as usize;
    report.should(
        "E46",
        format!("{GOOD_OF_HUNDRED_MIN} of a hundred requests are answered all the same"),
        format!("{share}"),
        share >= GOOD_OF_HUNDRED_MIN,
    );
    Ok(())
}
