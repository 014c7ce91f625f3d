//! Models with a context window, and how servers refuse what does not fit in it.
//!
//! The wordings differ, and so do the figures in them: clients of a bridge can recover from a
//! refusal only if it is understood. A prompt has one token for every `BYTES_PER_TOKEN` bytes.

use super::Recorded;
use super::script::Script;

const BYTES_PER_TOKEN: usize = 4;

/// Tokens of a request that does not fit.
struct Overflow {
    prompt: usize,
    wanted: usize,
    window: usize,
}

/// The refusal in the words of one server.
type Words = fn(&Overflow) -> String;

/// `None`: no server of this name is known. `wanted` output that the prompt leaves room for is granted.
pub(super) fn script(server: &str, window: usize, request: &Recorded, granted: Script) -> Option<Script> {
    let words: Words = match server {
        "openai" => openai,
        "openrouter" => openrouter,
        "vllm" => vllm,
        "vllm-0.10" => vllm_0_10,
        _ => return None,
    };
    let overflow = Overflow::of(request, window);
    Some(match overflow.prompt.saturating_add(overflow.wanted) <= window {
        true => granted,
        false => Script::error(400, "invalid_request_error", &words(&overflow)),
    })
}

fn openai(overflow: &Overflow) -> String {
    let Overflow {
        prompt,
        wanted,
        window,
    } = overflow;
    if prompt > window {
        return format!(
            "This model's maximum context length is {window} tokens. However, your messages resulted in \
             {prompt} tokens. Please reduce the length of the messages."
        );
    }
    let total = prompt + wanted;
    format!(
        "This model's maximum context length is {window} tokens. However, you requested {total} tokens \
         ({prompt} in the messages, {wanted} in the completion). Please reduce the length of the messages \
         or completion."
    )
}

fn openrouter(overflow: &Overflow) -> String {
    let Overflow {
        prompt,
        wanted,
        window,
    } = overflow;
    let total = prompt + wanted;
    format!(
        "This endpoint's maximum context length is {window} tokens. However, you requested about {total} \
         tokens ({prompt} of text input, {wanted} in the output). Please reduce the length of either one."
    )
}

/// It stops counting a prompt as soon as it cannot fit, so its figure is only a lower bound.
fn vllm(overflow: &Overflow) -> String {
    let Overflow { wanted, window, .. } = overflow;
    let counted = (window + 1).saturating_sub(*wanted);
    let total = counted + wanted;
    format!(
        "This model's maximum context length is {window} tokens. However, you requested {wanted} output \
         tokens and your prompt contains at least {counted} input tokens, for a total of at least {total} \
         tokens. Please reduce the length of the input prompt or the number of requested output tokens."
    )
}

fn vllm_0_10(overflow: &Overflow) -> String {
    let Overflow {
        prompt,
        wanted,
        window,
    } = overflow;
    if prompt > window {
        return format!(
            "This model's maximum context length is {window} tokens. However, your request has {prompt} \
             input tokens. Please reduce the length of the input messages."
        );
    }
    format!(
        "'max_tokens' or 'max_completion_tokens' is too large: {wanted}. This model's maximum context \
         length is {window} tokens and your request has {prompt} input tokens ({wanted} > {window} - {prompt})."
    )
}

// === impl Overflow ===

impl Overflow {
    fn of(request: &Recorded, window: usize) -> Self {
        let asked = request.json().unwrap_or_default();
        let wanted = ["max_tokens", "max_completion_tokens"].map(|name| asked[name].as_u64());
        let wanted = wanted.into_iter().flatten().max().unwrap_or_default();
        Self {
            prompt: request.body.len() / BYTES_PER_TOKEN,
            wanted: usize::try_from(wanted).unwrap_or(usize::MAX),
            window,
        }
    }
}
