//! What fuzzing starts from: the inputs of the translation's own fixtures, and the requests
//! and dialects that they name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use bridge_translate::anthropic::Request;
use bridge_translate::{Dialect, Ids, Reply, Target, TokenLimits, request};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../data-plane/translate/fixtures");

/// A provider of an older version of Anthropic's API.
const DOWNGRADED: &str = r#"{"preset": "anthropic", "mid_system": "user", "strip_billing_header": true,
    "strip_fields": ["context_management", "output_config.format"], "strip_cache_ttl": true,
    "thinking_adaptive": "enabled"}"#;

pub(crate) struct Fixtures {
    pub(crate) requests: Vec<Vec<u8>>,
    pub(crate) responses: Vec<Vec<u8>>,
    pub(crate) streams: Vec<Vec<u8>>,
    pub(crate) errors: Vec<Vec<u8>>,
    /// What is passed on without translation: requests, and streams of native providers.
    pub(crate) passed: Vec<Vec<u8>>,
    /// Every preset.
    pub(crate) presets: Vec<Dialect>,
    /// What fixtures change in presets.
    pub(crate) variants: Vec<Dialect>,
    /// Native providers, of those who take everything and of those who take little.
    pub(crate) natives: Vec<Dialect>,
    /// What the way back may know of the request that asked.
    pub(crate) replies: Vec<Reply>,
}

pub(crate) fn ids() -> Ids {
    Ids::new([7; 32])
}

pub(crate) fn target(dialect: &Dialect) -> Target<'_> {
    Target {
        provider: "acme",
        model: "up-model",
        dialect,
        token_limits: TokenLimits {
            min: 1,
            max: 1_000_000,
        },
        max_output_tokens: Some(8192),
    }
}

// === impl Fixtures ===

impl Fixtures {
    pub(crate) fn load() -> Result<Self> {
        let requests = documents("request", "request")?;
        let responses = documents("response", "upstream")?;
        let errors = documents("error", "body")?;
        let streams = texts("stream")?
            .iter()
            .map(|text| StreamCase::parse(text))
            .collect::<Result<Vec<_>>>()?;

        let mut asked: BTreeSet<(String, String)> = BTreeSet::new();
        for (case, _) in requests.iter().chain(&responses) {
            asked.insert((setting(case, "dialect"), "{}".to_owned()));
        }
        for (case, _) in &responses {
            asked.insert((setting(case, "dialect"), setting(case, "request")));
        }
        asked.extend(
            streams
                .iter()
                .map(|case| (case.dialect.clone(), case.request.clone())),
        );
        for name in Dialect::presets() {
            asked.insert((
                json!(name).to_string(),
                json!({"thinking": {"type": "adaptive"}}).to_string(),
            ));
        }
        let variants = asked
            .iter()
            .map(|(dialect, _)| parse_dialect(dialect))
            .collect::<Result<_>>()?;
        let replies = asked
            .iter()
            .filter_map(|(dialect, request)| reply(dialect, request).transpose())
            .collect::<Result<_>>()?;
        let native_streams = texts("native")?.into_iter().map(String::into_bytes);
        let requests = bodies(requests);
        Ok(Self {
            passed: requests.iter().cloned().chain(native_streams).collect(),
            natives: [r#""anthropic""#, DOWNGRADED]
                .map(parse_dialect)
                .into_iter()
                .collect::<Result<_>>()?,
            requests,
            responses: bodies(responses),
            streams: streams.into_iter().map(|case| case.upstream).collect(),
            errors: bodies(errors),
            presets: Dialect::presets().filter_map(Dialect::preset).collect(),
            variants,
            replies,
        })
    }
}

/// A JSON file's fields, unread: there are cases that no tree can hold.
type Case = BTreeMap<String, Box<RawValue>>;

/// A file under `stream/`: settings as comments, then the upstream's bytes, then the client's.
struct StreamCase {
    dialect: String,
    request: String,
    upstream: Vec<u8>,
}

impl StreamCase {
    fn parse(text: &str) -> Result<Self> {
        let (head, rest) = text.split_once("\n: upstream\n").context("no upstream")?;
        let (upstream, _) = rest.split_once("\n: client\n").unwrap_or((rest, ""));
        let setting = |name: &str| {
            head.lines()
                .find_map(|line| line.strip_prefix(": ")?.strip_prefix(name))
                .unwrap_or("{}")
                .trim()
                .to_owned()
        };
        Ok(Self {
            dialect: setting("dialect "),
            request: setting("request "),
            upstream: format!("{upstream}\n").into_bytes(),
        })
    }
}

/// Every case of a folder of JSON files, and its `field` as it would come over the wire.
fn documents(folder: &str, field: &str) -> Result<Vec<(Case, Vec<u8>)>> {
    let document = |text: &String| {
        let case: Case = serde_json::from_str(text)?;
        let body = case
            .get(field)
            .with_context(|| format!("a case without {field} in {folder}"))?
            .get();
        let body = if body.starts_with('"') {
            serde_json::from_str(body)?
        } else {
            compact(body)
        };
        Ok((case, body.into_bytes()))
    };
    texts(folder)?.iter().map(document).collect()
}

/// JSON without the white space that files have for people.
fn compact(json: &str) -> String {
    let (mut in_string, mut is_escaped) = (false, false);
    let is_kept = |c: &char| {
        if *c == '"' && !is_escaped {
            in_string = !in_string;
        }
        is_escaped = in_string && *c == '\\' && !is_escaped;
        in_string || !c.is_ascii_whitespace()
    };
    json.chars().filter(is_kept).collect()
}

fn bodies(documents: Vec<(Case, Vec<u8>)>) -> Vec<Vec<u8>> {
    documents.into_iter().map(|(_, body)| body).collect()
}

/// All files of a folder in the order of their names.
fn texts(folder: &str) -> Result<Vec<String>> {
    let folder = Path::new(ROOT).join(folder);
    let mut files = std::fs::read_dir(&folder)
        .with_context(|| format!("no fixtures at {}", folder.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    files.sort();
    ensure!(!files.is_empty(), "{} is empty", folder.display());
    files
        .iter()
        .map(|file| Ok(std::fs::read_to_string(file)?))
        .collect()
}

fn setting(case: &Case, name: &str) -> String {
    case.get(name).map_or("{}", |raw| raw.get()).to_owned()
}

/// A preset by name, or an object of knobs over the preset, and the model of it, that it names.
fn parse_dialect(text: &str) -> Result<Dialect> {
    let preset = |name: &str, model: &str| {
        Dialect::preset_for(name, model).with_context(|| format!("no preset {name}"))
    };
    match serde_json::from_str(text)? {
        Value::String(name) => preset(&name, ""),
        Value::Object(mut knobs) => {
            let [name, model] = ["preset", "model"].map(|key| knobs.remove(key));
            let name = name.as_ref().and_then(Value::as_str).unwrap_or("generic");
            let model = model.as_ref().and_then(Value::as_str).unwrap_or_default();
            Ok(preset(name, model)?.with_overrides(knobs)?)
        }
        other => Err(anyhow!("not a dialect: {other}")),
    }
}

/// The reply of a small request with some fields replaced; none if the dialect refuses it.
fn reply(dialect: &str, overrides: &str) -> Result<Option<Reply>> {
    let mut fields = Map::from_iter([
        ("model".to_owned(), json!("claude-test")),
        ("max_tokens".to_owned(), json!(1024)),
        ("stream".to_owned(), json!(true)),
        ("messages".to_owned(), json!([{"role": "user", "content": "Hi"}])),
    ]);
    fields.extend(serde_json::from_str::<Map<String, Value>>(overrides)?);
    let body = serde_json::to_vec(&fields)?;
    let dialect = parse_dialect(dialect)?;
    let outbound = Request::parse(&body).and_then(|request| request::to_openai(&request, &target(&dialect)));
    Ok(outbound.ok().map(|outbound| outbound.reply))
}
