//! The request body: parsed once, borrowed, and validated as far as we need it.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::block::Content;
use super::tool::{Tools, WireTool, WireToolChoice};
use super::wire::WireContent;
use crate::dialect::Effort;
use crate::error::{BadRequest, Path};
use crate::json::{lenient, not_null};

/// Clients send about twenty fields; a list of thousands is an attack on whoever compares them.
const FIELDS_MAX: usize = 128;

/// A request to `/v1/messages` or `/v1/messages/count_tokens`.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    pub model: Cow<'a, str>,
    pub stream: bool,
    pub system: Option<Content<'a>>,
    pub messages: Vec<Message<'a>>,
    pub tools: Tools<'a>,
    pub sampling: Sampling<'a>,
    pub options: Options<'a>,
}

/// One message.
#[derive(Debug, Clone)]
pub struct Message<'a> {
    pub role: Role,
    pub content: Content<'a>,
    /// `clear_at: "next_user_message"` of a system message.
    pub clear_at_next_user: bool,
    /// `output_config.effort` of a system message.
    pub effort: Option<Effort>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    User,
    Assistant,
    System,
}

/// How the model is to choose its words. Numbers keep the client's spelling.
#[derive(Debug, Clone, Default)]
pub struct Sampling<'a> {
    /// Absent only on `count_tokens`.
    pub max_tokens: Option<u64>,
    pub stop_sequences: Vec<Cow<'a, str>>,
    pub temperature: Option<&'a RawValue>,
    pub top_p: Option<&'a RawValue>,
    pub top_k: Option<&'a RawValue>,
}

/// What is neither conversation nor sampling.
#[derive(Debug, Clone, Default)]
pub struct Options<'a> {
    pub thinking: Thinking,
    pub effort: Option<Effort>,
    /// The JSON schema of `output_config.format`.
    pub answer_schema: Option<&'a RawValue>,
    pub user_id: Option<Cow<'a, str>>,
    pub service_tier: Option<Cow<'a, str>>,
    /// Fields that are known and have no place in the types above.
    pub other: Vec<(Cow<'a, str>, &'a RawValue)>,
}

/// What the client wants of thinking.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Thinking {
    #[default]
    Absent,
    Disabled,
    /// `adaptive` or `between_tools`.
    Adaptive {
        is_omitted: bool,
    },
    Enabled {
        budget_tokens: Option<u64>,
        is_omitted: bool,
    },
}

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
        let wire: Wire<'a> = serde_json::from_slice(body)
            .map_err(|error| BadRequest::new(format!("The request body is not valid JSON: {error}")))?;
        wire.validate()
    }

    /// The model that the client asked for, verbatim.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Whether the client wants a stream.
    pub fn is_stream(&self) -> bool {
        self.stream
    }

    /// `max_tokens: 0` warms a cache: it is answered without asking anyone.
    pub fn wants_no_output(&self) -> bool {
        self.sampling.max_tokens == Some(0)
    }

    /// Whether the client asked for thinking without its text.
    pub fn hides_thinking(&self) -> bool {
        match self.options.thinking {
            Thinking::Adaptive { is_omitted } | Thinking::Enabled { is_omitted, .. } => is_omitted,
            Thinking::Absent | Thinking::Disabled => false,
        }
    }

    /// Whether the client asked to see thinking.
    pub fn wants_thinking(&self) -> bool {
        matches!(
            self.options.thinking,
            Thinking::Adaptive { .. } | Thinking::Enabled { .. }
        )
    }
}

/// The top level as it arrives. Later duplicates of a field are refused.
#[derive(Default)]
struct Wire<'a> {
    model: Option<Cow<'a, str>>,
    stream: Option<&'a RawValue>,
    system: WireContent<'a>,
    messages: Option<WireMessages<'a>>,
    tools: Option<Vec<WireTool<'a>>>,
    tool_choice: Option<WireToolChoice<'a>>,
    max_tokens: Option<&'a RawValue>,
    stop_sequences: Option<Vec<Option<Cow<'a, str>>>>,
    temperature: Option<&'a RawValue>,
    top_p: Option<&'a RawValue>,
    top_k: Option<&'a RawValue>,
    thinking: Option<WireThinking<'a>>,
    output_config: Option<WireOutputConfig<'a>>,
    output_format: Option<&'a RawValue>,
    metadata: Option<WireMetadata<'a>>,
    service_tier: Option<Cow<'a, str>>,
    other: Vec<(Cow<'a, str>, &'a RawValue)>,
}

#[derive(serde::Deserialize)]
#[serde(transparent)]
struct WireMessages<'a>(#[serde(borrow)] Vec<WireMessage<'a>>);

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct WireMessage<'a> {
    #[serde(borrow, deserialize_with = "lenient::text")]
    role: Option<Cow<'a, str>>,
    #[serde(borrow)]
    content: WireContent<'a>,
    #[serde(borrow, deserialize_with = "lenient::text")]
    clear_at: Option<Cow<'a, str>>,
    #[serde(borrow)]
    output_config: Option<WireOutputConfig<'a>>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct WireThinking<'a> {
    #[serde(borrow, rename = "type", deserialize_with = "lenient::text")]
    kind: Option<Cow<'a, str>>,
    #[serde(deserialize_with = "lenient::count")]
    budget_tokens: u64,
    #[serde(borrow, deserialize_with = "lenient::text")]
    display: Option<Cow<'a, str>>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct WireOutputConfig<'a> {
    #[serde(borrow, deserialize_with = "lenient::text")]
    effort: Option<Cow<'a, str>>,
    #[serde(borrow)]
    format: Option<&'a RawValue>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct WireFormat<'a> {
    #[serde(borrow)]
    schema: Option<&'a RawValue>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct WireMetadata<'a> {
    #[serde(borrow, deserialize_with = "lenient::text")]
    user_id: Option<Cow<'a, str>>,
}

/// A string that borrows, for places where serde would copy.
#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow, deserialize_with = "lenient::text")] Option<Cow<'a, str>>);

impl<'a> Wire<'a> {
    fn validate(self) -> Result<Request<'a>, BadRequest> {
        let model = self
            .model
            .ok_or_else(|| BadRequest::at("model", "Field required"))?;
        let messages = self
            .messages
            .ok_or_else(|| BadRequest::at("messages", "Field required"))?
            .0;
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

impl<'de: 'a, 'a> Deserialize<'de> for Wire<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(WireVisitor)
    }
}

struct WireVisitor;

impl<'de> Visitor<'de> for WireVisitor {
    type Value = Wire<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    /// By hand, because collecting unknown fields with `flatten` would buffer every value.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Wire<'de>, A::Error> {
        let mut wire = Wire::default();
        let mut seen: Vec<Cow<'de, str>> = Vec::with_capacity(16);
        while let Some(Text(key)) = map.next_key::<Text<'de>>()? {
            let Some(key) = key else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if seen.contains(&key) {
                return Err(A::Error::custom(format_args!("duplicate field `{key}`")));
            }
            if seen.len() == FIELDS_MAX {
                return Err(A::Error::custom(format_args!("more than {FIELDS_MAX} fields")));
            }
            match &*key {
                "model" => wire.model = map.next_value::<Text<'de>>()?.0,
                "stream" => wire.stream = Some(map.next_value()?),
                "system" => wire.system = map.next_value()?,
                "messages" => wire.messages = map.next_value()?,
                "tools" => wire.tools = map.next_value()?,
                "tool_choice" => wire.tool_choice = map.next_value()?,
                "max_tokens" => wire.max_tokens = Some(map.next_value()?),
                "stop_sequences" => {
                    let texts: Option<Vec<Text<'de>>> = map.next_value()?;
                    wire.stop_sequences = texts.map(|texts| texts.into_iter().map(|text| text.0).collect());
                }
                "temperature" => wire.temperature = Some(map.next_value()?),
                "top_p" => wire.top_p = Some(map.next_value()?),
                "top_k" => wire.top_k = Some(map.next_value()?),
                "thinking" => wire.thinking = map.next_value()?,
                "output_config" => wire.output_config = map.next_value()?,
                "output_format" => wire.output_format = Some(map.next_value()?),
                "metadata" => wire.metadata = map.next_value()?,
                "service_tier" => wire.service_tier = map.next_value::<Text<'de>>()?.0,
                _ => {
                    let value = map.next_value::<&'de RawValue>()?;
                    wire.other.push((key.clone(), value));
                }
            }
            seen.push(key);
        }
        Ok(wire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let super::super::Block::Text { text, .. } = &request.messages[0].content.blocks()[0] else {
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
