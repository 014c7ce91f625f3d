//! Finds in a refusal what to change so that the upstream would take the request.
//!
//! Careful on purpose: what is found here is remembered for all requests to that upstream,
//! so a value that only one client got wrong must not count. A field counts as refused if
//! it is named *and* the words say that the field itself is not wanted.

use serde_json::Value;

use super::body::Said;
use super::fault::Remedy;
use super::overflow::number_after;
use crate::dialect::{Effort, Field};

/// Names on the wire, and what they stand for. Where several are named, the first in the text counts.
const FIELDS: &[(&str, Field)] = &[
    ("stream_options", Field::StreamOptions),
    ("include_usage", Field::StreamOptions),
    ("max_tokens", Field::MaxTokens),
    ("max_completion_tokens", Field::MaxCompletionTokens),
    ("parallel_tool_calls", Field::ParallelToolCalls),
    ("temperature", Field::Temperature),
    ("top_p", Field::TopP),
    ("top_k", Field::TopK),
    ("stop", Field::Stop),
    ("tool_choice", Field::ToolChoice),
    ("response_format", Field::ResponseFormat),
    ("reasoning_effort", Field::Reasoning),
    ("enable_thinking", Field::Reasoning),
    ("thinking_budget", Field::Reasoning),
    ("chat_template_kwargs", Field::Reasoning),
    ("thinking", Field::Reasoning),
    ("reasoning", Field::Reasoning),
    ("reasoning_content", Field::ReasoningBack),
    ("strict", Field::Strict),
    ("cache_control", Field::CacheControl),
    ("prompt_cache_breakpoint", Field::CacheControl),
    ("service_tier", Field::ServiceTier),
    ("user", Field::User),
    ("prefix", Field::Prefix),
    ("partial", Field::Prefix),
    ("continue_final_message", Field::Prefix),
    ("add_generation_prompt", Field::Prefix),
];

/// The field is not wanted.
const REFUSING: &[&str] = &[
    "unsupported",
    "not supported",
    "isn't supported",
    "does not support",
    "doesn't support",
    "do not support",
    "unknown",
    "unrecognized",
    "unrecognised",
    "unexpected",
    "unavailable",
    "not permitted",
    "not allowed",
    "extra inputs",
    "extra fields",
    "extra_forbidden",
    "only the default",
    "only 1 is allowed",
    "both be specified",
    "cannot be used",
    "incompatible",
    "deprecated",
];
/// The field is wanted, only not with that value.
const OF_A_VALUE: &[&str] = &[
    "between",
    "greater than",
    "less than",
    "at most",
    "at least",
    "in the range",
    "out of range",
];
/// What stands before the largest output that a model writes.
const BEFORE_OUTPUT_MAX: &[&str] = &[
    "supports at most ",
    "max_tokens should be [1, ",
    "max_tokens should be [1,",
    "max_tokens is [1, ",
    "max_tokens is [1,",
    "max_tokens must be less than or equal to ",
    "`max_tokens` must be less than or equal to `",
    "`max_completion_tokens` must be less than or equal to `",
];

/// What to change, if the refusal says so.
pub(super) fn find(said: &Said) -> Option<Remedy> {
    let text = said.message.to_ascii_lowercase();
    if let Some(most) = output_max(&text) {
        return Some(Remedy::OutputAtMost(most));
    }
    field(said, &text).map(Remedy::Without)
}

fn output_max(text: &str) -> Option<u32> {
    if !text.contains("max_tokens") && !text.contains("max_completion_tokens") {
        return None;
    }
    let told = BEFORE_OUTPUT_MAX
        .iter()
        .find_map(|phrase| number_after(text, phrase));
    let told = told.or_else(|| {
        let is_about_output = text.contains("maximum allowed number of output tokens");
        number_after(text, "> ").filter(|_| is_about_output)
    });
    told.and_then(|most| u32::try_from(most).ok())
        .filter(|most| *most > 0)
}

fn field(said: &Said, text: &str) -> Option<Field> {
    if text.contains("system message must be at the beginning") {
        return Some(Field::MidSystem);
    }
    if text.contains("developer") && text.contains("role") {
        return Some(Field::DeveloperRole);
    }
    if !is_refusing(said, text) {
        return None;
    }
    let found = pointed_at(said).or_else(|| first_named(text))?;
    Some(match found {
        Field::Temperature if text.contains("both be specified") => Field::TopP,
        Field::Reasoning if text.contains("tools") && text.contains("'none'") => Field::EffortWithTools,
        Field::Reasoning => refused_effort(text).map_or(found, Field::Effort),
        other => other,
    })
}

fn is_refusing(said: &Said, text: &str) -> bool {
    let entries = said.detail.as_ref().map(validation).unwrap_or_default();
    let kinds = entries.iter().filter_map(|entry| entry.get("type")?.as_str());
    let words: Vec<&str> = [said.code.as_str(), text].into_iter().chain(kinds).collect();
    let mention = |known: &[&str]| {
        known
            .iter()
            .any(|word| words.iter().any(|said| said.contains(word)))
    };
    mention(REFUSING) && !mention(OF_A_VALUE)
}

/// The field that the body itself points at.
fn pointed_at(said: &Said) -> Option<Field> {
    let detail = said.detail.as_ref()?;
    if let Some(param) = detail.get("param").and_then(Value::as_str) {
        return at_path(param.split(['.', '[', ']']));
    }
    validation(detail).iter().find_map(|entry| {
        let path = entry.get("loc")?.as_array()?;
        at_path(path.iter().filter_map(Value::as_str))
    })
}

/// FastAPI's list of what is wrong.
fn validation(detail: &Value) -> &[Value] {
    let list = detail.get("detail").and_then(Value::as_array);
    list.map(Vec::as_slice).unwrap_or_default()
}

/// `messages[1].cache_control` and `body.stream_options.include_usage`: the innermost name that we know.
fn at_path<'p>(path: impl Iterator<Item = &'p str>) -> Option<Field> {
    let known = path.filter_map(|name| {
        let (_, field) = FIELDS.iter().find(|(known, _)| *known == name)?;
        Some(*field)
    });
    known.last()
}

/// The known name that comes first. Names that are also plain words must be marked as names.
fn first_named(text: &str) -> Option<Field> {
    let places = FIELDS.iter().filter_map(|(name, field)| {
        let is_word = !name.contains('_') && *name != "temperature";
        let at = text
            .match_indices(name)
            .map(|(at, _)| at)
            .find(|at| is_name(text, *at, name.len(), is_word))?;
        Some((at, *field))
    });
    places.min_by_key(|(at, _)| *at).map(|(_, field)| field)
}

fn is_name(text: &str, at: usize, length: usize, must_be_marked: bool) -> bool {
    let before = text.get(..at).unwrap_or_default();
    let after = text.get(at + length..).unwrap_or_default();
    let goes_on = |c: char| c.is_alphanumeric() || c == '_';
    if before.ends_with(goes_on) || after.starts_with(goes_on) {
        return false;
    }
    // `for function 'stop'` names a tool of the client.
    let is_tool = before.ends_with("function '") || before.ends_with("tool '");
    let is_last = before.ends_with(": ") && after.trim_end_matches('.').is_empty();
    !is_tool && (!must_be_marked || is_last || before.ends_with(['\'', '"', '`', '.']))
}

/// `'reasoning_effort' does not support 'minimal' with this model`.
fn refused_effort(text: &str) -> Option<Effort> {
    let (_, rest) = text.split_once("does not support '")?;
    let (word, _) = rest.split_once('\'')?;
    Effort::ALL.into_iter().find(|effort| effort.as_str() == word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::body::said;

    fn check(body: &str, expect: Option<Remedy>) {
        assert_eq!(find(&said(None, body.as_bytes())), expect, "{body}");
    }

    fn words(message: &str, expect: Option<Field>) {
        let body = serde_json::to_string(&serde_json::Value::from(message)).unwrap();
        check(
            &format!("{{\"error\":{{\"message\":{body}}}}}"),
            expect.map(Remedy::Without),
        );
    }

    #[test]
    fn p16_p39_p40_refused_fields_of_many_servers() {
        check(
            r#"{"error":{"message":"Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.","type":"invalid_request_error","param":"max_tokens","code":"unsupported_parameter"}}"#,
            Some(Remedy::Without(Field::MaxTokens)),
        );
        check(
            r#"{"error":{"message":"Unknown parameter: 'messages[1].content[0].cache_control'.","param":"messages[1].content[0].cache_control","code":"unknown_parameter"}}"#,
            Some(Remedy::Without(Field::CacheControl)),
        );
        check(
            r#"{"detail":[{"type":"extra_forbidden","loc":["body","stream_options"],"msg":"Extra inputs are not permitted","input":{}}]}"#,
            Some(Remedy::Without(Field::StreamOptions)),
        );
        check(
            r#"{"error":{"message":"1 validation error for ChatCompletionRequest\ntools.0.function.strict\n  Extra inputs are not permitted","code":400}}"#,
            Some(Remedy::Without(Field::Strict)),
        );
        words("property 'strict' is unsupported", Some(Field::Strict));
        words(
            "Unrecognized request argument supplied: parallel_tool_calls",
            Some(Field::ParallelToolCalls),
        );
        words(
            "json: unknown field \"stream_options\"",
            Some(Field::StreamOptions),
        );
        words(
            "Unknown field `max_completion_tokens`, did you mean `max_tokens`?",
            Some(Field::MaxCompletionTokens),
        );
        words("Argument not supported on this model: stop", Some(Field::Stop));
        words(
            "`temperature` and `top_p` cannot both be specified for this model.",
            Some(Field::TopP),
        );
        words(
            "Unsupported value: 'temperature' does not support 0.2 with this model. Only the default (1) value is supported.",
            Some(Field::Temperature),
        );
        words(
            "invalid temperature: only 1 is allowed for this model",
            Some(Field::Temperature),
        );
        words(
            "deepseek-reasoner does not support this tool_choice",
            Some(Field::ToolChoice),
        );
        words(
            "This response_format type is unavailable now",
            Some(Field::ResponseFormat),
        );
        words(
            "Unsupported value: 'reasoning_effort' does not support 'minimal' with this model. Supported values are: 'low', 'medium', and 'high'.",
            Some(Field::Effort(Effort::Minimal)),
        );
        words(
            "Function tools with reasoning_effort are not supported for this model. Set reasoning_effort to 'none'.",
            Some(Field::EffortWithTools),
        );
        words("System message must be at the beginning.", Some(Field::MidSystem));
        words(
            "'developer' is not one of ['system', 'user', 'assistant', 'tool'] - 'messages.0.role'",
            Some(Field::DeveloperRole),
        );
    }

    #[test]
    fn what_one_client_got_wrong_is_no_refusal() {
        words("temperature is not allowed to be greater than 2", None);
        words(
            "Invalid value for 'top_p': expected a number between 0 and 1",
            None,
        );
        words("the model does not support images; stop sending them", None);
        words("Invalid schema for function 'stop': unsupported keyword", None);
        words("Field required: messages", None);
    }

    #[test]
    fn p38_the_largest_output_of_a_model() {
        let limit = |message: &str, most| {
            let body = serde_json::to_string(&serde_json::Value::from(message)).unwrap();
            check(
                &format!("{{\"message\":{body}}}"),
                Some(Remedy::OutputAtMost(most)),
            );
        };
        limit(
            "max_tokens is too large: 32000. This model supports at most 16384 completion tokens, whereas you provided 32000.",
            16_384,
        );
        limit(
            "Invalid max_tokens value, the valid range of max_tokens is [1, 8192]",
            8192,
        );
        limit(
            "<400> InternalError.Algo.InvalidParameter: Range of max_tokens should be [1, 8192]",
            8192,
        );
        limit(
            "`max_completion_tokens` must be less than or equal to `32768`, the maximum value for this model",
            32_768,
        );
        limit(
            "max_tokens: 64000 > 8192, which is the maximum allowed number of output tokens for this model",
            8192,
        );
    }
}
