//! The body of a request, parsed once and validated.
//!
//! Refuses what would be misunderstood, in the real API's words; what is merely unknown
//! is kept for the list of losses.

use serde_json::value::RawValue;

use super::block::Content;
use super::body::{WireBody, WireFormat, WireMessage, WireThinking};
use super::request::{Message, Options, Request, Role, Sampling, Thinking};
use super::tool::Tools;
use super::wire::WireContent;
use crate::dialect::Effort;
use crate::error::{BadRequest, Path};
use crate::json::not_null;

impl<'a> Request<'a> {
    /// Parses the body of `/v1/messages`.
    pub fn parse(body: &'a [u8]) -> Result<Self, BadRequest> {
        let request = Self::parse_count_tokens(body)?;
        if request.sampling.max_tokens.is_none() {
            return Err(BadRequest::at("max_tokens", "Field required"));
        }
        Ok(request)
    }

    /// Parses the body of `/v1/messages/count_tokens`, where `max_tokens` is not required.
    pub fn parse_count_tokens(body: &'a [u8]) -> Result<Self, BadRequest> {
        let wire: WireBody<'a> = serde_json::from_slice(body)
            .map_err(|error| BadRequest::new(format!("The request body is not valid JSON: {error}")))?;
        wire.validate()
    }
}

impl<'a> WireBody<'a> {
    fn validate(self) -> Result<Request<'a>, BadRequest> {
        let model = self
            .model
            .ok_or_else(|| BadRequest::at("model", "Field required"))?;
        let messages = self
            .messages
            .ok_or_else(|| BadRequest::at("messages", "Field required"))?;
        if messages.is_empty() {
            return Err(BadRequest::at("messages", "at least one message is required"));
        }
        let messages = messages
            .into_iter()
            .enumerate()
            .map(|(n, message)| message.validate(n))
            .collect::<Result<_, _>>()?;
        let system = match self.system {
            WireContent::Absent => None,
            content @ (WireContent::Text(_)
            | WireContent::Blocks(_)
            | WireContent::One(_)
            | WireContent::Unusable) => Some(Content::read(content, &Path::Root("system"))?),
        };
        let output = self.output_config.unwrap_or_default();
        Ok(Request {
            model,
            stream: flag(self.stream, "stream")?,
            system,
            messages,
            tools: Tools::read(self.tools.unwrap_or_default(), self.tool_choice)?,
            sampling: Sampling {
                max_tokens: whole_number(self.max_tokens, "max_tokens")?,
                stop_sequences: self.stop_sequences.into_iter().flatten().flatten().collect(),
                temperature: number(self.temperature, "temperature")?,
                top_p: number(self.top_p, "top_p")?,
                top_k: number(self.top_k, "top_k")?,
            },
            options: Options {
                thinking: self
                    .thinking
                    .map(WireThinking::validate)
                    .transpose()?
                    .unwrap_or_default(),
                effort: output.effort.as_deref().and_then(effort),
                answer_schema: answer_schema(not_null(output.format).or(not_null(self.output_format)))?,
                user_id: self.metadata.and_then(|metadata| metadata.user_id),
                service_tier: self.service_tier,
                other: self.other,
            },
        })
    }
}

impl<'a> WireMessage<'a> {
    fn validate(self, n: usize) -> Result<Message<'a>, BadRequest> {
        let root = Path::Root("messages");
        let path = Path::Index(&root, n);
        let role = match self.role.as_deref() {
            Some("user") => Role::User,
            Some("assistant") => Role::Assistant,
            Some("system") => Role::System,
            Some(_) | None => {
                let text = "Input should be 'user', 'assistant' or 'system'";
                return Err(BadRequest::at(Path::Field(&path, "role"), text));
            }
        };
        if matches!(self.content, WireContent::Absent) {
            return Err(BadRequest::at(Path::Field(&path, "content"), "Field required"));
        }
        Ok(Message {
            role,
            content: Content::read(self.content, &Path::Field(&path, "content"))?,
            clear_at_next_user: self.clear_at.as_deref() == Some("next_user_message"),
            effort: self
                .output_config
                .and_then(|config| config.effort.as_deref().and_then(effort)),
        })
    }
}

impl WireThinking<'_> {
    fn validate(self) -> Result<Thinking, BadRequest> {
        let is_omitted = self.display.as_deref() == Some("omitted");
        let budget_tokens = Some(self.budget_tokens).filter(|budget| *budget > 0);
        match self.kind.as_deref() {
            Some("disabled") => Ok(Thinking::Disabled),
            Some("enabled") => Ok(Thinking::Enabled {
                budget_tokens,
                is_omitted,
            }),
            Some(_) => Ok(Thinking::Adaptive { is_omitted }),
            None => Err(BadRequest::at("thinking.type", "Field required")),
        }
    }
}

fn effort(word: &str) -> Option<Effort> {
    match word {
        "low" => Some(Effort::Low),
        "medium" => Some(Effort::Medium),
        "high" => Some(Effort::High),
        "xhigh" => Some(Effort::Xhigh),
        "max" => Some(Effort::Max),
        _ => None,
    }
}

fn answer_schema<'a>(format: Option<&'a RawValue>) -> Result<Option<&'a RawValue>, BadRequest> {
    let Some(format) = format else { return Ok(None) };
    let format: WireFormat<'a> = serde_json::from_str(format.get())
        .map_err(|_| BadRequest::at("output_config.format", "Input should be an object"))?;
    Ok(not_null(format.schema))
}

fn flag(raw: Option<&RawValue>, name: &str) -> Result<bool, BadRequest> {
    match raw.map(RawValue::get) {
        None | Some("null" | "false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(BadRequest::at(name, "Input should be a valid boolean")),
    }
}

fn whole_number(raw: Option<&RawValue>, name: &str) -> Result<Option<u64>, BadRequest> {
    not_null(raw)
        .map(|raw| {
            raw.get()
                .parse()
                .map_err(|_| BadRequest::at(name, "Input should be a valid integer \u{2265} 0"))
        })
        .transpose()
}

fn number<'a>(raw: Option<&'a RawValue>, name: &str) -> Result<Option<&'a RawValue>, BadRequest> {
    match not_null(raw) {
        Some(raw) if raw.get().parse::<f64>().is_err() => {
            Err(BadRequest::at(name, "Input should be a valid number"))
        }
        found => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::anthropic::Block;

    fn refused(body: &str) -> String {
        Request::parse(body.as_bytes()).unwrap_err().message
    }

    #[test]
    fn r05_errors_name_the_field() {
        let rows = [
            (
                r#"{"messages":[{"role":"user","content":"x"}],"max_tokens":1}"#,
                "model: Field required",
            ),
            (
                r#"{"model":7,"messages":[{"role":"user","content":"x"}],"max_tokens":1}"#,
                "model: Field required",
            ),
            (r#"{"model":"m","max_tokens":1}"#, "messages: Field required"),
            (
                r#"{"model":"m","max_tokens":1,"messages":[]}"#,
                "messages: at least one message is required",
            ),
            (
                r#"{"model":"m","messages":[{"role":"user","content":"x"}]}"#,
                "max_tokens: Field required",
            ),
            (
                r#"{"model":"m","max_tokens":-1,"messages":[{"role":"user","content":"x"}]}"#,
                "max_tokens: Input should be a valid integer \u{2265} 0",
            ),
            (
                r#"{"model":"m","max_tokens":1,"messages":[{"role":"robot","content":"x"}]}"#,
                "messages.0.role: Input should be 'user', 'assistant' or 'system'",
            ),
            (
                r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"text":"x"}]}]}"#,
                "messages.0.content.0.type: Field required",
            ),
            (
                r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"tool_result"}]}]}"#,
                "messages.0.content.0.tool_result.tool_use_id: Field required",
            ),
            (
                r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"x"}],"tools":[{"input_schema":{}}]}"#,
                "tools.0.name: Field required",
            ),
            (
                r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"x"}],"tools":[{"name":"a","input_schema":{}},{"name":"a","input_schema":{}}]}"#,
                "tools: Tool names must be unique.",
            ),
        ];
        for (body, message) in rows {
            assert_eq!(refused(body), message);
        }
        assert!(refused("[").starts_with("The request body is not valid JSON: "));
        assert!(refused(r#"{"model":"m","model":"n"}"#).contains("duplicate field `model`"));
    }

    #[test]
    fn texts_are_borrowed_from_the_body() {
        let body = br#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"text","text":"abc"}]}]}"#;
        let request = Request::parse(body).unwrap();
        assert!(matches!(request.model, Cow::Borrowed(_)));
        let Block::Text { text, .. } = &request.messages[0].content.blocks()[0] else {
            panic!("no text")
        };
        assert!(matches!(text, Cow::Borrowed("abc")));
    }

    #[test]
    fn unknown_fields_and_blocks_are_kept_for_the_loss_list() {
        let body = br#"{"model":"m","max_tokens":1,"zeta":{"a":1},"messages":[{"role":"user","content":[{"type":"hologram","text":7,"source":5}]}]}"#;
        let request = Request::parse(body).unwrap();
        assert_eq!(request.options.other[0].0, "zeta");
        assert_eq!(request.messages[0].content.blocks()[0].kind(), "hologram");
    }
}
