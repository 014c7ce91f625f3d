//! Any head and query: whoever gets in brought a key that is there, whole, where keys may stand.

use std::time::Duration;

use anyhow::{Result, ensure};
use bridge_campaign::{Material, Target, check};
use http::{HeaderName, HeaderValue};

use super::{tests::key, *};
use crate::snapshot::decode::tests::snapshot;

const INPUTS: u64 = 5000;
/// In the snapshot, good, until then good, and of an algorithm that nobody knows.
const IDS: [&str; 4] = ["abcDEF012345", "zzzzzzzzzzzz", "expires00000", "algorithm000"];
const NOW: Duration = Duration::from_secs(1_999);
const LATER: Duration = Duration::from_secs(2_000);
/// Of `IDS`, how many are good at the two instants.
const GOOD: [(Duration, &[usize]); 2] = [(NOW, &[0, 1, 2]), (LATER, &[0, 1])];

/// Lines of a head; the last one is the query.
fn read(input: &[u8]) -> (HeaderMap, Option<&str>) {
    let (head, query) = match input.iter().rposition(|byte| *byte == b'\n') {
        Some(at) => (&input[..at], &input[at + 1..]),
        None => (&b""[..], input),
    };
    let lines = head.split(|byte| *byte == b'\n').filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        Some((name, HeaderValue::from_bytes(&line[colon + 1..]).ok()?))
    });
    let query = std::str::from_utf8(query).ok().filter(|query| !query.is_empty());
    (lines.collect(), query)
}

fn holds(bytes: &[u8], key: &str) -> bool {
    bytes.windows(key.len()).any(|window| window == key.as_bytes())
}

/// Whether the header is this key and nothing else, told without the parser.
fn is_exactly(value: Option<&HeaderValue>, before: &str, key: &str) -> bool {
    value.is_some_and(|value| value.as_bytes() == format!("{before}{key}").as_bytes())
}

fn run(snapshot: &Snapshot, keys: &[String], input: &[u8]) -> Result<()> {
    let (headers, query) = read(input);
    for (now, good) in GOOD {
        let now = SystemTime::UNIX_EPOCH + now;
        let caller = authenticate(snapshot, &headers, query, now);
        if let Ok(Caller { key, is_by_query }) = &caller {
            let is_there = good.iter().any(|at| {
                let is_its_own = key.id.as_bytes() == IDS[*at].as_bytes();
                is_its_own && holds(input, &keys[*at])
            });
            ensure!(is_there, "somebody got in without a key");
            let has_header = headers.contains_key(API_KEY_HEADER);
            ensure!(!(*is_by_query && has_header), "the query counted beside a header");
        }
        let is_owed = good.iter().any(|at| {
            let key = &keys[*at];
            is_exactly(headers.get(API_KEY_HEADER), "", key)
                || is_exactly(headers.get(header::AUTHORIZATION), "Bearer ", key)
        });
        ensure!(!is_owed || caller.is_ok(), "a good key was refused");
    }
    Ok(())
}

#[test]
fn fuzz_nobody_gets_in_without_a_key() {
    let snapshot = snapshot();
    let keys = IDS.map(|id| key(id).0);
    let [one, other, expiring, unknown] = &keys;
    let seeds = vec![
        format!("x-api-key:{one}\n"),
        format!("authorization:Bearer {other}\n"),
        format!("x-api-key:{expiring}\nauthorization:bearer {unknown}\nbeta=true"),
        format!("accept:*/*\nbeta=true&api_key={one}"),
        format!("x-api-key: {unknown}\t\napi_key={other}&API_KEY={one}&x=%61pi_key"),
    ];
    let target = Target {
        name: "key",
        material: Material::Bytes,
        seeds: seeds.into_iter().map(String::into_bytes).collect(),
        run: Box::new(move |input| run(&snapshot, &keys, input)),
    };
    check(target, INPUTS).unwrap();
}
