//! The many shapes of error bodies, read into one.

use std::time::Duration;

use serde_json::Value;

/// Longest message that is passed on, in characters.
const MESSAGE_CHARS_MAX: usize = 500;
/// Longest excerpt of a body that is not JSON, in characters.
const EXCERPT_CHARS_MAX: usize = 300;

/// What an error body says, whatever its shape.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) message: String,
    pub(super) code: String,
    /// A numeric code inside the body: an HTTP status in most dialects.
    pub(super) status: Option<u16>,
    pub(super) retry_after: Option<Duration>,
    pub(super) detail: Option<Value>,
    pub(super) is_html: bool,
}

/// Reads a body, be it JSON, HTML or text.
pub(super) fn said(content_type: Option<&str>, body: &[u8]) -> Said {
    // Some servers send the error as the one event of a stream.
    let trimmed = body.trim_ascii();
    let json = trimmed.strip_prefix(b"data:").map_or(trimmed, <[u8]>::trim_ascii);
    if let Ok(value @ (Value::Object(_) | Value::Array(_))) = serde_json::from_slice::<Value>(json) {
        return said_json(value);
    }
    let text = String::from_utf8_lossy(trimmed);
    let is_html = content_type.is_some_and(|kind| kind.contains("html")) || text.starts_with('<');
    let message = clip(&without_tags(&text), EXCERPT_CHARS_MAX);
    Said {
        message,
        is_html,
        ..Said::default()
    }
}

fn said_json(value: Value) -> Said {
    let outer = match value {
        Value::Array(mut list) if !list.is_empty() => list.swap_remove(0),
        other => other,
    };
    let error = ["error", "errors"]
        .iter()
        .find_map(|name| outer.get(name))
        .filter(|error| !error.is_null());
    let error = match error {
        Some(Value::Array(list)) => list.first().unwrap_or(&Value::Null),
        Some(error) => error,
        None => &outer,
    };
    let mut message = message_in(error)
        .or_else(|| message_in(&outer))
        .unwrap_or_default();
    if let Some(raw) = error.pointer("/metadata/raw").and_then(raw_message)
        && !message.contains(&raw)
    {
        message = format!("{message}: {raw}");
    }
    let code = ["code", "type", "status"]
        .iter()
        .filter_map(|name| error.get(name).or_else(|| outer.get(name)))
        .filter_map(Value::as_str);
    let status = ["code", "status", "status_code"]
        .iter()
        .filter_map(|name| error.get(name).or_else(|| outer.get(name)))
        .find_map(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()))
        .and_then(|status| u16::try_from(status).ok());
    Said {
        message: clip(&without_tags(&message), MESSAGE_CHARS_MAX),
        code: code.collect::<Vec<_>>().join(" ").trim().to_owned(),
        status,
        retry_after: retry_delay(error).or_else(|| retry_in_words(&message)),
        detail: Some(error.clone()),
        is_html: false,
    }
}

fn message_in(value: &Value) -> Option<String> {
    if let Value::String(text) = value {
        return Some(text.clone());
    }
    let text = ["message", "msg"]
        .iter()
        .find_map(|name| value.get(name)?.as_str());
    if let Some(text) = text {
        return Some(text.to_owned());
    }
    match value.get("detail") {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Array(list)) => Some(
            list.iter()
                .filter_map(fastapi_detail)
                .collect::<Vec<_>>()
                .join("; "),
        ),
        Some(detail) => message_in(detail),
        None => None,
    }
}

/// FastAPI: `{"loc":["body","messages",0],"msg":"Field required"}`.
fn fastapi_detail(detail: &Value) -> Option<String> {
    let text = detail.get("msg")?.as_str()?;
    let path: Vec<String> = detail
        .get("loc")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|part| part.as_str().map_or_else(|| part.to_string(), str::to_owned))
        .collect();
    Some(if path.is_empty() {
        text.to_owned()
    } else {
        format!("{}: {text}", path.join("."))
    })
}

/// OpenRouter packs the original error, often as JSON text, into `metadata.raw`.
fn raw_message(raw: &Value) -> Option<String> {
    let text = raw.as_str()?;
    match serde_json::from_str::<Value>(text) {
        Ok(value) => value
            .get("error")
            .and_then(message_in)
            .or_else(|| message_in(&value)),
        Err(_) => Some(text.to_owned()),
    }
}

/// Gemini: `details[].retryDelay: "12s"`.
fn retry_delay(error: &Value) -> Option<Duration> {
    error
        .get("details")?
        .as_array()?
        .iter()
        .find_map(|detail| duration(detail.get("retryDelay")?.as_str()?))
}

/// "Please try again in 1.2s.", "Please retry after 20 seconds."
fn retry_in_words(message: &str) -> Option<Duration> {
    const BEFORE: &[&str] = &["try again in ", "retry after ", "retry in "];
    let text = message.to_ascii_lowercase();
    let rest = BEFORE
        .iter()
        .find_map(|phrase| Some(text.split_once(phrase)?.1))?;
    let (wait, unit) = rest.split_once([' ', ',']).unwrap_or((rest, ""));
    let unit = if unit.starts_with("minute") { "m" } else { "" };
    duration(&format!("{}{unit}", wait.trim_end_matches('.')))
}

/// A length of time as servers write it in bodies and rate-limit headers: `20`, `1.5s`, `1m2.5s`, `120ms`.
pub fn duration(text: &str) -> Option<Duration> {
    const UNITS: &[(&str, f64)] = &[
        ("ms", 0.001),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
        ("d", 86_400.0),
    ];
    let mut rest = text.trim();
    let mut seconds = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let letters = tail
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let factor = if unit.is_empty() {
            1.0
        } else {
            UNITS.iter().find(|(name, _)| *name == unit)?.1
        };
        seconds += number.parse::<f64>().ok()? * factor;
        rest = tail;
    }
    Duration::try_from_secs_f64(seconds).ok()
}

fn without_tags(text: &str) -> String {
    if !text.contains('<') {
        return text.to_owned();
    }
    let mut plain = String::new();
    let mut rest = text;
    while let Some(open) = rest.find('<') {
        let (before, tag) = rest.split_at(open);
        plain.push_str(before);
        // A lone `<` is text: "5 < 6".
        let is_tag = tag
            .as_bytes()
            .get(1)
            .is_some_and(|b| b.is_ascii_alphabetic() || matches!(b, b'/' | b'!'));
        if !is_tag {
            plain.push('<');
            rest = tag.get(1..).unwrap_or_default();
            continue;
        }
        let Some(close) = tag.find('>') else {
            // Behind the last tag.
            rest = tag;
            break;
        };
        plain.push(' ');
        rest = tag.get(close + 1..).unwrap_or_default();
    }
    plain.push_str(rest);
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The start of a text.
pub(super) fn clip(text: &str, chars: usize) -> String {
    text.trim().chars().take(chars).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_of_headers_and_bodies() {
        let rows = [
            ("20", 20_000),
            ("1m2.5s", 62_500),
            ("120ms", 120),
            (" 1h ", 3_600_000),
        ];
        for (text, millis) in rows {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(duration("soon"), None);
        assert_eq!(duration(""), None);
    }

    #[test]
    fn waits_are_found_in_words() {
        let check = |message: &str, millis: Option<u64>| {
            assert_eq!(
                retry_in_words(message),
                millis.map(Duration::from_millis),
                "{message}"
            );
        };
        check(
            "Rate limit reached. Please try again in 1.25s. Visit our page.",
            Some(1250),
        );
        check("Limit 30, used 30. Please try again in 7m12s.", Some(432_000));
        check("Please retry after 20 seconds.", Some(20_000));
        check("Please retry in 2 minutes", Some(120_000));
        check("Please try again in 300ms.", Some(300));
        check("Please try again in a while", None);
        check("Please try again later.", None);
    }

    #[test]
    fn tags_go_and_comparisons_stay() {
        assert_eq!(
            without_tags("<html><h1>502</h1>Bad <b>Gateway</b></html>"),
            "502 Bad Gateway"
        );
        assert_eq!(without_tags("9 tokens > 5 and 3 < 4"), "9 tokens > 5 and 3 < 4");
    }
}
