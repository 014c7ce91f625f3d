//! The way to a place in a JSON text: `messages.0.content.2.text`.
//!
//! Walked only when something is wrong there, and over text that may be broken behind it.

/// A longer path helps nobody to find the place.
const STEPS_MAX: usize = 8;
/// Longest name in a path, in characters.
const NAME_CHARS_MAX: usize = 64;

/// One open bracket on the way.
enum Step<'a> {
    /// With the name of the member that is read.
    Object(&'a [u8]),
    /// With the place in it.
    Array(usize),
}

/// The names and places that lead to the value at this offset; empty at the top.
pub(super) fn path(text: &[u8], offset: usize) -> String {
    let text = text.get(..offset).unwrap_or(text);
    let mut steps: Vec<Step<'_>> = Vec::new();
    let mut string: &[u8] = &[];
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        at += 1;
        match (byte, steps.last_mut()) {
            (b'{', _) => steps.push(Step::Object(&[])),
            (b'[', _) => steps.push(Step::Array(0)),
            (b'}' | b']', _) => {
                steps.pop();
            }
            (b':', Some(Step::Object(name))) => *name = string,
            (b',', Some(Step::Object(name))) => *name = &[],
            (b',', Some(Step::Array(place))) => *place += 1,
            (b'"', _) => {
                string = string_at(text, at);
                at += string.len() + 1;
            }
            _ => {}
        }
    }
    let mut path = String::new();
    for step in steps.iter().take(STEPS_MAX) {
        let dot = if path.is_empty() { "" } else { "." };
        match step {
            Step::Object([]) => break,
            Step::Object(name) => {
                path.push_str(dot);
                path.extend(String::from_utf8_lossy(name).chars().take(NAME_CHARS_MAX));
            }
            Step::Array(place) => path.push_str(&format!("{dot}{place}")),
        }
    }
    path
}

/// The name that is written at this offset, for messages.
pub(super) fn name(text: &[u8], offset: usize) -> String {
    let name = string_at(text, offset + 1);
    String::from_utf8_lossy(name)
        .chars()
        .take(NAME_CHARS_MAX)
        .collect()
}

/// What is between the quotes, from behind the first one.
fn string_at(text: &[u8], start: usize) -> &[u8] {
    let mut end = start;
    loop {
        match text.get(end) {
            None => return text.get(start..).unwrap_or_default(),
            Some(b'"') => return text.get(start..end).unwrap_or_default(),
            Some(b'\\') => end += 2,
            Some(_) => end += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_the_value() {
        let text = br#"{"a":[1,{"b\"":"x,]","c":[[],@]}],"d":#}"#;
        let find = |byte: u8| path(text, memchr::memchr(byte, text).unwrap());
        assert_eq!(find(b'@'), "a.1.c.1");
        assert_eq!(find(b'x'), r#"a.1.b\""#);
        assert_eq!(find(b'#'), "d");
        assert_eq!(path(text, 0), "");
        assert_eq!(path(b"[[", 2), "0.0");
    }
}
