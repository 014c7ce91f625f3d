//! Reads emitted streams on its own, as a client would, and insists on the block grammar:
//! `message_start` first and once, gapless indices, one block open at a time, deltas only
//! for the open block, one terminal event and nothing behind it.

use std::path::Path;

use serde_json::{Value, json};

/// A stream that obeys the grammar, with what a client would have put together.
#[derive(Debug, Default)]
pub(crate) struct Grammar {
    content: Vec<Value>,
    /// Pieces of the open block: text, thinking or arguments.
    open: Option<String>,
    pub(crate) has_started: bool,
    pub(crate) terminal: Option<String>,
    message: Value,
    delta: Value,
}

impl Grammar {
    /// Panics with the reason if the bytes break a rule.
    pub(crate) fn check(bytes: &[u8]) -> Grammar {
        let text = std::str::from_utf8(bytes).expect("the stream is UTF-8");
        let mut grammar = Grammar::default();
        assert!(
            text.is_empty() || text.ends_with("\n\n"),
            "the last event is not complete: {text}"
        );
        for frame in text.split_terminator("\n\n") {
            let lines: Vec<&str> = frame.split('\n').collect();
            let [event, data] = lines[..] else {
                panic!("not an event of two lines: {frame:?}")
            };
            let name = event.strip_prefix("event: ").expect("an event line");
            let data: Value =
                serde_json::from_str(data.strip_prefix("data: ").expect("a data line")).expect("JSON");
            assert_eq!(data["type"], name, "the type in the data is the event's name");
            grammar.event(name, &data);
        }
        if grammar.terminal.as_deref() == Some("message_stop") {
            assert!(grammar.open.is_none(), "a block was left open");
        }
        grammar
    }

    /// Whether the client saw a whole answer.
    pub(crate) fn is_whole(&self) -> bool {
        self.terminal.as_deref() == Some("message_stop")
    }

    /// The text of all text blocks.
    pub(crate) fn text(&self) -> String {
        self.content
            .iter()
            .filter_map(|block| block["text"].as_str())
            .collect()
    }

    /// Name and input of each call.
    pub(crate) fn inputs(&self) -> Vec<(String, Value)> {
        self.content
            .iter()
            .filter(|block| block["type"] == "tool_use")
            .map(|block| (block["name"].as_str().unwrap().to_owned(), block["input"].clone()))
            .collect()
    }

    fn event(&mut self, name: &str, data: &Value) {
        assert!(self.terminal.is_none(), "{name} after the end");
        assert!(
            self.has_started || name == "message_start",
            "{name} before message_start"
        );
        match name {
            "message_start" => {
                assert!(!self.has_started, "a second message_start");
                self.has_started = true;
                self.message = data["message"].clone();
                assert!(
                    self.message["usage"]["input_tokens"]
                        .as_u64()
                        .is_some_and(|tokens| tokens > 0)
                );
            }
            "ping" => {}
            "content_block_start" => {
                assert!(self.open.is_none(), "two blocks open");
                assert_eq!(data["index"], self.content.len(), "indices have a gap");
                self.content.push(data["content_block"].clone());
                self.open = Some(String::new());
            }
            "content_block_delta" => self.delta(data),
            "content_block_stop" => self.stop(data),
            "message_delta" => {
                assert!(self.open.is_none(), "message_delta while a block is open");
                assert!(self.delta.is_null(), "a second message_delta");
                assert!(data["usage"]["output_tokens"].is_u64() && data["usage"]["input_tokens"].is_u64());
                self.delta = data.clone();
            }
            "message_stop" => {
                assert!(!self.delta.is_null(), "message_stop without message_delta");
                self.terminal = Some(name.to_owned());
            }
            "error" => {
                assert!(self.delta.is_null(), "an error after message_delta");
                self.terminal = Some(name.to_owned());
            }
            other => panic!("no such event: {other}"),
        }
    }

    fn delta(&mut self, data: &Value) {
        let open = self.open.as_mut().expect("a delta outside a block");
        assert_eq!(
            data["index"],
            self.content.len() - 1,
            "a delta for a block that is not open"
        );
        let block = self.content.last_mut().unwrap();
        let delta = &data["delta"];
        let (wants, field) = match delta["type"].as_str().unwrap() {
            "text_delta" => ("text", "text"),
            "thinking_delta" => ("thinking", "thinking"),
            "input_json_delta" => ("tool_use", "partial_json"),
            "signature_delta" => {
                assert_eq!(block["type"], "thinking");
                block["signature"] = delta["signature"].clone();
                return;
            }
            other => panic!("no such delta: {other}"),
        };
        assert_eq!(block["type"], wants, "the delta does not fit its block");
        open.push_str(delta[field].as_str().unwrap());
    }

    fn stop(&mut self, data: &Value) {
        let open = self.open.take().expect("a stop without a start");
        assert_eq!(data["index"], self.content.len() - 1);
        let block = self.content.last_mut().unwrap();
        match block["type"].as_str().unwrap() {
            "text" => block["text"] = Value::from(open),
            "thinking" => {
                let signature = block["signature"].as_str().unwrap_or_default();
                assert!(
                    signature.starts_with("brg1."),
                    "a thinking block without our signature"
                );
                block["thinking"] = Value::from(open);
            }
            "redacted_thinking" => {
                assert!(
                    open.is_empty() && block["data"].as_str().unwrap().starts_with("brg1."),
                    "not our luggage"
                );
            }
            "tool_use" => {
                block["input"] = serde_json::from_str(&open).unwrap_or_else(|_| json!({"__raw": open}))
            }
            other => panic!("no such block: {other}"),
        }
    }

    /// The stream put together is the message that a plain answer would be.
    pub(crate) fn assert_same_as(&self, message: &str, file: &Path) {
        let message: Value = serde_json::from_str(message).unwrap();
        let whole: Vec<Value> = message["content"].as_array().unwrap().clone();
        assert_eq!(whole.len(), self.content.len(), "{}", file.display());
        for (plain, streamed) in whole.iter().zip(&self.content) {
            for key in ["type", "text", "thinking", "signature", "data", "id", "name"] {
                assert_eq!(plain[key], streamed[key], "{}: {key}", file.display());
            }
        }
        for key in ["stop_reason", "stop_sequence", "stop_details"] {
            assert_eq!(
                message[key],
                self.delta["delta"][key],
                "{}: {key}",
                file.display()
            );
        }
        for key in [
            "input_tokens",
            "output_tokens",
            "cache_read_input_tokens",
            "cache_creation_input_tokens",
        ] {
            assert_eq!(
                message["usage"][key],
                self.delta["usage"][key],
                "{}: {key}",
                file.display()
            );
        }
        assert_eq!(message["id"], self.message["id"]);
    }
}
