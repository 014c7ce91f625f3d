//! Events of a native stream, read from the side: only as far as somebody needs to know.

use std::borrow::Cow;

use memchr::memchr2;
use serde::Deserialize;

use crate::json::lenient;
use crate::usage::Usage;

const BOM: &[u8] = "\u{feff}".as_bytes();

/// Finds the ends of events in bytes that are cut anywhere.
#[derive(Debug)]
pub(super) struct Ends {
    is_line_empty: bool,
    /// A carriage return ended a line; the line feed behind it belongs to it. Holds
    /// whether that line was empty.
    after_return: Option<bool>,
}

/// What an event is to the one who watches.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event<'e> {
    /// A comment, a ping, an empty line.
    Idle,
    Start(Figures),
    Delta(Figures),
    Stop,
    /// With its JSON.
    Error(Cow<'e, [u8]>),
    /// Content, or what only newer clients know.
    Other,
    /// What should have been JSON and is none.
    Broken,
}

/// Token counts that an event names; what it does not name stays as it was.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Figures {
    #[serde(deserialize_with = "lenient::number")]
    input_tokens: Option<u64>,
    #[serde(deserialize_with = "lenient::number")]
    output_tokens: Option<u64>,
    #[serde(deserialize_with = "lenient::number")]
    cache_read_input_tokens: Option<u64>,
    #[serde(deserialize_with = "lenient::number")]
    cache_creation_input_tokens: Option<u64>,
    output_tokens_details: Option<Details>,
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Details {
    #[serde(deserialize_with = "lenient::count")]
    thinking_tokens: u64,
}

#[derive(Deserialize)]
struct Data<'d> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'d, str>,
    #[serde(default)]
    message: Option<Message>,
    #[serde(default)]
    usage: Option<Figures>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    usage: Option<Figures>,
}

impl Default for Ends {
    fn default() -> Self {
        Ends {
            is_line_empty: true,
            after_return: None,
        }
    }
}

impl Ends {
    /// The place behind the first event that ends in these bytes.
    pub(super) fn next(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            if let Some(was_empty) = self.after_return {
                if *bytes.get(at)? == b'\n' {
                    at += 1;
                }
                self.after_return = None;
                if was_empty {
                    return Some(at);
                }
            }
            let rest = bytes.get(at..).unwrap_or_default();
            let Some(length) = memchr2(b'\n', b'\r', rest) else {
                self.is_line_empty &= rest.is_empty();
                return None;
            };
            let is_empty = self.is_line_empty && length == 0;
            at += length + 1;
            self.is_line_empty = true;
            if rest.get(length) == Some(&b'\r') {
                self.after_return = Some(is_empty);
            } else if is_empty {
                return Some(at);
            }
        }
    }
}

impl Event<'_> {
    /// Reads one event, its last empty line included or not.
    pub(super) fn read(event: &[u8]) -> Event<'_> {
        let (mut name, mut data) = (None, None::<Cow<'_, [u8]>>);
        let event = event.strip_prefix(BOM).unwrap_or(event);
        for line in event.split(|byte| matches!(byte, b'\n' | b'\r')) {
            if let Some(value) = field(line, b"event") {
                name = Some(value);
            } else if let Some(value) = field(line, b"data") {
                data = Some(match data {
                    None => Cow::Borrowed(value),
                    Some(before) => Cow::Owned([&*before, value].join(&b'\n')),
                });
            }
        }
        match (name, data) {
            // Clients go by the name alone, whatever the data are.
            (Some(b"error"), data) => Event::Error(data.unwrap_or_default()),
            (Some(b"ping"), _) | (_, None) => Event::Idle,
            (Some(b"content_block_start" | b"content_block_delta" | b"content_block_stop"), _) => {
                Event::Other
            }
            (_, Some(data)) => Self::of_data(data),
        }
    }

    fn of_data(data: Cow<'_, [u8]>) -> Event<'_> {
        let Ok(Data { kind, message, usage }) = serde_json::from_slice(&data) else {
            return Event::Broken;
        };
        match &*kind {
            "ping" => Event::Idle,
            "message_start" => match message {
                Some(message) => Event::Start(message.usage.unwrap_or_default()),
                None => Event::Broken,
            },
            "message_delta" => Event::Delta(usage.unwrap_or_default()),
            "message_stop" => Event::Stop,
            "error" => Event::Error(data),
            _ => Event::Other,
        }
    }
}

impl Figures {
    /// Later figures replace earlier ones: they are sums, not steps.
    pub(super) fn add_to(&self, usage: &mut Usage) {
        let Figures {
            input_tokens,
            output_tokens,
            cache_read_input_tokens,
            cache_creation_input_tokens,
            output_tokens_details,
        } = self;
        let latest = |known: &mut u64, told: Option<u64>| *known = told.unwrap_or(*known);
        latest(&mut usage.input_tokens, *input_tokens);
        latest(&mut usage.output_tokens, *output_tokens);
        latest(&mut usage.cache_read_input_tokens, *cache_read_input_tokens);
        latest(
            &mut usage.cache_creation_input_tokens,
            *cache_creation_input_tokens,
        );
        let thinking = output_tokens_details
            .as_ref()
            .map(|details| details.thinking_tokens);
        latest(&mut usage.thinking_tokens, thinking);
    }

    /// Whether the provider counts at all.
    pub(super) fn is_told(&self) -> bool {
        self.input_tokens.is_some() || self.output_tokens.is_some()
    }
}

fn field<'l>(line: &'l [u8], name: &[u8]) -> Option<&'l [u8]> {
    let value = line.strip_prefix(name)?.strip_prefix(b":")?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(text: &str, step: usize) -> Vec<usize> {
        let (mut ends, mut found, mut done) = (Ends::default(), Vec::new(), 0);
        for piece in text.as_bytes().chunks(step) {
            let mut from = 0;
            while let Some(end) = ends.next(&piece[from..]) {
                from += end;
                found.push(done + from);
            }
            done += piece.len();
        }
        found
    }

    #[test]
    fn events_end_at_empty_lines_wherever_the_bytes_are_cut() {
        let rows: [(&str, &[usize]); 6] = [
            ("data: 1\n\ndata: 2\n\n", &[9, 18]),
            ("data: 1\r\n\r\ndata: 2\r\n\r\nx", &[11, 22]),
            ("data: 1\r\rdata: 2\r\rx", &[9, 18]),
            ("a\n\r\n\nb\n", &[4, 5]),
            ("\n", &[1]),
            ("a\nb\r\nc", &[]),
        ];
        for (text, expected) in rows {
            for step in 1..=text.len() {
                assert_eq!(ends(text, step), expected, "{text:?} by {step}");
            }
        }
    }

    #[test]
    fn events_are_known_by_name_or_by_type() {
        assert_eq!(Event::read(b": hello\n\n"), Event::Idle);
        assert_eq!(Event::read(b"event: ping\ndata: nonsense\n\n"), Event::Idle);
        assert_eq!(
            Event::read(b"data: {\"type\":\"message_stop\"}\r\n\r\n"),
            Event::Stop
        );
        assert_eq!(
            Event::read(b"data: {\ndata: \"type\":\"message_stop\"}\n"),
            Event::Stop
        );
        assert_eq!(Event::read(b"data: [DONE]\n\n"), Event::Broken);
        assert_eq!(
            Event::read(b"event: new_thing\ndata: {\"type\":\"new_thing\"}\n\n"),
            Event::Other
        );
        assert_eq!(
            Event::read(b"data: {\"type\":\"message_start\"}\n\n"),
            Event::Broken
        );
        assert!(matches!(
            Event::read(b"event: error\ndata: {\"type\":\"error\",\"error\":{}}\n\n"),
            Event::Error(_)
        ));
    }

    #[test]
    fn later_figures_replace_earlier_ones() {
        let mut usage = Usage::default();
        let start = br#"data: {"type":"message_start","message":{"usage":{"input_tokens":5,"cache_read_input_tokens":7,"output_tokens":1}}}"#;
        let delta = br#"data: {"type":"message_delta","delta":{},"usage":{"output_tokens":9,"output_tokens_details":{"thinking_tokens":3}}}"#;
        for event in [&start[..], &delta[..]] {
            let (Event::Start(figures) | Event::Delta(figures)) = Event::read(event) else {
                panic!("no figures")
            };
            figures.add_to(&mut usage);
        }
        let expected = Usage {
            input_tokens: 5,
            output_tokens: 9,
            cache_read_input_tokens: 7,
            thinking_tokens: 3,
            ..Usage::default()
        };
        assert_eq!(usage, expected);
    }
}
