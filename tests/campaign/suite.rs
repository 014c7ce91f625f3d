//! A campaign as a test: always the same few inputs, unless somebody asks for more.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::{Plan, RESIDENT_MEBIBYTES_MAX, Target, resident_mebibytes_max, watch};

const SEED: u64 = 1;
/// Far more than a busy machine needs.
const TIME_MAX: Duration = Duration::from_secs(600);
/// `FUZZ_INPUTS=1000000 FUZZ_SEED=2`, for the long form.
const INPUTS_VARIABLE: &str = "FUZZ_INPUTS";
const SEED_VARIABLE: &str = "FUZZ_SEED";
/// Where failing inputs of the long form go; those of the short form are made again in no time.
const ARTIFACTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/artifacts");
/// An hour for each target of the long form.
const LONG_TIME_MAX: Duration = Duration::from_secs(3600);

/// Runs `inputs` inputs, or as many as the environment says.
pub fn check(target: Target, inputs: u64) -> Result<()> {
    let name = target.name;
    let long = number(INPUTS_VARIABLE)?;
    let scratch = tempfile::tempdir()?;
    let (wanted, time_max, folder) = match long {
        Some(inputs) => (inputs, LONG_TIME_MAX, PathBuf::from(ARTIFACTS)),
        None => (inputs, TIME_MAX, scratch.path().to_owned()),
    };
    let plan = Plan {
        seed: number(SEED_VARIABLE)?.unwrap_or(SEED),
        first: 0,
        inputs: wanted,
        time_max,
        folder,
    };
    let report = watch(target, plan)?;
    let resident = resident_mebibytes_max()?;
    writeln!(
        std::io::stdout(),
        "figure: {name}: {report}; at most {resident:.0} MiB resident"
    )?;
    ensure!(report.failures.is_empty(), "{report}");
    ensure!(report.inputs == wanted, "too slow: {report}");
    ensure!(resident < RESIDENT_MEBIBYTES_MAX, "{resident:.0} MiB resident");
    Ok(())
}

fn number(variable: &str) -> Result<Option<u64>> {
    let Ok(text) = std::env::var(variable) else {
        return Ok(None);
    };
    let number = text.parse().with_context(|| format!("{variable} is no number"))?;
    Ok(Some(number))
}
