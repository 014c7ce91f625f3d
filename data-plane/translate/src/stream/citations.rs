//! What an upstream's own web search cites: text lines at the end of the answer, since the
//! client's blocks for it hold what only Anthropic can encrypt.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json::lenient;

/// More sources than a person reads.
const SOURCES_MAX: usize = 64;
/// A longer one is no address that anybody follows.
const URL_BYTES_MAX: usize = 4 * 1024;
const TITLE_BYTES_MAX: usize = 1024;
const HEAD: &str = "\n\nSources:";

/// The sources of one answer, each once.
#[derive(Debug, Default)]
pub(super) struct Citations(Vec<Source>);

#[derive(Debug, PartialEq, Eq)]
struct Source {
    title: String,
    url: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Annotation<'a> {
    #[serde(borrow)]
    url_citation: UrlCitation<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct UrlCitation<'a> {
    #[serde(borrow, deserialize_with = "lenient::text")]
    title: Option<Cow<'a, str>>,
    #[serde(borrow, deserialize_with = "lenient::text")]
    url: Option<Cow<'a, str>>,
}

impl Citations {
    /// Remembers what an annotation cites; other annotations say nothing to a client.
    pub(super) fn take(&mut self, annotation: &RawValue) {
        let Ok(Annotation { url_citation }) = serde_json::from_str(annotation.get()) else {
            return;
        };
        let Some(url) = url_citation
            .url
            .filter(|url| !url.is_empty() && url.len() <= URL_BYTES_MAX)
        else {
            return;
        };
        if self.0.len() < SOURCES_MAX && !self.0.iter().any(|source| source.url == url) {
            let title = url_citation.title.unwrap_or_default();
            self.0.push(Source {
                title: one_line(&title[..title.floor_char_boundary(TITLE_BYTES_MAX)]),
                url: one_line(&url),
            });
        }
    }

    /// The lines at the end of the answer.
    pub(super) fn sources(&self) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        let mut text = HEAD.to_owned();
        for Source { title, url } in &self.0 {
            text.push_str("\n- ");
            if !title.is_empty() {
                text.push_str(title);
                text.push_str(" \u{2014} ");
            }
            text.push_str(url);
        }
        Some(text)
    }
}

fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cited_has_a_limit() {
        let mut citations = Citations::default();
        let mut cite = |title: &str, url: &str| {
            let annotation = format!(r#"{{"url_citation":{{"title":"{title}","url":"{url}"}}}}"#);
            citations.take(&RawValue::from_string(annotation).unwrap());
        };
        cite("a", &"x".repeat(URL_BYTES_MAX + 1));
        cite(&"字".repeat(TITLE_BYTES_MAX), "https://a");
        (0..2 * SOURCES_MAX).for_each(|n| cite("b", &format!("https://{n}")));
        assert_eq!(citations.0.len(), SOURCES_MAX);
        assert_eq!(citations.0[0].url, "https://a");
        assert!(citations.0[0].title.len() <= TITLE_BYTES_MAX);
    }
}
