//! The subcommand `translate`: one body in, one body out, by the engine that serves.
//!
//! For debugging and scripts: no network, no configuration, no log. What it prints for a
//! request is what a provider of that dialect would be sent, to the byte.

use std::{
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use bridge_translate::{
    Dialect, Dialects, Ids, LossList, Outbound, Target, TokenLimits, anthropic,
    error::{self, BadRequest, UpstreamFault},
    native, request, response,
    stream::{Status, Translator},
};
use serde::Serialize;
use serde_json::{Map, Value, value::RawValue};

use crate::{body::BODY_BYTES_MAX, snapshot::TRANSPORT_KNOBS};

/// The input is wrong: the same status as for a wrong command line.
const WRONG_INPUT: u8 = 2;
/// The input is an upstream's failure.
const UPSTREAM_FAILED: u8 = 1;
/// Ids are the same at every run, so that outputs can be compared.
const SEED: [u8; 32] = [0; 32];
#[derive(Debug, clap::Args)]
#[command(
    about = "Translate one request or one answer, without a network",
    long_about = "\
Translate one request or one answer, without a network.

Reads a request of the Messages API from standard input and prints a JSON document: what a provider
would be sent (`upstream`), what is lost on the way (`losses`), and for which dialect. With --answer it
reads an upstream's answer and prints what the client gets.

Ends with 0, with 2 if the input is wrong, with 1 if the answer is a failure."
)]
pub struct Args {
    /// Preset of what the provider can take
    #[arg(long, default_value = "generic", value_name = "PRESET")]
    dialect: String,
    /// What the provider speaks; for one that speaks the client's API, shows what is changed in the request
    #[arg(long, value_enum, default_value_t = ApiFormat::Openai)]
    api_format: ApiFormat,
    /// JSON file with knobs that replace the preset's, as in a provider's `dialect_overrides`
    #[arg(long, value_name = "FILE")]
    dialect_overrides: Option<PathBuf>,
    /// One knob that replaces the preset's; may be repeated
    #[arg(long = "set", value_name = "KNOB=VALUE")]
    knobs: Vec<String>,
    /// The provider's name of the model [default: the one that the request asks for]
    #[arg(long)]
    model: Option<String>,
    /// The provider's name; it is part of the signatures of thinking blocks
    #[arg(long, default_value = "upstream")]
    provider: String,
    /// Bounds of max_tokens, as in the settings
    #[arg(long, default_value = "100-1000000", value_name = "MIN-MAX")]
    limits: String,
    /// The most that the model can put out
    #[arg(long, value_name = "TOKENS")]
    max_output_tokens: Option<u32>,
    /// Refuse a request of which something would be lost
    #[arg(long)]
    strict: bool,
    /// Translate an answer to the request in this file
    #[arg(long, value_name = "REQUEST", conflicts_with = "api_format")]
    answer: Option<PathBuf>,
    /// The HTTP status of that answer
    #[arg(long, default_value_t = 200, requires = "answer")]
    status: u16,
}

/// The API of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ApiFormat {
    Openai,
    Anthropic,
}

/// What goes up, and what of the request does not.
struct Fitted {
    body: Vec<u8>,
    losses: LossList,
}

/// Why there is no translation.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0:?} is no preset; there are {names}", names = Dialect::presets().collect::<Vec<_>>().join(", "))]
    Preset(String),
    #[error("{0:?} is not of the form KNOB=VALUE")]
    Setting(String),
    #[error("the dialect is not known: {0}")]
    Knob(serde_json::Error),
    #[error("{0:?} are no limits; write them as 100-32000")]
    Limits(String),
    #[error("{}: {error}", .path.display())]
    File { path: PathBuf, error: io::Error },
    #[error("{}: no JSON object: {error}", .path.display())]
    Overrides { path: PathBuf, error: serde_json::Error },
    #[error("cannot read or write: {0}")]
    Stream(#[from] io::Error),
    #[error("the input is larger than {} MiB", BODY_BYTES_MAX >> 20)]
    TooLarge,
    #[error(transparent)]
    BadRequest(#[from] BadRequest),
    #[error("the request cannot be translated without loss: {0}")]
    Lossy(String),
    #[error("the upstream failed ({:?}): {}", .0.kind, .0.message)]
    Upstream(UpstreamFault),
    #[error("the translation is no JSON: {0}")]
    Output(serde_json::Error),
}

#[derive(Serialize)]
struct Translated<'a> {
    dialect: &'a str,
    upstream: &'a RawValue,
    losses: Vec<Lost<'a>>,
}

#[derive(Serialize)]
struct Lost<'a> {
    path: &'a str,
    reason: &'a str,
}

/// Translates from standard input to standard output.
pub fn run(args: &Args) -> ExitCode {
    let mut output = Vec::new();
    let translated = args.translate(io::stdin().lock(), &mut output);
    // Of an answer that breaks, what came before is worth seeing.
    let printed = io::stdout().lock().write_all(&output).map_err(Error::Stream);
    match translated.and(printed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bridge-data-plane: {error}");
            let is_upstreams = matches!(error, Error::Upstream(_));
            ExitCode::from(if is_upstreams {
                UPSTREAM_FAILED
            } else {
                WRONG_INPUT
            })
        }
    }
}

impl Args {
    fn translate(&self, input: impl Read, output: &mut Vec<u8>) -> Result<(), Error> {
        let dialects = self.dialects()?;
        let input = read(input)?;
        match &self.answer {
            None => self.request(&dialects, &input, output),
            Some(path) => {
                let request = fs::File::open(path).map_err(|error| self::file(path, error))?;
                self.answer(&dialects, &read(request)?, &input, output)
            }
        }
    }

    fn request(&self, dialects: &Dialects, body: &[u8], output: &mut Vec<u8>) -> Result<(), Error> {
        let request = anthropic::Request::parse(body)?;
        let Fitted { body, losses } = match self.api_format {
            ApiFormat::Openai => {
                let Outbound { body, losses, .. } = self.outbound(dialects, &request)?;
                Fitted { body, losses }
            }
            ApiFormat::Anthropic => self.edit(dialects, &request, body)?,
        };
        if let Some(lost) = losses.header().filter(|_| self.strict) {
            return Err(Error::Lossy(lost));
        }
        let upstream: &RawValue = serde_json::from_slice(&body).map_err(Error::Output)?;
        let losses = losses.iter().map(|loss| Lost {
            path: &loss.path,
            reason: loss.reason,
        });
        let translated = Translated {
            dialect: &self.dialect,
            upstream,
            losses: losses.collect(),
        };
        serde_json::to_writer(&mut *output, &translated).map_err(Error::Output)?;
        output.push(b'\n');
        Ok(())
    }

    /// What the client of the request gets, as a stream if it asked for one.
    fn answer(
        &self,
        dialects: &Dialects,
        request: &[u8],
        answer: &[u8],
        output: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let request = anthropic::Request::parse(request)?;
        let reply = self.outbound(dialects, &request)?.reply;
        let ids = Ids::new(SEED);
        if !(200..300).contains(&self.status) {
            return Err(Error::Upstream(error::read(self.status, None, answer, &reply)));
        }
        if !request.is_stream() {
            let whole = response::to_anthropic(answer, &reply, ids).map_err(Error::Upstream)?;
            output.extend_from_slice(&whole.body);
            output.push(b'\n');
        } else if serde_json::from_slice::<&RawValue>(answer).is_ok() {
            response::to_anthropic_events(answer, &reply, ids, output).map_err(Error::Upstream)?;
        } else {
            stream(Translator::new(reply, ids), answer, output)?;
        }
        Ok(())
    }

    fn outbound(&self, dialects: &Dialects, request: &anthropic::Request<'_>) -> Result<Outbound, Error> {
        Ok(request::to_openai(request, &self.target(dialects, request)?)?)
    }

    /// For a provider that speaks the client's API.
    fn edit(
        &self,
        dialects: &Dialects,
        request: &anthropic::Request<'_>,
        body: &[u8],
    ) -> Result<Fitted, Error> {
        let target = self.target(dialects, request)?;
        let edited = native::edit(body, request, &target, native::History::Signed)?;
        Ok(Fitted {
            body: edited.body.unwrap_or_else(|| body.to_vec()),
            losses: edited.losses,
        })
    }

    fn target<'a>(
        &'a self,
        dialects: &'a Dialects,
        request: &'a anthropic::Request<'_>,
    ) -> Result<Target<'a>, Error> {
        let model = self.model.as_deref().unwrap_or(request.model());
        Ok(Target {
            provider: &self.provider,
            model,
            dialect: dialects.of_model(model),
            token_limits: self.token_limits()?,
            max_output_tokens: self.max_output_tokens,
        })
    }

    fn token_limits(&self) -> Result<TokenLimits, Error> {
        let limits = self.limits.split_once('-').and_then(|(min, max)| {
            let (min, max) = (min.trim().parse().ok()?, max.trim().parse().ok()?);
            (min <= max).then_some(TokenLimits { min, max })
        });
        limits.ok_or_else(|| Error::Limits(self.limits.clone()))
    }

    /// The preset, then the file, then the single knobs.
    fn dialects(&self) -> Result<Dialects, Error> {
        let preset = Dialects::preset(&self.dialect).ok_or_else(|| Error::Preset(self.dialect.clone()))?;
        let mut overrides = Map::new();
        if let Some(path) = &self.dialect_overrides {
            let text = fs::read(path).map_err(|error| file(path, error))?;
            overrides = serde_json::from_slice(&text).map_err(|error| Error::Overrides {
                path: path.clone(),
                error,
            })?;
        }
        let defaults = serde_json::to_string(&Dialect::default()).map_err(Error::Knob)?;
        let defaults: Map<String, Value> = serde_json::from_str(&defaults).map_err(Error::Knob)?;
        for setting in &self.knobs {
            let (knob, text) = setting
                .split_once('=')
                .ok_or_else(|| Error::Setting(setting.clone()))?;
            let knob = knob.trim();
            let is_word = defaults.get(knob).is_some_and(Value::is_string);
            overrides.insert(knob.to_owned(), value(text, is_word));
        }
        // A provider's file may say how it is called, too.
        overrides.retain(|knob, _| !TRANSPORT_KNOBS.contains(&knob.as_str()));
        preset.with_overrides(&overrides).map_err(Error::Knob)
    }
}

/// What is no JSON is a word, and so is what stands for one: `null` is a word of some knobs.
fn value(text: &str, is_word: bool) -> Value {
    match serde_json::from_str(text) {
        Ok(Value::String(word)) => Value::String(word),
        Ok(value) if !is_word => value,
        Ok(_) | Err(_) => Value::from(text),
    }
}

fn stream(mut translator: Translator, answer: &[u8], output: &mut Vec<u8>) -> Result<(), Error> {
    let status = match translator.push(answer, output) {
        Status::Held | Status::Streaming => translator.end(output),
        done @ (Status::Ended { .. } | Status::Failed(_)) => done,
    };
    match status {
        Status::Failed(fault) => Err(Error::Upstream(fault)),
        Status::Held | Status::Streaming | Status::Ended { .. } => Ok(()),
    }
}

fn read(input: impl Read) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let mut bounded = input.take(BODY_BYTES_MAX as u64 + 1);
    bounded.read_to_end(&mut bytes)?;
    if bytes.len() > BODY_BYTES_MAX {
        return Err(Error::TooLarge);
    }
    Ok(bytes)
}

fn file(path: &Path, error: io::Error) -> Error {
    Error::File {
        path: path.to_owned(),
        error,
    }
}
