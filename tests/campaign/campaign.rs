//! Runs one target over many inputs: catches what breaks, reduces it and keeps it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};

use crate::mutate::Mutator;
use crate::{Plan, Run, Target};

/// An input that takes longer, in time of the processor, is a failure.
const INPUT_TIME_MAX: Duration = Duration::from_secs(1);
/// Runs spent on reducing one failing input.
const REDUCING_RUNS_MAX: usize = 4000;

pub(crate) struct Campaign {
    pub(crate) target: Target,
    pub(crate) plan: Plan,
    pub(crate) mark: Arc<Mark>,
}

#[derive(Debug)]
pub struct Report {
    pub inputs: u64,
    pub took: Duration,
    pub slowest: Duration,
    pub slowest_number: u64,
    /// By what went wrong.
    pub failures: BTreeMap<String, Failure>,
}

/// Inputs that fail for the same reason.
#[derive(Debug)]
pub struct Failure {
    pub count: u64,
    pub first_number: u64,
    pub details: String,
    /// The first input, reduced.
    pub file: PathBuf,
}

/// Why an input failed: `what` is the same for all inputs that fail there.
#[derive(Debug)]
pub struct Fault {
    pub what: String,
    pub details: String,
}

/// The number of the input at work, also in a file: a stack overflow leaves nothing else behind.
pub(crate) struct Mark {
    number: AtomicU64,
    /// Reducing an input runs it many times.
    runs: AtomicU64,
    file: fs::File,
}

// === impl Report ===

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            inputs,
            took,
            slowest,
            slowest_number,
            failures,
        } = self;
        let rate = *inputs as f64 / took.as_secs_f64();
        let count: u64 = failures.values().map(|failure| failure.count).sum();
        write!(
            f,
            "{inputs} inputs, {rate:.0}/s, slowest {slowest:?} (input {slowest_number}), {count} failed"
        )?;
        for (what, failure) in failures {
            let Failure {
                count,
                first_number,
                details,
                file,
            } = failure;
            write!(
                f,
                "\n  {count} x {what}: first input {first_number}: {details}: {}",
                file.display()
            )?;
        }
        Ok(())
    }
}

// === impl Mark ===

impl Mark {
    pub(crate) fn create(file: &Path) -> Result<Self> {
        let file = fs::File::create(file).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(Self {
            number: AtomicU64::default(),
            runs: AtomicU64::default(),
            file,
        })
    }

    pub(crate) fn number(&self) -> u64 {
        self.number.load(Ordering::Relaxed)
    }

    /// As long as this grows, nothing hangs.
    pub(crate) fn runs(&self) -> u64 {
        self.runs.load(Ordering::Relaxed)
    }

    fn set(&self, number: u64) -> Result<()> {
        self.number.store(number, Ordering::Relaxed);
        Ok(self.file.write_all_at(format!("{number:20}\n").as_bytes(), 0)?)
    }
}

/// What this thread has used of the processor.
fn processor_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(now).unwrap_or_default()
}

// === impl Campaign ===

impl Campaign {
    pub(crate) fn run(&self) -> Result<Report> {
        let Target {
            name,
            material,
            seeds,
            run: _,
        } = &self.target;
        let Plan {
            seed,
            first,
            inputs,
            time_max,
            folder,
        } = &self.plan;
        let mutator = Mutator::new(*material, seeds);
        self.warm_up();
        let started = Instant::now();
        let mut report = Report {
            inputs: 0,
            took: Duration::ZERO,
            slowest: Duration::ZERO,
            slowest_number: *first,
            failures: BTreeMap::new(),
        };
        for number in *first..first.saturating_add(*inputs) {
            if started.elapsed() > *time_max {
                break;
            }
            self.mark.set(number)?;
            let input = mutator.input(*seed, number);
            let (result, took) = self.timed(&input);
            report.inputs += 1;
            if took > report.slowest {
                (report.slowest, report.slowest_number) = (took, number);
            }
            if let Err(fault) = result {
                self.keep(&input, number, fault, &mut report)?;
            }
        }
        report.took = started.elapsed();
        let slowest = folder.join(format!("{name}-slowest"));
        fs::write(slowest, mutator.input(*seed, report.slowest_number))?;
        Ok(report)
    }

    /// What is loaded on first use is not the first input's fault.
    fn warm_up(&self) {
        for seed in &self.target.seeds {
            // The campaign meets the same seeds, and counts their faults.
            run_caught(&self.target.run, seed).ok();
        }
    }

    /// In time of the processor: what else the machine does is not the input's fault.
    fn timed(&self, input: &[u8]) -> (Result<(), Fault>, Duration) {
        let started = processor_time();
        let result = run_caught(&self.target.run, input);
        let took = processor_time().saturating_sub(started);
        self.mark.runs.fetch_add(1, Ordering::Relaxed);
        if result.is_ok() && took > INPUT_TIME_MAX {
            let slow = Fault {
                what: format!("an input that takes longer than {INPUT_TIME_MAX:?}"),
                details: format!("{took:?}"),
            };
            return (Err(slow), took);
        }
        (result, took)
    }

    fn keep(&self, input: &[u8], number: u64, fault: Fault, report: &mut Report) -> Result<()> {
        let Fault { what, details } = fault;
        if let Some(known) = report.failures.get_mut(&what) {
            known.count += 1;
            return Ok(());
        }
        let is_same = |input: &[u8]| self.timed(input).0.is_err_and(|fault| fault.what == what);
        let reduced = reduce(input, is_same);
        let name = format!("{}-{}-{number}", self.target.name, self.plan.seed);
        let file = self.plan.folder.join(name);
        fs::write(&file, reduced).with_context(|| format!("cannot write {}", file.display()))?;
        let failure = Failure {
            count: 1,
            first_number: number,
            details,
            file,
        };
        report.failures.insert(what, failure);
        Ok(())
    }
}

/// Runs one input; a panic is a fault like any other.
pub fn run_caught(run: &Run, input: &[u8]) -> Result<(), Fault> {
    remember_panics();
    IS_CATCHING.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(|| run(input)));
    IS_CATCHING.set(false);
    match result {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Fault {
            what: error.to_string(),
            details: format!("{error:#}"),
        }),
        Err(_) => Err(last_panic()),
    }
}

thread_local! {
    static IS_CATCHING: Cell<bool> = const { Cell::new(false) };
    static LAST_PANIC: RefCell<Option<Fault>> = const { RefCell::new(None) };
}

/// From the first input on, panics of threads that run inputs are remembered instead of printed.
fn remember_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !IS_CATCHING.get() {
                return print(info);
            }
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            let message = info.payload_as_str().unwrap_or("no message");
            LAST_PANIC.set(Some(Fault {
                what: format!("a panic at {place}"),
                details: message.to_owned(),
            }));
        }));
    });
}

fn last_panic() -> Fault {
    LAST_PANIC.take().unwrap_or_else(|| Fault {
        what: "a panic".to_owned(),
        details: "of which nothing is known".to_owned(),
    })
}

/// Takes away ever smaller pieces as long as the rest `still_fails`.
fn reduce(input: &[u8], still_fails: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut input = input.to_vec();
    let mut size = input.len() / 2;
    let mut runs = 0;
    while size > 0 {
        let mut at = 0;
        let before = input.len();
        while at < input.len() && runs < REDUCING_RUNS_MAX {
            let mut shorter = input.clone();
            shorter.drain(at..(at + size).min(input.len()));
            runs += 1;
            if still_fails(&shorter) {
                input = shorter;
            } else {
                at += size;
            }
        }
        if size > 1 || input.len() == before {
            size /= 2;
        }
    }
    input
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Material;

    #[test]
    fn what_fails_is_reduced_to_its_core() {
        let fails = |input: &[u8]| input.contains(&b'#') && input.contains(&b'!');
        assert_eq!(reduce(b"some #text! with much around it", fails), b"#!");
    }

    #[test]
    fn a_failing_target_is_found_counted_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mark = Arc::new(Mark::create(&folder.path().join("mark")).unwrap());
        let campaign = Campaign {
            target: Target {
                name: "broken",
                material: Material::Json,
                seeds: vec![br#"{"error":{"message":"7 of 9","code":429}}"#.to_vec()],
                run: Box::new(|input| {
                    assert!(!input.contains(&b'7'), "a seven");
                    anyhow::ensure!(!input.contains(&b'9'), "a nine");
                    Ok(())
                }),
            },
            plan: Plan {
                seed: 1,
                first: 0,
                inputs: 300,
                time_max: Duration::from_secs(60),
                folder: folder.path().to_owned(),
            },
            mark,
        };
        let report = campaign.run().unwrap();
        assert_eq!((report.inputs, campaign.mark.number()), (300, 299));
        assert!(campaign.mark.runs() > 300, "reducing runs as well");
        let nine = &report.failures["a nine"];
        assert!(nine.count > 1);
        assert_eq!(fs::read(&nine.file).unwrap(), b"9");
        let seven = report
            .failures
            .values()
            .find(|failure| failure.details == "a seven");
        assert_eq!(fs::read(&seven.unwrap().file).unwrap(), b"7");
    }
}
