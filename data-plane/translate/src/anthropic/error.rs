//! The error body, as a whole answer and as the last event of a stream.

use crate::json;

/// Anthropic's error types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorType {
    InvalidRequest,
    Authentication,
    Billing,
    Permission,
    NotFound,
    RequestTooLarge,
    Conflict,
    RateLimit,
    Timeout,
    Api,
    Overloaded,
}

impl ErrorType {
    const ALL: [ErrorType; 11] = [
        ErrorType::InvalidRequest,
        ErrorType::Authentication,
        ErrorType::Billing,
        ErrorType::Permission,
        ErrorType::NotFound,
        ErrorType::RequestTooLarge,
        ErrorType::Conflict,
        ErrorType::RateLimit,
        ErrorType::Timeout,
        ErrorType::Api,
        ErrorType::Overloaded,
    ];

    /// The type of this word.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == word)
    }

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorType::InvalidRequest => "invalid_request_error",
            ErrorType::Authentication => "authentication_error",
            ErrorType::Billing => "billing_error",
            ErrorType::Permission => "permission_error",
            ErrorType::NotFound => "not_found_error",
            ErrorType::RequestTooLarge => "request_too_large",
            ErrorType::Conflict => "conflict_error",
            ErrorType::RateLimit => "rate_limit_error",
            ErrorType::Timeout => "timeout_error",
            ErrorType::Api => "api_error",
            ErrorType::Overloaded => "overloaded_error",
        }
    }
}

/// `{"type":"error","error":{"type","message"},"request_id"}`.
#[derive(Debug, Clone, Copy)]
pub struct ErrorBody<'a> {
    pub error_type: ErrorType,
    pub message: &'a str,
    pub request_id: &'a str,
    /// `error.details.error_code`, where the API has one.
    pub error_code: Option<&'a str>,
}

impl<'a> ErrorBody<'a> {
    /// An error without a code.
    pub fn new(error_type: ErrorType, message: &'a str, request_id: &'a str) -> Self {
        ErrorBody {
            error_type,
            message,
            request_id,
            error_code: None,
        }
    }

    /// The body of an HTTP answer.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128 + self.message.len());
        self.write(&mut out);
        out
    }

    /// The `error` event that ends a broken stream.
    pub fn to_event(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"event: error\ndata: ");
        self.write(out);
        out.extend_from_slice(b"\n\n");
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"type\":\"error\",\"error\":{\"type\":");
        json::push_str(out, self.error_type.as_str());
        out.extend_from_slice(b",\"message\":");
        json::push_str(out, self.message);
        if let Some(code) = self.error_code {
            out.extend_from_slice(b",\"details\":{\"error_code\":");
            json::push_str(out, code);
            out.push(b'}');
        }
        out.extend_from_slice(b"},\"request_id\":");
        json::push_str(out, self.request_id);
        out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn body_and_event_hold_the_same_json() {
        let mut error = ErrorBody::new(ErrorType::Overloaded, "say \"no\"\n", "req_1");
        error.error_code = Some("x");
        let json = String::from_utf8(error.to_json()).unwrap();
        assert_eq!(
            json,
            r#"{"type":"error","error":{"type":"overloaded_error","message":"say \"no\"\n","details":{"error_code":"x"}},"request_id":"req_1"}"#
        );
        let mut event = Vec::new();
        error.to_event(&mut event);
        assert_eq!(
            String::from_utf8(event).unwrap(),
            format!("event: error\ndata: {json}\n\n")
        );
    }
}
