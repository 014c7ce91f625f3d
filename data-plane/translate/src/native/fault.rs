//! A provider's refusal, in words that the client knows as well as we do.

use crate::anthropic::ErrorType;
use crate::error::{self, FaultKind, UpstreamFault};

use super::reply::Reply;

/// A refusal, and how far the client may see it as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub fault: UpstreamFault,
    /// `None` if it is not the client's affair, or not said in this API's words.
    pub verbatim: Option<Verbatim>,
}

/// The provider's own status and words for a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verbatim {
    pub status: u16,
    pub error_type: ErrorType,
    /// `error.details.error_code`.
    pub error_code: Option<String>,
}

/// Words in refusals of thinking that somebody else signed, or that is missing.
const THINKING_REFUSED: &[&str] = &["signature", "expected `thinking`", "cannot be modified"];
/// Longest error code that is passed on, in bytes.
const CODE_BYTES_MAX: usize = 64;

/// Only what the message does not say already.
#[derive(serde::Deserialize)]
struct Body<'b> {
    #[serde(borrow)]
    error: BodyError<'b>,
}

#[derive(serde::Deserialize)]
struct BodyError<'b> {
    #[serde(rename = "type")]
    kind: std::borrow::Cow<'b, str>,
    #[serde(borrow, default)]
    details: Option<Details<'b>>,
}

#[derive(serde::Deserialize)]
struct Details<'b> {
    #[serde(default)]
    error_code: Option<std::borrow::Cow<'b, str>>,
}

/// Reads an answer whose status is not 2xx, or a 2xx answer that is none.
pub fn refusal(status: u16, content_type: Option<&str>, body: &[u8], reply: &Reply) -> Refusal {
    let fault = error::read_estimated(status, content_type, body, reply.estimate());
    let verbatim = verbatim(status, &fault.kind, body);
    Refusal { fault, verbatim }
}

/// Whether the provider refuses the thinking in earlier turns; without it the same request may pass.
pub fn refuses_thinking(fault: &UpstreamFault) -> bool {
    let message = fault.message.to_ascii_lowercase();
    fault.kind == FaultKind::BadRequest
        && message.contains("thinking")
        && THINKING_REFUSED.iter().any(|words| message.contains(words))
}

fn verbatim(status: u16, kind: &FaultKind, body: &[u8]) -> Option<Verbatim> {
    match kind {
        // The provider's credentials, account and address are its admin's affair.
        FaultKind::Credentials
        | FaultKind::Forbidden
        | FaultKind::Quota
        | FaultKind::ModelNotFound
        | FaultKind::WrongAddress
        | FaultKind::Nonsense => return None,
        FaultKind::BadRequest
        | FaultKind::ContextOverflow(_)
        | FaultKind::TooLarge
        | FaultKind::RateLimited
        | FaultKind::Overloaded
        | FaultKind::Unavailable
        | FaultKind::Server
        | FaultKind::Timeout
        | FaultKind::Conflict
        | FaultKind::Cut => {}
    }
    let Body { error } = serde_json::from_slice(body).ok()?;
    let error_code = error.details.and_then(|details| details.error_code);
    Some(Verbatim {
        status: (400..600).contains(&status).then_some(status)?,
        error_type: ErrorType::parse(&error.kind)?,
        error_code: error_code
            .filter(|code| code.len() <= CODE_BYTES_MAX)
            .map(std::borrow::Cow::into_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, kind: &str, message: &str) -> Refusal {
        let body = format!(r#"{{"type":"error","error":{{"type":"{kind}","message":"{message}"}}}}"#);
        let reply = super::super::reply::tests::reply(None);
        refusal(status, Some("application/json"), body.as_bytes(), &reply)
    }

    #[test]
    fn the_clients_own_faults_and_passing_ones_keep_their_words() {
        let rows = [
            (400, "invalid_request_error", ErrorType::InvalidRequest),
            (413, "request_too_large", ErrorType::RequestTooLarge),
            (429, "rate_limit_error", ErrorType::RateLimit),
            (500, "api_error", ErrorType::Api),
            (529, "overloaded_error", ErrorType::Overloaded),
        ];
        for (status, kind, error_type) in rows {
            let verbatim = read(status, kind, "words").verbatim.unwrap();
            assert_eq!((verbatim.status, verbatim.error_type), (status, error_type));
        }
    }

    #[test]
    fn the_admins_affairs_do_not() {
        let rows = [
            (401, "authentication_error", FaultKind::Credentials),
            (402, "billing_error", FaultKind::Quota),
            (403, "permission_error", FaultKind::Forbidden),
            (404, "not_found_error", FaultKind::WrongAddress),
        ];
        for (status, kind, expected) in rows {
            let refusal = read(status, kind, "words");
            assert_eq!(
                (refusal.fault.kind, refusal.verbatim),
                (expected, None),
                "{status}"
            );
        }
        assert_eq!(
            read(404, "not_found_error", "model: x").fault.kind,
            FaultKind::ModelNotFound
        );
    }

    #[test]
    fn words_of_nobody_are_not_repeated() {
        let reply = super::super::reply::tests::reply(None);
        for body in [
            "",
            "<html>",
            r#"{"error":{"type":"weird","message":"m"}}"#,
            r#"{"error":"m"}"#,
        ] {
            assert_eq!(
                refusal(500, None, body.as_bytes(), &reply).verbatim,
                None,
                "{body}"
            );
        }
    }

    #[test]
    fn refused_thinking_is_seen() {
        let refused = [
            "messages.1.content.0: Invalid `signature` in `thinking` block",
            "messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found `tool_use`",
            "`thinking` or `redacted_thinking` blocks in the latest assistant message cannot be modified",
        ];
        for message in refused {
            assert!(
                refuses_thinking(&read(400, "invalid_request_error", message).fault),
                "{message}"
            );
        }
        let other = "thinking.budget_tokens: Input should be greater than 1024";
        assert!(!refuses_thinking(
            &read(400, "invalid_request_error", other).fault
        ));
    }
}
