//! Recognises that a prompt did not fit, and finds the figures in the refusal.

use serde_json::Value;

use super::fault::Overflow;

const CODES: &[&str] = &[
    "context_length_exceeded",
    "exceed_context_size_error",
    "string_above_max_length",
    "model_max_prompt_tokens_exceeded",
];
const PHRASES: &[&str] = &[
    "maximum context length",
    "context length",
    "context window",
    "available context size",
    "input token count",
    "too large for model with",
    "range of input length",
    "input is too long",
    "prompt is too long",
    "reduce the length",
    "`max_new_tokens` must be <=",
    "`inputs` must have less than",
    "maximum prompt length",
    "model token limit",
    "prompt token count of",
    "prompt exceeds max length",
];

/// The overflow that an error body speaks of, if it does. `code` is its code or type.
pub(super) fn detect(code: &str, message: &str, error: Option<&Value>, estimate: u64) -> Option<Overflow> {
    let text = message.to_ascii_lowercase();
    if !CODES.iter().any(|known| code.contains(known)) && !PHRASES.iter().any(|phrase| text.contains(phrase))
    {
        return None;
    }
    let field = |name: &str| error.and_then(|error| error.get(name)).and_then(Value::as_u64);
    let limit = field("n_ctx").or_else(|| limit_in(&text));
    let completion_tokens = completion_in(&text);
    let prompt = field("n_prompt_tokens").or_else(|| prompt_in(&text, limit, completion_tokens));
    let prompt_tokens = match prompt {
        None => estimate,
        Some(at_least) if text.contains("contains at least ") => at_least.max(with_margin(estimate)),
        Some(exact) => exact,
    };
    Some(Overflow {
        prompt_tokens,
        limit,
        completion_tokens,
    })
}

/// vLLM stops counting where the prompt stops to fit, so that its figure is the window less
/// the wanted output. A client that shrinks by it would be refused again; one that shrinks a
/// little too much loses nothing.
fn with_margin(estimate: u64) -> u64 {
    estimate.saturating_add(estimate / 8)
}

fn completion_in(text: &str) -> Option<u64> {
    [
        " in the completion",
        " for the completion",
        " in the output",
        " output tokens",
        " `max_new_tokens`",
    ]
    .iter()
    .find_map(|phrase| number_before(text, phrase))
    .or_else(|| number_after(text, "is too large: "))
}

fn limit_in(text: &str) -> Option<u64> {
    const BEFORE: &[&str] = &[
        "context length is ",
        "context length of ",
        "context length of only ",
        "context window of ",
        "context size (",
        "context size is ",
        "tokens allowed (",
        "too large for model with ",
        "context length (",
        "context length: ",
        "must be <= ",
        "must have less than ",
        "maximum prompt length is ",
        "model token limit: ",
        "exceeds the limit of ",
        "while limit is ",
        "> ",
    ];
    BEFORE
        .iter()
        .find_map(|phrase| number_after(text, phrase))
        // Qwen: "Range of input length should be [1, 30720]".
        .or_else(|| number_after(text, "range of input length should be [1, "))
        .or_else(|| number_before(text, " maximum context length"))
}

fn prompt_in(text: &str, limit: Option<u64>, completion: Option<u64>) -> Option<u64> {
    const BEFORE: &[&str] = &[
        "resulted in ",
        "the input (",
        "input token count (",
        "input token count is ",
        "prompt contains at least ",
        "prompt contains ",
        "request has ",
        "request contains ",
        "current length is ",
        "prompt token count of ",
        "keep the first ",
        "given: ",
        "prompt is too long: ",
    ];
    if let Some(found) =
        number_before(text, " in the messages").or_else(|| number_before(text, " of text input"))
    {
        return Some(found);
    }
    if let Some(found) =
        number_before(text, " input tokens").or_else(|| number_before(text, " from the input messages"))
    {
        return Some(found);
    }
    if let Some(found) = BEFORE.iter().find_map(|phrase| number_after(text, phrase)) {
        return Some(found);
    }
    let requested = number_after(text, "requested about ")
        .or_else(|| number_after(text, "requested tokens ("))
        .or_else(|| number_after(text, "requested "))
        .or_else(|| number_after(text, "request ("))?;
    Some(requested.saturating_sub(completion.unwrap_or(0))).filter(|prompt| Some(*prompt) != limit)
}

pub(super) fn number_after(text: &str, phrase: &str) -> Option<u64> {
    text.match_indices(phrase).find_map(|(at, _)| {
        let rest = text.get(at + phrase.len()..)?;
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != ',')
            .unwrap_or(rest.len());
        digits(rest.get(..end)?)
    })
}

fn number_before(text: &str, phrase: &str) -> Option<u64> {
    text.match_indices(phrase).find_map(|(at, _)| {
        let head = text.get(..at)?.trim_end_matches(" tokens");
        let start = head
            .rfind(|c: char| !c.is_ascii_digit() && c != ',')
            .map_or(0, |at| at + 1);
        digits(head.get(start..)?)
    })
}

fn digits(text: &str) -> Option<u64> {
    let plain: String = text.chars().filter(char::is_ascii_digit).collect();
    plain.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(message: &str, prompt: u64, limit: Option<u64>, completion: Option<u64>) {
        let overflow = detect("", message, None, 999).unwrap_or_else(|| panic!("not detected: {message}"));
        let got = (overflow.prompt_tokens, overflow.limit, overflow.completion_tokens);
        assert_eq!(got, (prompt, limit, completion), "{message}");
    }

    #[test]
    fn h05_texts_of_many_servers() {
        check(
            "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens. Please reduce the length of the messages.",
            9001,
            Some(8192),
            None,
        );
        check(
            "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens (7000 in the messages, 2000 in the completion).",
            7000,
            Some(8192),
            Some(2000),
        );
        check(
            "This model's maximum context length is 8192 tokens. However, your request has 9100 input tokens.",
            9100,
            Some(8192),
            None,
        );
        check(
            "'max_tokens' or 'max_completion_tokens' is too large: 32000. This model's maximum context length is 40000 tokens and your request has 12526 input tokens (32000 > 40000 - 12526).",
            12_526,
            Some(40_000),
            Some(32_000),
        );
        check(
            "This endpoint's maximum context length is 40000 tokens. However, you requested about 44526 tokens (12526 of text input, 32000 in the output). Please reduce the length of either one.",
            12_526,
            Some(40_000),
            Some(32_000),
        );
        check(
            "the request exceeds the available context size (4096 tokens), try increasing it",
            999,
            Some(4096),
            None,
        );
        check(
            "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
            1_200_000,
            Some(1_048_576),
            None,
        );
        check(
            "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 30720]",
            999,
            Some(30_720),
            None,
        );
        check(
            "prompt is too long: 205000 tokens > 200000 maximum",
            205_000,
            Some(200_000),
            None,
        );
        assert!(detect("", "Invalid parameter: temperature", None, 1).is_none());
    }

    #[test]
    fn h05_texts_of_more_servers() {
        check(
            "Requested token count exceeds the model's maximum context length of 8192 tokens. You requested a total of 9000 tokens: 7000 tokens from the input messages and 2000 tokens for the completion.",
            7000,
            Some(8192),
            Some(2000),
        );
        check(
            "The input (9000 tokens) is longer than the model's context length (8192 tokens).",
            9000,
            Some(8192),
            None,
        );
        check(
            "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 3000 `inputs` tokens and 2000 `max_new_tokens`",
            3000,
            Some(4096),
            Some(2000),
        );
        check(
            "Input validation error: `inputs` must have less than 4095 tokens. Given: 5000",
            5000,
            Some(4095),
            None,
        );
        check(
            "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
            537_812,
            Some(131_072),
            None,
        );
        check(
            "Invalid request: Your request exceeded model token limit: 131072",
            999,
            Some(131_072),
            None,
        );
        check(
            "Please reduce the length of the messages or completion. Current length is 9000 while limit is 8192",
            9000,
            Some(8192),
            None,
        );
        check(
            "The prompt is too long: 140000, model maximum context length: 131071",
            140_000,
            Some(131_071),
            None,
        );
        check(
            "prompt token count of 70000 exceeds the limit of 64000",
            70_000,
            Some(64_000),
            None,
        );
        check(
            "Trying to keep the first 5000 tokens when context the overflows. However, the model is loaded with context length of only 4096 tokens",
            5000,
            Some(4096),
            None,
        );
        check(
            "Prompt contains 33000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
            33_000,
            Some(32_768),
            None,
        );
        check("Input is too long for requested model.", 999, None, None);
        check("invalid params, context window exceeds limit", 999, None, None);
        check("Prompt exceeds max length", 999, None, None);
    }

    #[test]
    fn a_limit_of_something_else_is_no_overflow() {
        for message in [
            "Rate limit reached on tokens per min. Limit: 30000, Used: 29000, Requested: 2500.",
            "The tool name is too long",
            "max_tokens is too large: 32000. This model supports at most 16384 completion tokens",
        ] {
            assert!(detect("", message, None, 1).is_none(), "{message}");
        }
    }

    #[test]
    fn a_lower_bound_gives_way_to_our_estimate() {
        let message = "This model's maximum context length is 40000 tokens. However, you requested 32000 output tokens and your prompt contains at least 8001 input tokens, for a total of at least 40001 tokens.";
        let prompt = |estimate| detect("", message, None, estimate).unwrap().prompt_tokens;
        assert_eq!(prompt(12_000), 13_500);
        assert_eq!(prompt(100), 8001);
    }

    #[test]
    fn llama_cpp_gives_figures_as_fields() {
        let error = serde_json::from_str(r#"{"n_prompt_tokens": 5000, "n_ctx": 4096}"#).unwrap();
        let overflow = detect("exceed_context_size_error", "too big", Some(&error), 1).unwrap();
        assert_eq!(
            overflow.anthropic_message(None),
            "prompt is too long: 5000 tokens > 4096 maximum"
        );
    }

    #[test]
    fn prompt_that_fits_without_the_output_is_told_so() {
        let overflow = Overflow {
            prompt_tokens: 7000,
            limit: Some(8192),
            completion_tokens: Some(2000),
        };
        assert_eq!(
            overflow.anthropic_message(None),
            "input length and `max_tokens` exceed context limit: 7000 + 2000 > 8192, decrease input length or `max_tokens` and try again"
        );
        let unknown = Overflow {
            prompt_tokens: 50,
            limit: None,
            completion_tokens: None,
        };
        assert_eq!(
            unknown.anthropic_message(None),
            "prompt is too long: 50 tokens > 49 maximum"
        );
        let absurd = Overflow {
            limit: Some(u64::MAX),
            ..unknown
        };
        assert!(absurd.anthropic_message(None).starts_with("prompt is too long: "));
        assert_eq!(
            unknown.anthropic_message(Some(4096)),
            "prompt is too long: 4097 tokens > 4096 maximum"
        );
    }
}
