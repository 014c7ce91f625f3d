//! What translation costs by itself, against floors: time, instructions and allocations.
//!
//! `cargo build --release --bin bench-translate && target/release/bench-translate`. Ratios
//! are what counts; times depend on the machine, and instructions need valgrind.
//! `valgrind --tool=callgrind target/release/bench-translate --rounds 50 work translate`
//! shows where they go.

mod coding_agent;
mod floors;
mod valgrind;

use std::hint::black_box;
use std::io::Write as _;
use std::time::Instant;

use anyhow::{Context, Result};
use bridge_translate::anthropic::Request;
use bridge_translate::{Dialect, Ids, Reply, Target, TokenLimits, Translator, request};
use clap::{Parser, Subcommand, ValueEnum};

/// Times that each work is timed; the median counts.
const SAMPLES: usize = 200;

#[derive(Parser)]
struct Arguments {
    /// Rounds for each sample.
    #[arg(long, default_value_t = 10)]
    rounds: usize,

    /// The preset to translate for.
    #[arg(long, default_value = "generic")]
    preset: String,

    #[command(subcommand)]
    only: Option<Only>,
}

#[derive(Subcommand)]
enum Only {
    /// Does one work for some rounds and prints nothing: for profilers.
    Work { work: Work },
}

#[derive(Clone, Copy, ValueEnum)]
enum Work {
    Scan,
    Borrow,
    Translate,
    BorrowStream,
    TranslateStream,
}

/// What one round costs.
struct Measured {
    microseconds: f64,
    counted: Option<valgrind::Cost>,
}

struct Bench {
    body: Vec<u8>,
    chunks: Vec<Vec<u8>>,
    preset: String,
    dialect: Dialect,
    reply: Reply,
}

fn main() -> Result<()> {
    let Arguments { rounds, preset, only } = Arguments::parse();
    let bench = Bench::new(preset)?;
    match only {
        Some(Only::Work { work }) => bench.run(work, rounds),
        None => report(&bench, rounds),
    }
}

fn report(bench: &Bench, rounds: usize) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(
        out,
        "request of {} bytes, stream of {} chunks",
        bench.body.len(),
        bench.chunks.len()
    )?;
    let [scan, borrow, translate] = bench.measure([Work::Scan, Work::Borrow, Work::Translate], rounds)?;
    let [borrow_stream, translate_stream] =
        bench.measure([Work::BorrowStream, Work::TranslateStream], rounds)?;
    let chunks = bench.chunks.len() as f64;
    for (name, measured, unit) in [
        ("scan", &scan, 1.0),
        ("borrow", &borrow, 1.0),
        ("translate", &translate, 1.0),
        ("borrow, per chunk", &borrow_stream, chunks),
        ("translate, per chunk", &translate_stream, chunks),
    ] {
        writeln!(out, "{name}: {}", measured.describe(unit))?;
    }
    for (name, measured, floor) in [
        ("translate/scan", &translate, &scan),
        ("translate/borrow", &translate, &borrow),
        ("translate/borrow, stream", &translate_stream, &borrow_stream),
    ] {
        writeln!(out, "{name}: {}", measured.ratio(floor))?;
    }
    Ok(())
}

// === impl Measured ===

impl Measured {
    /// For each of `units` in a round.
    fn describe(&self, units: f64) -> String {
        let time = format!("{:.2} us", self.microseconds / units);
        match self.counted {
            None => time,
            Some(valgrind::Cost {
                instructions,
                allocations,
                allocated_bytes,
            }) => format!(
                "{time}, {:.0} instructions, {:.1} allocations of {:.0} bytes",
                instructions / units,
                allocations / units,
                allocated_bytes / units
            ),
        }
    }

    fn ratio(&self, floor: &Self) -> String {
        let time = format!("{:.2} in time", self.microseconds / floor.microseconds);
        match (self.counted, floor.counted) {
            (Some(own), Some(floor)) => {
                format!(
                    "{time}, {:.2} in instructions",
                    own.instructions / floor.instructions
                )
            }
            _ => time,
        }
    }
}

// === impl Bench ===

impl Bench {
    fn new(preset: String) -> Result<Self> {
        let dialect = Dialect::preset(&preset).context("no such preset")?;
        let body = coding_agent::request()?;
        let request = Request::parse(&body)?;
        let reply = request::to_openai(&request, &target(&dialect))?.reply;
        Ok(Self {
            chunks: coding_agent::chunks(),
            body,
            preset,
            dialect,
            reply,
        })
    }

    /// All works in turns, so that a noisy machine is noisy for each of them.
    fn measure<const N: usize>(&self, works: [Work; N], rounds: usize) -> Result<[Measured; N]> {
        let mut samples = [const { Vec::new() }; N];
        for _ in 0..SAMPLES {
            for (work, samples) in works.iter().zip(&mut samples) {
                let started = Instant::now();
                self.run(*work, rounds)?;
                samples.push(started.elapsed().as_secs_f64() * 1e6 / rounds as f64);
            }
        }
        let mut counted = [None; N];
        if valgrind::is_there() {
            for (work, counted) in works.iter().zip(&mut counted) {
                let name = work.to_possible_value().context("a work without a name")?;
                let arguments = ["--preset", &self.preset, "work", name.get_name()];
                *counted = Some(valgrind::cost(&arguments)?);
            }
        }
        let mut counted = counted.into_iter();
        Ok(samples.map(|mut samples| {
            samples.sort_by(f64::total_cmp);
            Measured {
                microseconds: samples.get(samples.len() / 2).copied().unwrap_or_default(),
                counted: counted.next().flatten(),
            }
        }))
    }

    fn run(&self, work: Work, rounds: usize) -> Result<()> {
        for _ in 0..rounds {
            let out = match work {
                Work::Scan => floors::scan(black_box(&self.body))?,
                Work::Borrow => floors::borrow(black_box(&self.body))?,
                Work::Translate => self.translate()?,
                Work::BorrowStream => self.borrow_stream()?,
                Work::TranslateStream => self.translate_stream(),
            };
            black_box(out);
        }
        Ok(())
    }

    fn translate(&self) -> Result<Vec<u8>> {
        let request = Request::parse(black_box(&self.body))?;
        Ok(request::to_openai(&request, &target(&self.dialect))?.body)
    }

    fn borrow_stream(&self) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        for chunk in black_box(&self.chunks) {
            out.clear();
            floors::borrow_event(chunk, &mut out)?;
        }
        Ok(out)
    }

    fn translate_stream(&self) -> Vec<u8> {
        let mut translator = Translator::new(self.reply.clone(), Ids::new([7; 32]));
        let mut out = Vec::new();
        for chunk in black_box(&self.chunks) {
            out.clear();
            black_box(translator.push(chunk, &mut out));
        }
        out
    }
}

fn target(dialect: &Dialect) -> Target<'_> {
    Target {
        provider: "acme",
        model: "up-model",
        dialect,
        token_limits: TokenLimits {
            min: 1,
            max: 1_000_000,
        },
        max_output_tokens: Some(64_000),
    }
}
