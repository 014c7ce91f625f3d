//! Counts what a clock cannot: instructions and allocations, by running this program again
//! under valgrind. Two runs of different lengths are compared, so that starting costs nothing.

use std::process::Command;

use anyhow::{Context, Result, ensure};

const FEW_ROUNDS: u64 = 10;
const MANY_ROUNDS: u64 = 40;

/// What one round costs.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) instructions: f64,
    pub(crate) allocations: f64,
    pub(crate) allocated_bytes: f64,
}

pub(crate) fn is_there() -> bool {
    Command::new("valgrind").arg("--version").output().is_ok()
}

/// `work` are this program's own arguments, the rounds aside.
pub(crate) fn cost(work: &[&str]) -> Result<Cost> {
    let few = totals(work, FEW_ROUNDS)?;
    let many = totals(work, MANY_ROUNDS)?;
    let per_round = |pick: fn(&Totals) -> u64| {
        pick(&many).saturating_sub(pick(&few)) as f64 / (MANY_ROUNDS - FEW_ROUNDS) as f64
    };
    Ok(Cost {
        instructions: per_round(|totals| totals.instructions),
        allocations: per_round(|totals| totals.allocations),
        allocated_bytes: per_round(|totals| totals.allocated_bytes),
    })
}

struct Totals {
    instructions: u64,
    allocations: u64,
    allocated_bytes: u64,
}

fn totals(work: &[&str], rounds: u64) -> Result<Totals> {
    let instructions = run(
        &["--tool=callgrind", "--callgrind-out-file=/dev/null"],
        work,
        rounds,
    )?;
    let heap = run(&["--tool=dhat", "--dhat-out-file=/dev/null"], work, rounds)?;
    Ok(Totals {
        instructions: figure(&instructions, "Collected : ", 0)?,
        allocated_bytes: figure(&heap, "Total:", 0)?,
        allocations: figure(&heap, "Total:", 1)?,
    })
}

fn run(tool: &[&str], work: &[&str], rounds: u64) -> Result<String> {
    let output = Command::new("valgrind")
        .args(tool)
        .arg(std::env::current_exe()?)
        .args(["--rounds", &rounds.to_string()])
        .args(work)
        .output()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "valgrind failed: {text}");
    Ok(text)
}

/// The figure of this number behind `label`: `Total:     1,234 bytes in 56 blocks`.
fn figure(text: &str, label: &str, number: usize) -> Result<u64> {
    let (_, rest) = text
        .split_once(label)
        .with_context(|| format!("no {label} in {text}"))?;
    let line = rest.lines().next().unwrap_or_default().replace(',', "");
    let mut figures = line.split_whitespace().filter_map(|word| word.parse().ok());
    figures
        .nth(number)
        .with_context(|| format!("no figure in {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read() {
        let heap = "==1== Total:     1,234,567 bytes in 89 blocks\n==1== At t-gmax: 5 bytes in 1 blocks\n";
        assert_eq!(figure(heap, "Total:", 0).unwrap(), 1_234_567);
        assert_eq!(figure(heap, "Total:", 1).unwrap(), 89);
        assert!(figure(heap, "Collected : ", 0).is_err());
    }
}
