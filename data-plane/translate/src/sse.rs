//! Server-sent events: bytes in any pieces to events.
//!
//! Follows the WHATWG rules (CR, LF, CRLF; one optional space; comments; several data
//! lines; a byte order mark) and forgives what servers do: no blank line after a complete
//! JSON line, bare NDJSON lines. Says nothing about what the data means.

use std::borrow::Cow;

use crate::json::scan;

/// Longest event, in bytes. A larger one is an error, not a reason to grow.
pub const EVENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Room that is kept for the next event; what a longer one took is given back after it.
const KEPT_BYTES_MAX: usize = 64 * 1024;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// The event is larger than [`EVENT_BYTES_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream is larger than {EVENT_BYTES_MAX} bytes")]
pub struct TooLarge;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event<'a> {
    /// Name of the event; empty if the server gave none.
    pub name: Cow<'a, str>,
    /// The data; bytes that are not UTF-8 are replaced.
    pub data: Cow<'a, str>,
}

/// Splits a byte stream into events.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// Start of the first line that is not consumed.
    line_start: usize,
    /// Up to here the buffer holds no line end.
    scanned: usize,
    /// A CR ended the last line: an LF right after it belongs to it.
    after_cr: bool,
    past_bom: bool,
    name: String,
    data: String,
    has_data: bool,
    /// The name and data above were handed out and must go before the next line.
    is_spent: bool,
}

/// What one line means.
enum Line {
    Blank,
    /// `data` is at this place in the buffer.
    Data(usize, usize),
    Name(usize, usize),
    Ignored,
}

impl Decoder {
    /// Takes bytes in; read events with [`Decoder::next_event`] until it has none.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.line_start > 0 {
            self.buffer.drain(..self.line_start);
            self.scanned -= self.line_start;
            self.line_start = 0;
            self.buffer
                .shrink_to(KEPT_BYTES_MAX.max(self.buffer.len() + bytes.len()));
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Memory that events take which are not complete.
    pub fn held_bytes(&self) -> usize {
        self.buffer.capacity() + self.data.capacity()
    }

    /// The next complete event.
    pub fn next_event(&mut self) -> Result<Option<Event<'_>>, TooLarge> {
        if self.is_spent {
            self.clear();
        }
        while let Some((start, end)) = self.next_line() {
            if self.data.len() + (end - start) > EVENT_BYTES_MAX {
                return Err(TooLarge);
            }
            match self.classify(start, end) {
                Line::Ignored => {}
                Line::Blank if self.has_data => return Ok(Some(self.joined())),
                // An event without data is none; its name goes with it.
                Line::Blank => self.clear(),
                Line::Name(from, to) => {
                    self.name = text(&self.buffer, from, to).into_owned();
                }
                // Nearly all events: one line, handed out where it lies.
                Line::Data(from, to) if !self.has_data && self.ends_with(from, to) => {
                    self.is_spent = true;
                    return Ok(Some(Event {
                        name: Cow::Borrowed(&self.name),
                        data: text(&self.buffer, from, to),
                    }));
                }
                Line::Data(from, to) => {
                    if self.has_data {
                        self.data.push('\n');
                    }
                    self.has_data = true;
                    self.data.push_str(&text(&self.buffer, from, to));
                }
            }
        }
        if self.buffer.len() - self.line_start > EVENT_BYTES_MAX {
            return Err(TooLarge);
        }
        Ok(None)
    }

    /// The input has ended: a last line without its line end, and data without its blank
    /// line, are an event all the same. Servers forget both.
    pub fn finish(&mut self) -> Result<Option<Event<'_>>, TooLarge> {
        if self.is_spent {
            self.clear();
        }
        self.push(b"\n\n");
        self.next_event()
    }

    fn joined(&mut self) -> Event<'_> {
        self.is_spent = true;
        Event {
            name: Cow::Borrowed(&self.name),
            data: Cow::Borrowed(&self.data),
        }
    }

    fn clear(&mut self) {
        self.name.clear();
        self.data.clear();
        self.data.shrink_to(KEPT_BYTES_MAX);
        self.has_data = false;
        self.is_spent = false;
    }

    /// Bounds of the next complete line, without its end.
    fn next_line(&mut self) -> Option<(usize, usize)> {
        if self.after_cr && self.scanned < self.buffer.len() {
            self.after_cr = false;
            if self.buffer.get(self.scanned) == Some(&b'\n') {
                self.scanned += 1;
                self.line_start = self.scanned;
            }
        }
        if !self.past_bom {
            self.skip_bom()?;
        }
        let found = memchr::memchr2(b'\n', b'\r', self.buffer.get(self.scanned..)?);
        let Some(offset) = found else {
            self.scanned = self.buffer.len();
            return None;
        };
        let (start, end) = (self.line_start, self.scanned + offset);
        self.after_cr = self.buffer.get(end) == Some(&b'\r');
        self.line_start = end + 1;
        self.scanned = end + 1;
        Some((start, end))
    }

    /// None while the start could still become a byte order mark.
    fn skip_bom(&mut self) -> Option<()> {
        let head = self
            .buffer
            .get(..self.buffer.len().min(BOM.len()))
            .unwrap_or_default();
        if head.len() < BOM.len() && BOM.starts_with(head) {
            return None;
        }
        if head == BOM {
            self.line_start = BOM.len();
            self.scanned = BOM.len();
        }
        self.past_bom = true;
        Some(())
    }

    fn classify(&self, start: usize, end: usize) -> Line {
        let line = self.buffer.get(start..end).unwrap_or_default();
        if line.is_empty() {
            return Line::Blank;
        }
        if line.first() == Some(&b'{') {
            return Line::Data(start, end);
        }
        let colon = memchr::memchr(b':', line).unwrap_or(line.len());
        let value = (colon + 1).min(line.len());
        let value = start + value + usize::from(line.get(value) == Some(&b' '));
        match line.get(..colon) {
            Some(b"data") => Line::Data(value.min(end), end),
            Some(b"event") => Line::Name(value.min(end), end),
            _ => Line::Ignored,
        }
    }

    /// Whether the event ends with this data: a blank line is there already, or it is a whole
    /// object, behind which some servers forget the blank line.
    fn ends_with(&self, from: usize, to: usize) -> bool {
        if self.is_blank_next() {
            return true;
        }
        let data = self.buffer.get(from..to).unwrap_or_default().trim_ascii();
        data.first() == Some(&b'{')
            && data.last() == Some(&b'}')
            && std::str::from_utf8(data).is_ok_and(scan::is_complete)
    }

    fn is_blank_next(&self) -> bool {
        let rest = self.buffer.get(self.line_start..).unwrap_or_default();
        let rest = match rest {
            [b'\n', rest @ ..] if self.after_cr => rest,
            rest => rest,
        };
        matches!(rest, [b'\n' | b'\r', ..])
    }
}

/// A part of the buffer; bytes that are not UTF-8 are replaced.
fn text(buffer: &[u8], from: usize, to: usize) -> Cow<'_, str> {
    let bytes = buffer.get(from..to).unwrap_or_default();
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(bytes),
    }
}
