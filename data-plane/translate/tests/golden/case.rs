//! What all kinds of cases share: finding files, the target, and accepting.

use std::path::{Path, PathBuf};

use bridge_translate::anthropic::Request;
use bridge_translate::{Dialect, Ids, Reply, Target, TokenLimits, request};
use serde_json::{Map, Value, json};

pub(crate) const SEED: [u8; 32] = [7; 32];
const LIMITS: TokenLimits = TokenLimits {
    min: 1,
    max: 1_000_000,
};

/// All files of one kind. An empty folder or a file that nobody reads is a mistake.
pub(crate) fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(folder);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", root.display());
    for file in &files {
        assert_eq!(
            file.extension().and_then(|e| e.to_str()),
            Some(extension),
            "{} is read by nobody",
            file.display()
        );
    }
    files
}

pub(crate) fn ids() -> Ids {
    Ids::new(SEED)
}

/// A preset by name, or `{"preset": name, "model": name, knob: value, ...}`.
pub(crate) fn dialect(value: Option<&Value>) -> Dialect {
    match value {
        None => Dialect::default(),
        Some(Value::String(name)) => Dialect::preset(name).unwrap(),
        Some(Value::Object(knobs)) => {
            let mut knobs = knobs.clone();
            let mut word = |name| Some(knobs.remove(name)?.as_str().unwrap().to_owned());
            let preset = word("preset").unwrap_or_else(|| "generic".to_owned());
            let model = word("model").unwrap_or_default();
            let dialect = Dialect::preset_for(&preset, &model).unwrap();
            dialect.with_overrides(knobs).unwrap()
        }
        Some(other) => panic!("not a dialect: {other}"),
    }
}

pub(crate) fn target(dialect: &Dialect) -> Target<'_> {
    Target {
        provider: "acme",
        model: "up-model",
        dialect,
        token_limits: LIMITS,
        max_output_tokens: Some(8192),
    }
}

/// The reply of a small request with some fields replaced.
pub(crate) fn reply(dialect: &Dialect, overrides: Option<&Value>) -> Reply {
    let mut fields: Map<String, Value> = serde_json::from_value(json!({
        "model": "claude-test", "max_tokens": 1024, "stream": true,
        "messages": [{"role": "user", "content": "Hi"}],
    }))
    .unwrap();
    if let Some(Value::Object(more)) = overrides {
        fields.extend(more.clone());
    }
    let body = serde_json::to_vec(&fields).unwrap();
    let request = Request::parse(&body).unwrap();
    request::to_openai(&request, &target(dialect))
        .unwrap()
        .reply
        .with_estimate(11)
}

/// Compares, or writes what came if the person at the keyboard says so.
pub(crate) fn settle(file: &Path, have: &str, want: &str, whole_file: &str) {
    if have == want {
        return;
    }
    if std::env::var_os("ACCEPT_GOLDENS").is_some() {
        std::fs::write(file, whole_file).unwrap();
        return;
    }
    panic!("{}\n--- expected\n{want}\n--- came\n{have}\n", file.display());
}
