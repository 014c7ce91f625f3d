//! The admin's pages, as they were built into the program.
//!
//! A program that was built without them has none, and says so by a plain text. Names below `assets/`
//! change with their content and may be kept for ever; the rest is asked for each time, with an ETag.

use std::borrow::Cow;
use std::fmt::Write;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use rust_embed::RustEmbed;

const SHELL: &str = "index.html";
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const ASK_EACH_TIME: HeaderValue = HeaderValue::from_static("no-cache");
/// How much of a file's hash tells it apart, in bytes.
const ETAG_BYTES: usize = 16;
/// Content codings and what the compressed neighbour of a file ends with, the best first.
const CODINGS: [(&str, &str); 2] = [("br", ".br"), ("gzip", ".gz")];

#[derive(RustEmbed)]
#[folder = "../admin-web/dist"]
#[allow_missing = true]
struct Pages;

/// A file of the admin.
pub(super) struct Page {
    bytes: Cow<'static, [u8]>,
    hash: [u8; 32],
    content_type: String,
}

pub(super) fn embedded(name: &str) -> Option<Page> {
    let file = Pages::get(name)?;
    Some(Page {
        hash: file.metadata.sha256_hash(),
        content_type: content_type(file.metadata.mimetype()),
        bytes: file.data,
    })
}

fn content_type(mime: &str) -> String {
    if mime.starts_with("text/") {
        format!("{mime}; charset=utf-8")
    } else {
        mime.to_owned()
    }
}

/// What a browser is answered that asks for a path. `None`: there is no such page.
pub(super) fn answer(
    find: impl Fn(&str) -> Option<Page>,
    path: &str,
    headers: &HeaderMap,
) -> Option<Response> {
    let name = match path.trim_start_matches('/') {
        "" => SHELL,
        name => name,
    };
    let is_hidden = name.split('/').any(|part| part.starts_with('.'));
    if is_hidden || CODINGS.iter().any(|(_, ending)| name.ends_with(ending)) {
        return None;
    }
    let page = find(name)?;
    let content_type = HeaderValue::from_str(&page.content_type).ok()?;
    let (page, coding) =
        compressed(&find, name, headers).map_or((page, None), |(page, coding)| (page, Some(coding)));
    let etag = etag(&page.hash);
    let is_known = headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|known| known.trim().trim_start_matches("W/") == etag);
    let mut response = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Response::new(Body::from(match page.bytes {
            Cow::Borrowed(bytes) => Bytes::from_static(bytes),
            Cow::Owned(bytes) => Bytes::from(bytes),
        }))
    };
    let answered = response.headers_mut();
    if !is_known {
        answered.insert(header::CONTENT_TYPE, content_type);
        if let Some(coding) = coding {
            answered.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
    }
    answered.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    answered.insert(header::ETAG, HeaderValue::from_str(&etag).ok()?);
    let caching = if name.starts_with("assets/") {
        IMMUTABLE
    } else {
        ASK_EACH_TIME
    };
    answered.insert(header::CACHE_CONTROL, caching);
    Some(response)
}

/// The smallest form that the client takes, if there is one.
fn compressed(
    find: impl Fn(&str) -> Option<Page>,
    name: &str,
    headers: &HeaderMap,
) -> Option<(Page, &'static str)> {
    let accepted = headers.get(header::ACCEPT_ENCODING)?.to_str().ok()?;
    CODINGS
        .into_iter()
        .filter(|(coding, _)| takes(accepted, coding))
        .find_map(|(coding, ending)| Some((find(&format!("{name}{ending}"))?, coding)))
}

fn takes(accepted: &str, coding: &str) -> bool {
    accepted.split(',').any(|part| {
        let (name, weight) = part.split_once(';').unwrap_or((part, ""));
        let is_refused = weight
            .trim()
            .strip_prefix("q=")
            .is_some_and(|weight| weight.parse() == Ok(0.0_f32));
        name.trim().eq_ignore_ascii_case(coding) && !is_refused
    })
}

fn etag(hash: &[u8; 32]) -> String {
    let mut etag = String::from("\"");
    for byte in hash.iter().take(ETAG_BYTES) {
        // Writing to a text cannot fail.
        let _ = write!(etag, "{byte:02x}");
    }
    etag.push('"');
    etag
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    fn pages(name: &str) -> Option<Page> {
        let (text, mime) = match name {
            "index.html" => ("the shell", "text/html"),
            "index.html.br" => ("br", "application/octet-stream"),
            "index.html.gz" => ("gz", "application/octet-stream"),
            "assets/main-1.js" => ("the code", "text/javascript"),
            ".keep" => ("hidden", "text/plain"),
            _ => return None,
        };
        let mut hash = [0; 32];
        hash[..text.len()].copy_from_slice(text.as_bytes());
        Some(Page {
            bytes: Cow::Borrowed(text.as_bytes()),
            hash,
            content_type: content_type(mime),
        })
    }

    fn ask(path: &str, accepted: &'static str) -> Option<Response> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(accepted));
        answer(pages, path, &headers)
    }

    fn header_of(response: &Response, name: header::HeaderName) -> &str {
        response
            .headers()
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    async fn text(response: Response) -> String {
        let bytes = to_bytes(response.into_body(), 1024).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn the_shell_is_asked_for_each_time_and_assets_are_kept() {
        let shell = ask("/", "").unwrap();
        assert_eq!(header_of(&shell, header::CACHE_CONTROL), "no-cache");
        assert_eq!(
            header_of(&shell, header::CONTENT_TYPE),
            "text/html; charset=utf-8"
        );
        assert_eq!(text(shell).await, "the shell");
        let code = ask("/assets/main-1.js", "br").unwrap();
        assert!(header_of(&code, header::CACHE_CONTROL).contains("immutable"));
        assert_eq!(header_of(&code, header::CONTENT_ENCODING), "");
        assert_eq!(text(code).await, "the code");
    }

    #[tokio::test]
    async fn a_client_gets_the_best_coding_that_it_takes() {
        for (accepted, expected) in [
            ("gzip, deflate, br", "br"),
            ("gzip", "gzip"),
            ("br;q=0, gzip;q=0.5", "gzip"),
            ("BR", "br"),
            ("identity", ""),
        ] {
            let response = ask("/index.html", accepted).unwrap();
            assert_eq!(
                header_of(&response, header::CONTENT_ENCODING),
                expected,
                "{accepted}"
            );
            assert_eq!(
                header_of(&response, header::CONTENT_TYPE),
                "text/html; charset=utf-8"
            );
            assert_eq!(header_of(&response, header::VARY), "accept-encoding");
        }
    }

    #[tokio::test]
    async fn what_a_browser_has_is_not_sent_again() {
        let etag = header_of(&ask("/", "br").unwrap(), header::ETAG).to_owned();
        assert_ne!(etag, header_of(&ask("/", "").unwrap(), header::ETAG));
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("br"));
        let known = format!("\"other\", W/{etag}");
        headers.insert(header::IF_NONE_MATCH, HeaderValue::from_str(&known).unwrap());
        let response = answer(pages, "/", &headers).unwrap();
        assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(text(response).await, "");
    }

    #[test]
    fn nothing_else_is_a_page() {
        for path in [
            "/nothing",
            "/.keep",
            "/index.html.br",
            "/assets/",
            "/../Cargo.toml",
            "/assets/../.keep",
        ] {
            assert!(ask(path, "br").is_none(), "{path}");
        }
        assert!(
            embedded(".keep").is_some(),
            "the folder is the one that the build fills"
        );
        assert!(
            answer(embedded, "/../../Cargo.toml", &HeaderMap::new()).is_none(),
            "never a file beside the pages"
        );
    }
}
