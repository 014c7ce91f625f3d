//! The body of a request, parsed once and validated.
//!
//! Refuses what would be misunderstood, in the real API's words; what is merely unknown
//! is kept for the list of losses.

use super::block::Content;
use super::body::{WireBody, WireMessage, WireThinking};
use super::request::{Message, Options, Request, Role, Sampling, Thinking};
use super::tool::Tools;
use super::wire::WireContent;
use crate::dialect::Effort;
use crate::error::{BadRequest, Path};
use crate::json::escaped::{Escaped, Raw};

/// Names of models get into logs and tables, so there is an end to them.
const MODEL_BYTES_MAX: usize = 256;

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
        WireBody::read(body)
            .map_err(|fault| BadRequest::new(fault.describe(body)))?
            .validate()
    }
}

impl<'a> WireBody<'a> {
    fn validate(self) -> Result<Request<'a>, BadRequest> {
        let model = self
            .model
            .map(Escaped::decoded)
            .ok_or_else(|| BadRequest::at("model", "Field required"))?;
        if model.len() > MODEL_BYTES_MAX {
            let text = format!("String should have at most {MODEL_BYTES_MAX} bytes");
            return Err(BadRequest::at("model", &text));
        }
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
        let output = self.output_config;
        Ok(Request {
            model,
            stream: flag(self.stream, "stream")?,
            system,
            messages,
            tools: Tools::read(self.tools, self.tool_choice)?,
            sampling: Sampling {
                max_tokens: whole_number(self.max_tokens, "max_tokens")?,
                stop_sequences: self.stop_sequences.into_iter().map(Escaped::decoded).collect(),
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
                effort: output.effort.and_then(effort),
                answer_schema: output.format.schema.or(self.output_format.schema),
                user_id: self.metadata.user_id.map(Escaped::decoded),
                service_tier: self.service_tier.map(Escaped::decoded),
                other: self.other,
            },
        })
    }
}

impl<'a> WireMessage<'a> {
    fn validate(self, n: usize) -> Result<Message<'a>, BadRequest> {
        let root = Path::Root("messages");
        let path = Path::Index(&root, n);
        let role = match self.role.map(Escaped::decoded).as_deref() {
            Some("user") => Role::User,
            Some("assistant") => Role::Assistant,
            Some("system") => Role::System,
            Some(_) | None => {
                let text = "Input should be 'user', 'assistant' or 'system'";
                return Err(BadRequest::at(Path::Field(&path, "role"), text));
            }
        };
        let effort = self.output_config.effort.and_then(effort);
        // A system message may be there for its effort alone.
        let may_be_empty = role == Role::System && effort.is_some();
        if matches!(self.content, WireContent::Absent) && !may_be_empty {
            return Err(BadRequest::at(Path::Field(&path, "content"), "Field required"));
        }
        Ok(Message {
            role,
            content: Content::read(self.content, &Path::Field(&path, "content"))?,
            clear_at_next_user: self
                .clear_at
                .is_some_and(|when| when.decoded() == "next_user_message"),
            effort,
        })
    }
}

impl WireThinking<'_> {
    fn validate(self) -> Result<Thinking, BadRequest> {
        let is_omitted = self.display.is_some_and(|display| display.decoded() == "omitted");
        let budget_tokens = Some(self.budget_tokens).filter(|budget| *budget > 0);
        match self.kind.map(Escaped::decoded).as_deref() {
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

fn effort(word: Escaped<'_>) -> Option<Effort> {
    match &*word.decoded() {
        "low" => Some(Effort::Low),
        "medium" => Some(Effort::Medium),
        "high" => Some(Effort::High),
        "xhigh" => Some(Effort::Xhigh),
        "max" => Some(Effort::Max),
        _ => None,
    }
}

fn flag(raw: Option<Raw<'_>>, name: &str) -> Result<bool, BadRequest> {
    match raw.map(Raw::get) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(BadRequest::at(name, "Input should be a valid boolean")),
    }
}

fn whole_number(raw: Option<Raw<'_>>, name: &str) -> Result<Option<u64>, BadRequest> {
    raw.map(|raw| {
        raw.get()
            .parse()
            .map_err(|_| BadRequest::at(name, "Input should be a valid integer \u{2265} 0"))
    })
    .transpose()
}

fn number<'a>(raw: Option<Raw<'a>>, name: &str) -> Result<Option<Raw<'a>>, BadRequest> {
    match raw {
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
    fn the_name_of_a_model_is_no_novel() {
        let body = |bytes| {
            let model = "m".repeat(bytes);
            format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"x"}}],"max_tokens":1}}"#)
        };
        assert!(Request::parse(body(MODEL_BYTES_MAX).as_bytes()).is_ok());
        let refusal = refused(&body(MODEL_BYTES_MAX + 1));
        assert_eq!(refusal, "model: String should have at most 256 bytes");
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
        assert_eq!(refused("[]"), "Input should be an object");
    }

    #[test]
    fn r32_json_that_readers_take_differently_is_refused_with_its_place() {
        let rows = [
            ("{\n \"model\":", "it ends too early at line 2 column 10"),
            ("\u{feff}{}", "expected a value at line 1 column 1"),
            ("{\"max_tokens\":NaN}", "expected a value at line 1 column 15"),
            ("{\"top_p\":1e999}", "a number out of range at line 1 column 10"),
            (
                "{\"model\":\"m\",\"model\":\"n\"}",
                "duplicate field `model` at line 1 column 14",
            ),
            (
                "{\"messages\":[],\n\"messages\":[]}",
                "duplicate field `messages` at line 2 column 1",
            ),
            (
                "{\"stream\":false,\"str\\u0065am\":true}",
                "duplicate field `str\\u0065am` at line 1 column 17",
            ),
            (
                "{\"messages\":[{\"content\":\"a\",\"content\":\"b\"}]}",
                "duplicate field `content` at line 1 column 29",
            ),
        ];
        for (body, why) in rows {
            assert_eq!(
                refused(body),
                format!("The request body is not valid JSON: {why}")
            );
        }
        let refused = Request::parse(b"{\"model\":\"\xff\"}").unwrap_err().message;
        assert!(
            refused.ends_with("bytes that are not UTF-8 at line 1 column 11"),
            "{refused}"
        );
    }

    #[test]
    fn r32_half_characters_and_bottomless_values_are_refused_with_their_path() {
        let half = "half of a surrogate pair is no character";
        let deep = "nested deeper than 128 levels";
        let nested = format!("{}{}", "[".repeat(126), "]".repeat(126));
        let rows = [
            (r#"{"model":"\ud83e"}"#.to_owned(), format!("model: {half}")),
            (
                r#"{"messages":[{"role":"user","content":"a \ud83e b"}]}"#.to_owned(),
                format!("messages.0.content: {half}"),
            ),
            (
                r#"{"messages":[{},{"content":[{"type":"text","text":"\udd80"}]}]}"#.to_owned(),
                format!("messages.1.content.0.text: {half}"),
            ),
            (
                r#"{"messages":[{"content":[{"type":"tool_use","input":{"a":["\ud83e\ud83e"]}}]}]}"#
                    .to_owned(),
                format!("messages.0.content.0.input.a.0: {half}"),
            ),
            (
                r#"{"tools":[{"name":"f","input_schema":{"properties":{"\ud83e":{}}}}]}"#.to_owned(),
                format!("tools.0.input_schema.properties: {half}"),
            ),
            (
                format!(r#"{{"tools":[{{"input_schema":{nested}}}]}}"#),
                format!("tools.0.input_schema.0.0.0.0.0: {deep}"),
            ),
            (
                format!(r#"{{"messages":[{{"content":[{{"input":{{"a":{nested}}}}}]}}]}}"#),
                format!("messages.0.content.0.input.a.0.0: {deep}"),
            ),
        ];
        for (body, message) in rows {
            assert_eq!(refused(&body), message);
        }
    }

    #[test]
    fn texts_are_borrowed_from_the_body() {
        let body = br#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"text","text":"abc"}]}]}"#;
        let request = Request::parse(body).unwrap();
        assert!(matches!(request.model, Cow::Borrowed(_)));
        let Block::Text { text, .. } = &request.messages[0].content.blocks()[0] else {
            panic!("no text")
        };
        assert_eq!(text.as_written(), "abc");
    }

    #[test]
    fn unknown_fields_and_blocks_are_kept_for_the_loss_list() {
        let body = br#"{"model":"m","max_tokens":1,"zeta":{"a":1},"messages":[{"role":"user","content":[{"type":"hologram","text":7,"source":5}]}]}"#;
        let request = Request::parse(body).unwrap();
        assert_eq!(request.options.other[0].0, "zeta");
        assert_eq!(request.messages[0].content.blocks()[0].kind(), "hologram");
    }
}
