//! Says what kind of fault an upstream's refusal is: by its status, its code, its words.

use super::body::{Said, clip, said};
use super::fault::{FaultKind, Overflow, UpstreamFault};
use super::{overflow, remedy};
use crate::reply::Reply;
use crate::stop_reason::Finish;

/// Longest finish reason that is quoted, in characters.
const REASON_CHARS_MAX: usize = 60;

const QUOTA_WORDS: &[&str] = &[
    "insufficient_quota",
    "insufficient quota",
    "arrearage",
    "insufficient balance",
    "account balance",
    "balance is",
    "balance not enough",
    "billing",
    "quota exceeded for quota metric",
    "quota for the day",
    "daily quota",
    "quota exceeded per day",
    "exceeded_current_quota",
    "exceeded today's quota",
    "free-models-per-day",
    "accountoverdue",
    "欠费",
    "余额不足",
];
/// Codes that say so under a 400, where words could as well be about a field of the request.
const QUOTA_CODES_OF_400: &[&str] = &[
    "arrearage",
    "insufficient_quota",
    "billing_hard_limit_reached",
    "accountoverdueerror",
];
const OVERLOAD_WORDS: &[&str] = &["overloaded", "at capacity", "insufficient_system_resource"];

/// Reads an answer whose status is not 2xx, or a 2xx answer that is an error in disguise.
pub fn read(status: u16, content_type: Option<&str>, body: &[u8], reply: &Reply) -> UpstreamFault {
    read_estimated(status, content_type, body, reply.estimate())
}

/// The same for who has only an estimate of the prompt's tokens.
pub(crate) fn read_estimated(
    status: u16,
    content_type: Option<&str>,
    body: &[u8],
    estimate: u64,
) -> UpstreamFault {
    let said = said(content_type, body);
    if (200..300).contains(&status) {
        return from_said(said, estimate);
    }
    let kind = kind_of(status, &said, estimate);
    fault(kind, said, || status_text(status))
}

/// Reads an error envelope inside a 200: its own code decides, then its words.
pub(crate) fn from_body(body: &[u8], reply: &Reply) -> UpstreamFault {
    from_body_estimated(body, reply.estimate())
}

/// The same for who has only an estimate of the prompt's tokens.
pub(crate) fn from_body_estimated(body: &[u8], estimate: u64) -> UpstreamFault {
    from_said(said(None, body), estimate)
}

/// A failure that the upstream expressed as a finish reason. None if it is a real end.
pub(crate) fn from_finish(reason: &str) -> Option<UpstreamFault> {
    let kind = match Finish::read(reason) {
        Finish::Failed => FaultKind::Server,
        Finish::Overloaded => FaultKind::Overloaded,
        Finish::ByContent | Finish::Stop(_) => return None,
    };
    Some(UpstreamFault {
        codes: clip(reason, REASON_CHARS_MAX),
        ..UpstreamFault::unsaid(
            kind,
            format!(
                "the answer ended with finish_reason {}",
                clip(reason, REASON_CHARS_MAX)
            ),
        )
    })
}

/// An answer that is none.
pub(crate) fn nonsense(message: &str) -> UpstreamFault {
    UpstreamFault::unsaid(FaultKind::Nonsense, message)
}

fn from_said(said: Said, estimate: u64) -> UpstreamFault {
    let status = said
        .status
        .filter(|status| (400..600).contains(status))
        .or_else(|| status_by_words(&said));
    let kind = match status {
        Some(status) => kind_of(status, &said, estimate),
        None => {
            // A server that words its failure has failed; one that does not has answered nonsense.
            let is_worded = said.detail.is_some() && !said.message.is_empty();
            let otherwise = if is_worded {
                FaultKind::Server
            } else {
                FaultKind::Nonsense
            };
            overflow_of(&said, estimate).map_or(otherwise, FaultKind::ContextOverflow)
        }
    };
    fault(kind, said, || "the answer is empty or has no content".to_owned())
}

fn fault(kind: FaultKind, said: Said, wordless: impl FnOnce() -> String) -> UpstreamFault {
    let remedy = match kind {
        FaultKind::BadRequest | FaultKind::Server => remedy::find(&said),
        FaultKind::ContextOverflow(_)
        | FaultKind::TooLarge
        | FaultKind::Credentials
        | FaultKind::Quota
        | FaultKind::Forbidden
        | FaultKind::ModelNotFound
        | FaultKind::WrongAddress
        | FaultKind::RateLimited
        | FaultKind::Overloaded
        | FaultKind::Unavailable
        | FaultKind::Timeout
        | FaultKind::Conflict
        | FaultKind::Cut
        | FaultKind::Nonsense => None,
    };
    UpstreamFault {
        kind,
        message: if said.message.is_empty() {
            wordless()
        } else {
            said.message
        },
        codes: said.code,
        retry_after: said.retry_after,
        remedy,
    }
}

/// One row per status of the error table.
fn kind_of(status: u16, said: &Said, estimate: u64) -> FaultKind {
    if matches!(status, 400 | 413 | 422 | 500)
        && let Some(overflow) = overflow_of(said, estimate)
    {
        return FaultKind::ContextOverflow(overflow);
    }
    let is_quota = match status {
        402 => true,
        403 | 429 => mentions(said, QUOTA_WORDS),
        400 => is_code(said, QUOTA_CODES_OF_400),
        _ => false,
    };
    if is_quota {
        return FaultKind::Quota;
    }
    let is_wordless = said.is_html || said.message.is_empty();
    match status {
        401 => FaultKind::Credentials,
        403 => FaultKind::Forbidden,
        404 if said.code.contains("model") || said.message.to_ascii_lowercase().contains("model") => {
            FaultKind::ModelNotFound
        }
        404 => FaultKind::WrongAddress,
        408 | 504 => FaultKind::Timeout,
        409 | 425 => FaultKind::Conflict,
        413 => FaultKind::TooLarge,
        429 => FaultKind::RateLimited,
        300..400 => FaultKind::WrongAddress,
        400..500 if is_wordless => FaultKind::WrongAddress,
        400..500 => FaultKind::BadRequest,
        529 => FaultKind::Overloaded,
        503 if mentions(said, OVERLOAD_WORDS) => FaultKind::Overloaded,
        503 => FaultKind::Unavailable,
        _ => FaultKind::Server,
    }
}

/// An error without a numeric code: its type words stand for a status.
fn status_by_words(said: &Said) -> Option<u16> {
    const WORDS: &[(&str, u16)] = &[
        ("rate_limit", 429),
        ("ratelimit", 429),
        ("throttling", 429),
        ("insufficient_quota", 429),
        ("arrearage", 402),
        ("billing", 402),
        ("authentication", 401),
        ("invalid_api_key", 401),
        ("permission", 403),
        ("model_not_found", 404),
        ("overloaded", 529),
        ("too_large", 413),
        ("timeout", 504),
        ("unavailable", 503),
        ("invalid_request", 400),
        ("invalidparameter", 400),
        ("badrequest", 400),
        ("server_error", 500),
        ("internal", 500),
    ];
    /// For servers that give a number of their own as the code.
    const MESSAGE_WORDS: &[(&str, u16)] = &[
        ("rate limit", 429),
        ("too many requests", 429),
        ("insufficient balance", 402),
        ("overloaded", 529),
    ];
    let find = |words: &[(&str, u16)], text: &str| {
        let text = text.to_ascii_lowercase();
        let known = words.iter().find(|(word, _)| text.contains(word))?;
        Some(known.1)
    };
    find(WORDS, &said.code).or_else(|| find(MESSAGE_WORDS, &said.message))
}

fn overflow_of(said: &Said, estimate: u64) -> Option<Overflow> {
    overflow::detect(&said.code, &said.message, said.detail.as_ref(), estimate)
}

fn mentions(said: &Said, words: &[&str]) -> bool {
    let text = format!("{} {}", said.code, said.message).to_ascii_lowercase();
    words.iter().any(|word| text.contains(word))
}

fn is_code(said: &Said, codes: &[&str]) -> bool {
    let mut given = said.code.split_whitespace();
    given.any(|code| codes.iter().any(|known| code.eq_ignore_ascii_case(known)))
}

fn status_text(status: u16) -> String {
    let words = match status {
        300..400 => "redirect",
        400 => "bad request",
        401 => "unauthorized",
        402 => "payment required",
        403 => "forbidden",
        404 => "not found",
        408 => "request timeout",
        413 => "content too large",
        429 => "too many requests",
        500 => "internal server error",
        502 => "bad gateway",
        503 => "service unavailable",
        504 => "gateway timeout",
        529 => "overloaded",
        _ => return format!("status {status}"),
    };
    words.to_owned()
}
