//! What can go wrong with an answer, by name: `cut@700`, `status-503`, `stall@3ev`.
//!
//! A name is made of letters that a model's name may have, so that it can stand in one; what it
//! means is `SPELLINGS`, which `--help` shows. A fault changes any script: a canned answer, or what a
//! real server behind a fault proxy says.

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::script::{After, End, Interjection, Reply, Script};

/// What can be written behind a `~`, or behind `f-` instead of a canned answer.
pub const SPELLINGS: &[(&str, &str)] = &[
    (
        "cut, cut@N, cut@Nev",
        "closes the connection: before the head, after N bytes of the body, after N events; a document breaks in its middle",
    ),
    ("reset, reset@N, reset@Nev", "resets it there"),
    ("stall, stall@N, stall@Nev", "goes silent there; silent is stall"),
    ("early@N, early@Nev", "ends the body there as if it were whole"),
    (
        "closing",
        "the answer; then closes the connection, which nothing said",
    ),
    (
        "stale",
        "the answer; resets the connection as soon as it is used again",
    ),
    ("drip@N", "the answer, N bytes a second"),
    ("split", "the answer, every byte alone"),
    ("noise", "the answer, after five interim heads"),
    ("status-N", "status N with an error document"),
    (
        "status-N-after-W",
        "the same with retry-after: W; date-S makes it a date S seconds from now",
    ),
    ("quota", "429: the account is empty"),
    ("redirect@PORT", "307 to that port of this machine"),
    ("html", "200 and a page of HTML"),
    ("garbage", "200 and something that is not JSON"),
    ("empty", "200 and nothing"),
    ("error-in-200", "200 and an error document"),
    (
        "first-overloaded, first-quota, first-fire",
        "200; the first event, or the document, is this error",
    ),
    ("error@Nev", "an event that is an error after N events"),
    ("bad-line@Nev", "an event that is not JSON after N events"),
    (
        "utf8-text",
        "the answer, with bytes in its text that are not UTF-8",
    ),
    (
        "utf8-json@Nev",
        "such bytes between the members of an event after N events",
    ),
    ("gzip", "200 and an encoded body that nobody asked for"),
    ("gzip-bomb", "the same: 10 MB that decode to 10 GB"),
    (
        "huge-line",
        "a stream whose first line does not end within 64 MiB",
    ),
    ("endless-body", "a document that does not end within 64 MiB"),
    ("endless-head", "headers that do not end within 64 MiB"),
    (
        "plan@SEED",
        "one of them or none, by SEED and what stands behind nonce- in the request",
    ),
    ("seldom@SEED", "the same for a third of these requests"),
];

const MIB: usize = 1 << 20;
/// More than any limit under test.
const FLOOD_MIBS: usize = 64;
/// One line of a head that does not end.
const FLOOD_HEADER: &str = "x-flood: 0123456789012345678901234567890123456789012345678901\r\n";
const NOISE_HEADS: usize = 5;
const NOISE_HEAD: &str = "HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n";
/// So much in each of so many parts makes 10 GB of 10 MB.
const BOMB_PART_BYTES: usize = 10_000_000;
const BOMB_PARTS: usize = 1000;
/// How often a second something drips.
const DRIPS_PER_SECOND: usize = 20;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The answer ends at this place, in this way.
    Ends(After, End),
    Drip {
        bytes_per_second: usize,
    },
    Split,
    Noise,
    Status(u16, Option<Wait>),
    Quota,
    Redirect {
        port: u16,
    },
    Html,
    Garbage,
    Empty,
    ErrorInBody,
    First(FirstError),
    ErrorAt {
        event: usize,
    },
    BadLineAt {
        event: usize,
    },
    BrokenText,
    BrokenStructureAt {
        event: usize,
    },
    Gzip,
    GzipBomb,
    HugeLine,
    EndlessBody,
    EndlessHead,
}

/// What `retry-after` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    Text(String),
    DateIn { seconds: u64 },
}

/// What a 200 turns out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstError {
    Overloaded,
    Quota,
    Fire,
}

// === impl Fault ===

impl Fault {
    /// `None`: no fault has this name.
    pub fn parse(name: &str) -> Option<Self> {
        let (verb, place) = match name.split_once('@') {
            Some((verb, place)) => (verb, Some(place)),
            None => (name, None),
        };
        if let Some(status) = verb.strip_prefix("status-") {
            return Self::parse_status(status);
        }
        if let Some(fault) = Self::parse_alone(verb) {
            return place.is_none().then_some(fault);
        }
        let number = || place?.parse().ok();
        let event = || place?.strip_suffix("ev")?.parse().ok();
        Some(match verb {
            "cut" => Self::Ends(After::parse(place)?, End::Fin),
            "reset" => Self::Ends(After::parse(place)?, End::Reset),
            "stall" => Self::Ends(After::parse(place)?, End::Stall),
            "early" => Self::Ends(After::parse(place)?, End::Early),
            "drip" => Self::Drip {
                bytes_per_second: number()?,
            },
            "redirect" => Self::Redirect {
                port: place?.parse().ok()?,
            },
            "error" => Self::ErrorAt { event: event()? },
            "bad-line" => Self::BadLineAt { event: event()? },
            "utf8-json" => Self::BrokenStructureAt { event: event()? },
            _ => return None,
        })
    }

    fn parse_alone(name: &str) -> Option<Self> {
        let whole = After::Bytes(usize::MAX);
        Some(match name {
            "silent" => Self::Ends(After::Nothing, End::Stall),
            "closing" => Self::Ends(whole, End::WholeThenFin),
            "stale" => Self::Ends(whole, End::WholeThenStale),
            "split" => Self::Split,
            "noise" => Self::Noise,
            "quota" => Self::Quota,
            "html" => Self::Html,
            "garbage" => Self::Garbage,
            "empty" => Self::Empty,
            "error-in-200" => Self::ErrorInBody,
            "first-overloaded" => Self::First(FirstError::Overloaded),
            "first-quota" => Self::First(FirstError::Quota),
            "first-fire" => Self::First(FirstError::Fire),
            "utf8-text" => Self::BrokenText,
            "gzip" => Self::Gzip,
            "gzip-bomb" => Self::GzipBomb,
            "huge-line" => Self::HugeLine,
            "endless-body" => Self::EndlessBody,
            "endless-head" => Self::EndlessHead,
            _ => return None,
        })
    }

    /// `N` or `N-after-W`.
    fn parse_status(text: &str) -> Option<Self> {
        let Some((status, wait)) = text.split_once("-after-") else {
            return Some(Self::Status(text.parse().ok()?, None));
        };
        let wait = match wait.strip_prefix("date-") {
            Some(seconds) => Wait::DateIn {
                seconds: seconds.parse().ok()?,
            },
            None => Wait::Text(wait.to_owned()),
        };
        Some(Self::Status(status.parse().ok()?, Some(wait)))
    }

    /// What becomes of an answer with this fault.
    pub fn apply(self, script: Script) -> Script {
        match self {
            Self::Ends(After::Bytes(usize::MAX), end) => script.ending(end),
            Self::Ends(after, end) => script.cut(after, end),
            Self::Drip { bytes_per_second } => {
                let bytes = bytes_per_second.div_ceil(DRIPS_PER_SECOND);
                let gap = Duration::from_secs(1).mul_f64(bytes as f64 / bytes_per_second.max(1) as f64);
                script.sliced(bytes, gap)
            }
            Self::Split => script.sliced(1, Duration::ZERO),
            Self::Noise => script.preceded_by(NOISE_HEAD, NOISE_HEADS),
            Self::Status(status, wait) => refused(status, wait),
            Self::Quota => said(
                429,
                "insufficient_quota",
                "You exceeded your current quota, please check your plan and billing details.",
            ),
            Self::Redirect { port } => {
                Script::redirect(&format!("http://127.0.0.1:{port}/v1/chat/completions"))
            }
            Self::Html => Script::body(200, "text/html", "<html><body>It works!</body></html>"),
            Self::Garbage => Script::body(200, "application/json", "}{ not json"),
            Self::Empty => Script::body(200, "application/json", ""),
            Self::ErrorInBody => Script::error(200, "server_error", "the engine is on fire"),
            Self::First(FirstError::Overloaded) => said(200, "overloaded", "the engine is overloaded"),
            Self::First(FirstError::Quota) => said(200, "insufficient_quota", "the account is empty"),
            Self::First(FirstError::Fire) => said(200, "server_error", "the engine is on fire"),
            Self::ErrorAt { event } => script.interjecting(event, Interjection::Error),
            Self::BadLineAt { event } => script.interjecting(event, Interjection::Nonsense),
            Self::BrokenStructureAt { event } => script.interjecting(event, Interjection::BrokenStructure),
            Self::BrokenText => script.garbled(),
            Self::Gzip => encoded().flooded(gzip(b"{\"choices\":[]}"), 1),
            Self::GzipBomb => encoded().flooded(gzip(&vec![0; BOMB_PART_BYTES]), BOMB_PARTS),
            Self::HugeLine => Script::stream(["data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\""])
                .flooded(vec![b'x'; MIB], FLOOD_MIBS)
                .ending(End::Stall),
            Self::EndlessBody => Script::stream(["{\"choices\":[{\"message\":{\"content\":\""])
                .typed("application/json")
                .flooded(vec![b'x'; MIB], FLOOD_MIBS)
                .ending(End::Stall),
            Self::EndlessHead => Script::silence()
                .preceded_by("HTTP/1.1 200 OK\r\n", 1)
                .preceded_by(FLOOD_HEADER, FLOOD_MIBS * MIB / FLOOD_HEADER.len()),
        }
    }
}

impl After {
    /// `N` bytes or `Nev` events; nowhere in particular is before the head.
    fn parse(place: Option<&str>) -> Option<Self> {
        let Some(place) = place else {
            return Some(Self::Nothing);
        };
        match place.strip_suffix("ev") {
            Some(events) => Some(Self::Events(events.parse().ok()?)),
            None => Some(Self::Bytes(place.parse().ok()?)),
        }
    }
}

/// An error in the shape of the API that is asked.
fn said(status: u16, kind: &'static str, message: &'static str) -> Script {
    Script::of(Reply::Error {
        status,
        kind,
        message,
        headers: Vec::new(),
    })
}

fn refused(status: u16, wait: Option<Wait>) -> Script {
    let script = said(status, "scripted_error", "scripted failure");
    match wait {
        None => script,
        Some(Wait::Text(text)) => script.header("retry-after", &text),
        Some(Wait::DateIn { seconds }) => {
            let at = std::time::SystemTime::now() + Duration::from_secs(seconds);
            script.header("retry-after", &httpdate::fmt_http_date(at))
        }
    }
}

fn encoded() -> Script {
    Script::stream(Vec::<Bytes>::new())
        .typed("application/json")
        .header("content-encoding", "gzip")
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    // A vector takes whatever is written.
    encoder.write_all(plain).ok();
    encoder.finish().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_understood() {
        for (spellings, _) in SPELLINGS {
            for spelling in spellings.split(", ") {
                let name = spelling
                    .replace("@N", "@3")
                    .replace("-N", "-503")
                    .replace("-W", "-7")
                    .replace("PORT", "9");
                let is_plan = ["plan@SEED", "seldom@SEED"].contains(&&*name);
                assert!(is_plan || Fault::parse(&name).is_some(), "{name}");
            }
        }
    }

    #[test]
    fn what_is_misspelt_is_no_fault() {
        for name in [
            "cut@",
            "cut@3evs",
            "html@3",
            "status-x",
            "bad-line@3",
            "error",
            "",
            "text",
        ] {
            assert_eq!(Fault::parse(name), None, "{name}");
        }
    }

    #[test]
    fn places_are_bytes_or_events() {
        let stall = |after| Some(Fault::Ends(after, End::Stall));
        assert_eq!(Fault::parse("stall"), stall(After::Nothing));
        assert_eq!(Fault::parse("stall@30"), stall(After::Bytes(30)));
        assert_eq!(Fault::parse("stall@3ev"), stall(After::Events(3)));
    }
}
