//! What a run is, what it is asked for, and what it tells.

use std::fmt;
use std::time::Duration;

use anyhow::Result;
use futures_util::future::BoxFuture;

pub(crate) struct Run {
    pub(crate) name: &'static str,
    /// The rows of the acceptance table that it answers.
    pub(crate) rows: &'static str,
    pub(crate) about: &'static str,
    pub(crate) start: fn(Plan) -> BoxFuture<'static, Result<Report>>,
}

#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) scale: Scale,
    pub(crate) seed: u64,
    pub(crate) minutes: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// In the suite, on whatever else the machine is doing.
    Short,
    Full,
}

/// One line for each thing that was promised, and one for each figure without a promise.
pub(crate) struct Report {
    scale: Scale,
    lines: Vec<Line>,
}

enum Line {
    Figure {
        name: String,
        value: String,
    },
    Judged {
        row: &'static str,
        expected: String,
        measured: String,
        verdict: Verdict,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Passed,
    Failed,
    /// Missed, on a machine that has other things to do.
    Told,
}

// === impl Plan ===

impl Plan {
    /// The figure of the form that is asked for.
    pub(crate) fn pick<T>(&self, short: T, full: T) -> T {
        match self.scale {
            Scale::Short => short,
            Scale::Full => full,
        }
    }

    /// The same for a time that may be given.
    pub(crate) fn time(&self, short: Duration, full: Duration) -> Duration {
        let given = self.minutes.map(|minutes| Duration::from_secs(minutes * 60));
        given.unwrap_or_else(|| self.pick(short, full))
    }
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let build = if cfg!(debug_assertions) {
            "debug build"
        } else {
            "release build"
        };
        match self {
            Self::Short => write!(f, "short form, {build}"),
            Self::Full => write!(f, "full form, {build}"),
        }
    }
}

// === impl Report ===

impl Report {
    pub(crate) fn new(plan: Plan) -> Self {
        Self {
            scale: plan.scale,
            lines: Vec::new(),
        }
    }

    /// A figure that decides nothing.
    pub(crate) fn figure(&mut self, name: impl fmt::Display, value: impl fmt::Display) {
        self.lines.push(Line::Figure {
            name: name.to_string(),
            value: value.to_string(),
        });
    }

    /// What has to hold on any machine, in both forms.
    pub(crate) fn must(
        &mut self,
        row: &'static str,
        expected: impl fmt::Display,
        measured: impl fmt::Display,
        holds: bool,
    ) {
        let verdict = if holds { Verdict::Passed } else { Verdict::Failed };
        self.judge(row, expected.to_string(), measured.to_string(), verdict);
    }

    /// A limit of time or memory: decides in the full form, and is told in the short one.
    pub(crate) fn should(
        &mut self,
        row: &'static str,
        expected: impl fmt::Display,
        measured: impl fmt::Display,
        holds: bool,
    ) {
        let verdict = match (holds, self.scale) {
            (true, _) => Verdict::Passed,
            (false, Scale::Full) => Verdict::Failed,
            (false, Scale::Short) => Verdict::Told,
        };
        self.judge(row, expected.to_string(), measured.to_string(), verdict);
    }

    fn judge(&mut self, row: &'static str, expected: String, measured: String, verdict: Verdict) {
        self.lines.push(Line::Judged {
            row,
            expected,
            measured,
            verdict,
        });
    }

    /// Whether something was judged, and nothing failed.
    pub(crate) fn is_passed(&self) -> bool {
        let mut verdicts = self.lines.iter().filter_map(|line| match line {
            Line::Judged { verdict, .. } => Some(*verdict),
            Line::Figure { .. } => None,
        });
        let is_judged = self.lines.iter().any(|line| matches!(line, Line::Judged { .. }));
        is_judged && verdicts.all(|verdict| verdict != Verdict::Failed)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            match line {
                Line::Figure { name, value } => writeln!(f, "figure: {name}: {value}")?,
                Line::Judged {
                    row,
                    expected,
                    measured,
                    verdict,
                } => writeln!(f, "{row} {verdict}: {measured} (expected: {expected})")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passed => "passed",
            Self::Failed => "FAILED",
            Self::Told => "missed, which does not decide here",
        })
    }
}
