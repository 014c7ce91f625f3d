//! Which headers of a client reach a provider that speaks its API, and which of the
//! provider's reach the client.
//!
//! Both ways by a list of what passes, so that nothing of a connection, of a proxy or of
//! another party's credentials travels on by accident.

use bridge_translate::{LossList, native};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use url::form_urlencoded;

use crate::{
    auth,
    snapshot::{Credential, Endpoint},
};

const BETA: HeaderName = HeaderName::from_static("anthropic-beta");
const VERSION: HeaderName = HeaderName::from_static("anthropic-version");
const VERSION_DEFAULT: HeaderValue = HeaderValue::from_static("2023-06-01");
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// What of the client's passes. A `*` at the end stands for anything.
const UP: [&str; 12] = [
    "accept",
    "anthropic-beta",
    "anthropic-dangerous-direct-browser-access",
    "anthropic-user-profile-id",
    "anthropic-version",
    "anthropic-workspace-id",
    "idempotency-key",
    "traceparent",
    "user-agent",
    "x-app",
    "x-claude-code-*",
    "x-stainless-*",
];
/// What of the provider's passes.
const DOWN: [&str; 2] = ["anthropic-*", "cf-ray"];
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
/// `request-id` is ours.
const UPSTREAM_REQUEST_ID: HeaderName = HeaderName::from_static("x-bridge-upstream-request-id");
/// More headers than any provider sends are not passed on.
const DOWN_MAX: usize = 32;

/// The head of a call, and the betas that it loses.
pub(crate) fn up(
    client: &HeaderMap,
    endpoint: &Endpoint,
    unwanted_betas: &[String],
) -> (HeaderMap, LossList) {
    let mut headers = HeaderMap::new();
    let passing = client
        .iter()
        .filter(|(name, value)| passes(&UP, name) && !auth::holds_our_key(value.as_bytes()));
    for (name, value) in passing {
        headers.append(name, value.clone());
    }
    if endpoint.credential == Credential::Callers {
        for name in [X_API_KEY, header::AUTHORIZATION] {
            let foreign = client
                .get(&name)
                .filter(|value| !auth::holds_our_key(value.as_bytes()));
            if let Some(value) = foreign {
                let mut value = value.clone();
                value.set_sensitive(true);
                headers.insert(name, value);
            }
        }
    }
    for (name, value) in &endpoint.headers {
        match *name == BETA {
            // Features that an admin asks for come on top of the client's.
            true => headers.append(name, value.clone()),
            false => headers.insert(name, value.clone()).is_some(),
        };
    }
    headers.entry(VERSION).or_insert(VERSION_DEFAULT);
    let losses = strip_betas(&mut headers, unwanted_betas);
    (headers, losses)
}

/// The query of a call: the provider's own, and of the client's what is no key and nothing that
/// the provider's says already.
pub(crate) fn query(own: Option<&str>, client: Option<&str>) -> Option<String> {
    let names = |query: &str| -> Vec<String> {
        let pairs = form_urlencoded::parse(query.as_bytes());
        pairs.map(|(name, _)| name.into_owned()).collect()
    };
    let said = own.map(names).unwrap_or_default();
    let is_said = |pair: &str| names(pair).iter().any(|name| said.contains(name));
    let passing = client
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty() && !auth::is_key_in_query(pair) && !is_said(pair));
    let pairs: Vec<_> = own.into_iter().chain(passing).collect();
    (!pairs.is_empty()).then(|| pairs.join("&"))
}

/// What the client sees of an answer's head.
pub(crate) fn down(upstream: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let passing = upstream.iter().filter(|(name, _)| passes(&DOWN, name));
    for (name, value) in passing.take(DOWN_MAX) {
        headers.append(name, value.clone());
    }
    if let Some(id) = upstream.get(REQUEST_ID) {
        headers.insert(UPSTREAM_REQUEST_ID, id.clone());
    }
    headers
}

fn strip_betas(headers: &mut HeaderMap, unwanted: &[String]) -> LossList {
    let betas: Vec<&str> = headers
        .get_all(BETA)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    let Some((kept, losses)) = native::strip_betas(betas.into_iter(), unwanted) else {
        return LossList::default();
    };
    headers.remove(BETA);
    if let Ok(value) = HeaderValue::from_str(&kept)
        && !kept.is_empty()
    {
        headers.insert(BETA, value);
    }
    losses
}

fn passes(list: &[&str], name: &HeaderName) -> bool {
    list.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(start) => name.as_str().starts_with(start),
        None => name == *pattern,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::decode::tests as fixture;

    const OURS: &str = "sk-bridge-abcDEF012345-0123456789";

    fn endpoint(credential: Credential, headers: &[(&'static str, &'static str)]) -> Endpoint {
        let mut endpoint = fixture::provider("p", 1, &["m"], &[]).endpoint;
        endpoint.credential = credential;
        endpoint.headers = map(headers);
        endpoint
    }

    fn map(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        let entry = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        headers.iter().map(entry).collect()
    }

    fn check(head: &HeaderMap, expect: &[(&str, &str)]) {
        let mut have: Vec<_> = head
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        have.sort_unstable();
        assert_eq!(have, expect);
    }

    #[test]
    fn a_key_of_ours_goes_to_nobody_whatever_header_it_stands_in() {
        let client = map(&[("user-agent", OURS), ("x-app", "cli"), ("idempotency-key", OURS)]);
        let (head, _) = up(&client, &endpoint(Credential::Configured, &[]), &[]);
        check(&head, &[("anthropic-version", "2023-06-01"), ("x-app", "cli")]);
    }

    #[test]
    fn what_the_api_knows_passes_and_nothing_else() {
        let client = map(&[
            ("anthropic-version", "2026-10-21"),
            ("anthropic-beta", "a,b"),
            ("user-agent", "claude-cli/2.1"),
            ("x-stainless-lang", "js"),
            ("x-claude-code-session-id", "s"),
            ("host", "bridge"),
            ("connection", "close, x-app"),
            ("cookie", "c=1"),
            ("accept-encoding", "gzip"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-api-key", OURS),
            ("authorization", "Bearer other"),
        ]);
        let endpoint = endpoint(
            Credential::Configured,
            &[
                ("x-api-key", "theirs"),
                ("accept-encoding", "identity"),
                ("anthropic-beta", "c"),
            ],
        );
        let (head, losses) = up(&client, &endpoint, &[]);
        let expect = [
            ("accept-encoding", "identity"),
            ("anthropic-beta", "a,b"),
            ("anthropic-beta", "c"),
            ("anthropic-version", "2026-10-21"),
            ("user-agent", "claude-cli/2.1"),
            ("x-api-key", "theirs"),
            ("x-claude-code-session-id", "s"),
            ("x-stainless-lang", "js"),
        ];
        check(&head, &expect);
        assert!(losses.is_empty());
        let (head, losses) = up(&client, &endpoint, &["a".to_owned(), "c".to_owned()]);
        assert_eq!(head.get_all(BETA).iter().collect::<Vec<_>>(), ["b"]);
        assert_eq!(losses.header().unwrap(), "anthropic-beta.a, anthropic-beta.c");
    }

    #[test]
    fn a_version_is_always_told() {
        let (head, _) = up(&HeaderMap::new(), &endpoint(Credential::Configured, &[]), &[]);
        check(&head, &[("anthropic-version", "2023-06-01")]);
    }

    #[test]
    fn the_callers_own_credential_passes_and_our_key_never() {
        let endpoint = endpoint(Credential::Callers, &[]);
        let rows = [
            (
                vec![("x-api-key", OURS), ("authorization", "Bearer sk-ant-1")],
                vec!["authorization"],
            ),
            (
                vec![
                    ("x-api-key", "sk-ant-1"),
                    ("authorization", "Bearer sk-bridge-abc"),
                ],
                vec!["x-api-key"],
            ),
            (
                vec![("x-api-key", OURS), ("authorization", "bearer  SK-Bridge-x")],
                vec![],
            ),
            (vec![("authorization", "Bearer sk-bridge-abc")], vec![]),
        ];
        for (client, expect) in rows {
            let (head, _) = up(&map(&client), &endpoint, &[]);
            let credentials: Vec<_> = ["x-api-key", "authorization"]
                .into_iter()
                .filter(|name| head.contains_key(*name))
                .collect();
            assert_eq!(credentials, expect, "{client:?}");
        }
    }

    #[test]
    fn a_query_passes_without_keys() {
        let rows = [
            (None, None),
            (Some(""), None),
            (Some("beta=true"), Some("beta=true")),
            (Some("beta=true&api_key=x&a"), Some("beta=true&a")),
            (Some("api%5Fkey=x"), None),
            (Some("k=sk%2Dbridge%2Dx&b=1"), Some("b=1")),
        ];
        for (client, expect) in rows {
            assert_eq!(query(None, client).as_deref(), expect, "{client:?}");
        }
    }

    #[test]
    fn what_a_provider_needs_in_its_query_stays_whatever_the_client_says() {
        let own = Some("api-version=1&x");
        for (client, expect) in [
            (None, "api-version=1&x"),
            (Some("beta=true"), "api-version=1&x&beta=true"),
            (Some("api%2Dversion=2&x=3&api_key=k"), "api-version=1&x"),
        ] {
            assert_eq!(query(own, client).as_deref(), Some(expect), "{client:?}");
        }
    }

    #[test]
    fn limits_and_the_providers_request_id_come_back() {
        let upstream = map(&[
            ("anthropic-ratelimit-requests-remaining", "7"),
            ("request-id", "req_theirs"),
            ("cf-ray", "r"),
            ("set-cookie", "c=1"),
            ("server", "cloudflare"),
            ("alt-svc", "h3"),
            ("transfer-encoding", "chunked"),
        ]);
        let expect = [
            ("anthropic-ratelimit-requests-remaining", "7"),
            ("cf-ray", "r"),
            ("x-bridge-upstream-request-id", "req_theirs"),
        ];
        check(&down(&upstream), &expect);
    }
}
