//! The short form of fuzzing: every target, some thousand inputs, always the same ones.

mod campaign;
mod fixtures;
mod mutate;
mod spans;
mod targets;

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use campaign::{Campaign, Mark, catch_panics};
use fixtures::Fixtures;
use targets::TARGETS;

const SEED: u64 = 1;
const INPUTS: u64 = 2000;
/// Far more than a busy machine needs.
const TIME_MAX: Duration = Duration::from_secs(600);

fn check(name: &str, inputs: u64) -> Result<()> {
    catch_panics();
    let folder = tempfile::tempdir()?;
    let fixtures = Fixtures::load()?;
    let campaign = Campaign {
        target: TARGETS
            .iter()
            .find(|target| target.name == name)
            .context("no target")?,
        fixtures: &fixtures,
        seed: SEED,
        numbers: 0..inputs,
        time_max: TIME_MAX,
        mark: &Mark::create(&folder.path().join("mark"))?,
        folder: folder.path(),
    };
    let report = campaign.run()?;
    writeln!(std::io::stdout(), "figure: {name}: {report}")?;
    ensure!(report.failures.is_empty(), "{report}");
    ensure!(report.inputs == inputs, "too slow");
    Ok(())
}

#[test]
fn any_request_is_refused_or_translated_for_every_preset() {
    check("request", INPUTS).unwrap();
}

#[test]
fn any_answer_is_a_fault_or_a_message() {
    check("response", INPUTS).unwrap();
}

#[test]
fn any_stream_obeys_the_grammar_however_it_is_cut() {
    check("stream", INPUTS).unwrap();
}

#[test]
fn any_bytes_give_the_same_events_however_they_are_cut() {
    check("sse", INPUTS).unwrap();
}

#[test]
fn any_error_body_is_read_as_some_fault() {
    check("error", INPUTS).unwrap();
}

#[test]
fn any_bytes_pass_a_native_provider_unharmed() {
    check("native", INPUTS).unwrap();
}
