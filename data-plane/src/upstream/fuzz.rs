//! Any head of an upstream and any of a client: what is read from it, and what of it passes on.

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use bridge_campaign::{Material, Target, check, dice};
use bridge_translate::error::FaultKind;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use rand::RngExt as _;

use super::{
    mask::mask,
    native_head,
    outcome::{Class, Failure},
    retry_after::retry_after,
};
use crate::{
    auth,
    error::Error,
    request_id::RequestId,
    snapshot::{Credential, Endpoint, decode::tests as fixture},
};

const INPUTS: u64 = 5000;
const SECRET: &str = "provider-secret-1";
/// Headers of a connection, and credentials of others.
const NEVER_UP: &[&str] = &[
    "host",
    "connection",
    "cookie",
    "content-length",
    "transfer-encoding",
    "te",
];
const NEVER_DOWN: &[&str] = &[
    "set-cookie",
    "content-length",
    "transfer-encoding",
    "server",
    "x-api-key",
];
const DOWN_MAX: usize = 33;
const WORDS_CHARS_MAX: usize = 510;

const REFUSALS: &[&str] = &[
    "retry-after:7\nx-should-retry:true",
    "retry-after-ms:1500\nretry-after:Wed, 21 Oct 2015 07:28:00 GMT",
    "x-ratelimit-remaining-requests:0\nx-ratelimit-reset-requests:1m2.5s\nx-ratelimit-reset-tokens:120ms",
    "x-ratelimit-reset:1445412480500\nratelimit-reset:3\nx-ratelimit-reset-after:45",
    "retry-after:Wednesday, 21-Oct-15 07:28:00 GMT\nanthropic-ratelimit-requests-reset:2026-01-01T00:00:00Z",
    "content-type:text/event-stream; charset=utf-8\nrequest-id:req_1\ncf-ray:1\nset-cookie:a=b\nserver:nginx",
];
const CLIENTS: &[&str] = &[
    "anthropic-version:2026-10-21\nanthropic-beta:a-1,b-2\nanthropic-beta:c-3\nuser-agent:claude-cli/2.1",
    "x-api-key:sk-bridge-abcDEF012345-0123456789\nauthorization:Bearer sk-ant-own\nhost:bridge\nte:trailers",
    "x-stainless-lang:js\nx-claude-code-session-id:s\nconnection:close, x-app\ncookie:c=1\ncontent-length:3",
];

fn head(input: &[u8]) -> HeaderMap {
    let lines = input.split(|byte| *byte == b'\n').filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        Some((name, HeaderValue::from_bytes(&line[colon + 1..]).ok()?))
    });
    let mut head = HeaderMap::new();
    for (name, value) in lines {
        head.append(name, value);
    }
    head
}

fn check_any(name: &'static str, seeds: &[&str], run: impl Fn(&[u8]) -> Result<()> + Send + 'static) {
    let target = Target {
        name,
        material: Material::Bytes,
        seeds: seeds.iter().map(|seed| seed.as_bytes().to_vec()).collect(),
        run: Box::new(run),
    };
    check(target, INPUTS).unwrap();
}

/// However long it asks to be left alone, the client is told something that clients act well on.
fn refusal(input: &[u8]) -> Result<()> {
    let head = head(input);
    let mut dice = dice(input);
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(dice.random_range(0..1 << 33));
    for (status, kind) in [
        (429, FaultKind::RateLimited),
        (503, FaultKind::Unavailable),
        (529, FaultKind::Overloaded),
        (500, FaultKind::Server),
    ] {
        let wait = retry_after(status, &head, now);
        let failure = Failure {
            retry_after: wait,
            ..Failure::new(Class::Said(kind), "p".into())
        };
        let response = Error::Upstream(failure).into_response(&RequestId::new());
        let told = response.headers().get(header::RETRY_AFTER);
        let Some(told) = told else { continue };
        ensure!(wait.is_some(), "a wait that nobody asked for");
        let seconds: u64 = told.to_str()?.parse()?;
        let is_patient = (1..=60).contains(&seconds);
        let should_retry = response.headers().get("x-should-retry");
        ensure!(
            is_patient || (seconds > 300 && should_retry.is_some_and(|told| told == "false")),
            "a wait that makes clients give up"
        );
    }
    let down = native_head::down(&head);
    ensure!(down.len() <= DOWN_MAX, "more headers than anybody sends");
    ensure!(
        NEVER_DOWN.iter().all(|name| !down.contains_key(*name)),
        "a header that is not the client's"
    );
    Ok(())
}

/// What goes to a provider holds its own credential and nobody's key for us.
fn request(endpoints: &[Endpoint], input: &[u8]) -> Result<()> {
    let head = head(input);
    for endpoint in endpoints {
        let (up, _) = native_head::up(&head, endpoint, &["b-2".to_owned()]);
        for value in up.values() {
            ensure!(
                !auth::holds_our_key(value.as_bytes()),
                "a key of ours goes to a provider"
            );
        }
        ensure!(
            NEVER_UP.iter().all(|name| !up.contains_key(*name)),
            "a header of the connection goes to a provider"
        );
        ensure!(up.contains_key("anthropic-version"), "no version");
        let betas = up.get_all("anthropic-beta").iter();
        let mut betas = betas
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','));
        ensure!(betas.all(|beta| beta.trim() != "b-2"), "an unwanted beta");
        if endpoint.credential == Credential::Configured {
            let own = endpoint.headers.get(header::AUTHORIZATION);
            ensure!(up.get(header::AUTHORIZATION) == own, "another credential");
        }
    }
    Ok(())
}

/// A query keeps what is the client's and loses keys, however they are escaped.
fn query(input: &[u8]) -> Result<()> {
    let Ok(query) = std::str::from_utf8(input) else {
        return Ok(());
    };
    let passed_on = native_head::query(None, Some(query)).unwrap_or_default();
    let pairs = || url::form_urlencoded::parse(passed_on.as_bytes());
    ensure!(
        !pairs().any(|(name, _)| name.eq_ignore_ascii_case("api_key")),
        "a key by its name goes to a provider"
    );
    ensure!(
        !pairs().any(|(name, value)| format!("{name} {value}").contains("sk-bridge-")),
        "a key by its looks goes to a provider"
    );
    let kept = |query: &str| query.split('&').filter(|pair| *pair == "beta=true").count();
    ensure!(kept(query) == kept(&passed_on), "something else is lost");
    Ok(())
}

/// No secret, no address and no control character is shown, and not too much.
fn words(secrets: &[secrecy::SecretString], input: &[u8]) -> Result<()> {
    let shown = mask(&String::from_utf8_lossy(input), secrets);
    ensure!(!shown.contains(SECRET), "a secret is shown");
    ensure!(!shown.contains("://"), "an address is shown");
    ensure!(
        !shown.chars().any(char::is_control),
        "a control character is shown"
    );
    ensure!(shown.chars().count() <= WORDS_CHARS_MAX, "too much is shown");
    Ok(())
}

#[test]
fn fuzz_any_head_of_a_refusal_is_told_so_that_clients_wait_well() {
    check_any("refusal", REFUSALS, refusal);
}

#[test]
fn fuzz_no_head_of_a_client_carries_on_what_is_not_for_the_provider() {
    let endpoints = [Credential::Configured, Credential::Callers].map(|credential| Endpoint {
        credential,
        ..fixture::provider("p", 1, &["m"], &[]).endpoint
    });
    check_any("head", CLIENTS, move |input| request(&endpoints, input));
}

#[test]
fn fuzz_no_query_carries_on_a_key() {
    let seeds = [
        "beta=true&api_key=sk-bridge-abcDEF012345-0123456789",
        "beta=true&API_KEY=x&x=%61pi_key&%61pi_key=1&sk-bridge-=&a=sk%2dbridge-abcDEF012345",
        "a=sk-bridge-&&&beta=true&=&x=SK-BRIDGE-abcDEF012345-0",
    ];
    check_any("query", &seeds, query);
}

#[test]
fn fuzz_no_words_show_a_secret() {
    let secrets = fixture::provider("p", 1, &["m"], &[]).endpoint.secrets;
    let seeds = [
        "Incorrect API key provided: provider-secret-1. See https://example.org/keys?x=1 for help.",
        "Bearer eyJhbGciOiJIUzI1NiJ9.e30.x was refused; sk-proj-0123456789abcdef too",
        "key=\"sk-ant-1\" url=<http://10.0.0.1:8080/v1>; provider-secret-1provider-secret-1\n\n\u{7}",
    ];
    check_any("words", &seeds, move |input| words(&secrets, input));
}
