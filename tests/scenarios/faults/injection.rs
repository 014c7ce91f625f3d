//! Row 34: names that would write a header or a URL, from clients and from admins.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use bridge_proto::admin::v1::{CreateProviderRequest, Provider, ProviderSecrets, TierModels};
use bridge_proto::fleet::v1::Dialect;
use bridge_tests::admin::{self, upstream};
use bridge_tests::anthropic::ask;
use bridge_tests::faultd::{Recorded, Script};
use bridge_tests::stage::{MODEL, Stage};
use reqwest::Method;
use tonic::{Code, Status};

/// Set by nobody who does not break out of where a name belongs.
const EVIL: &str = "x-evil";
/// What follows a name so that it leads somewhere.
const TAILS: [&str; 14] = [
    "\r\nx-evil: 1",
    "\r\n\r\nGET /admin HTTP/1.1\r\nx-evil: 1\r\n\r\n",
    "\nx-evil: 1",
    "\0",
    " with words",
    "%0d%0ax-evil:%201",
    "/../../admin",
    "/..%2f..%2fadmin",
    "?key=1#x",
    "@evil.example/",
    "://evil.example",
    "\",\"stream\":true,\"x\":\"",
    "\u{2028}\u{202e}模型",
    "{model}",
];

/// A provider that has models in the body, one that has them in the path, and rules that keep the
/// names they are asked for.
async fn open_to_any_name() -> Result<Stage> {
    let stage = Stage::without_memory().await?;
    let deployed = Provider {
        dialect_overrides: Some(Dialect {
            url_template: Some("/deployments/{model}/chat?api-version=1".to_owned()),
            ..Dialect::default()
        }),
        ..admin::provider("deployed", &stage.upstream.base_url(), "d")
    };
    stage.admin.create_provider(deployed).await?;
    for (pattern, provider) in [("body*", "scripted"), ("path*", "deployed")] {
        stage.admin.create_rule(pattern, upstream(provider, "*")).await?;
    }
    stage.settle().await?;
    Ok(stage)
}

fn check_call(call: &Recorded, provider: &str, model: &str) -> Result<()> {
    ensure!(call.method == "POST" && call.header(EVIL).is_none(), "{call:?}");
    let body = call.json()?;
    ensure!(body["model"] == model, "{body}");
    ensure!(body.get("x").is_none(), "{body}");
    let (path, query) = call.path.split_once('?').unwrap_or((&call.path, ""));
    let segments: Vec<&str> = path.split('/').collect();
    match provider {
        "path" => ensure!(
            matches!(segments[..], ["", "v1", "deployments", _, "chat"]) && query == "api-version=1",
            "{call:?}"
        ),
        _ => ensure!(path == "/v1/chat/completions" && query.is_empty(), "{call:?}"),
    }
    Ok(())
}

#[tokio::test]
async fn r34_no_name_of_a_client_becomes_a_header_or_a_url() -> Result<()> {
    let stage = open_to_any_name().await?;
    let client = stage.client()?;
    let mut served = 0;
    for (provider, tail) in ["body", "path"]
        .into_iter()
        .flat_map(|provider| TAILS.map(|tail| (provider, tail)))
    {
        let name = format!("{provider}{tail}");
        // White space around a name does not belong to it.
        let asked = name.trim();
        stage.upstream.always(asked, Script::text("Hi"));
        let before = stage.upstream.requests().len();
        let answer = client.messages(&ask(&name, "Hi")).await?;
        ensure!([200, 400, 404].contains(&answer.status), "{name:?}: {answer:?}");
        ensure!(answer.header(EVIL).is_none(), "{name:?}: {answer:?}");
        let calls = stage.upstream.requests().split_off(before);
        match answer.status {
            200 => {
                served += 1;
                ensure!(answer.body["model"] == *name, "{answer:?}");
                let [call] = &calls[..] else {
                    anyhow::bail!("{name:?} led to {} calls", calls.len())
                };
                check_call(call, provider, asked).with_context(|| format!("{name:?}"))?;
                let transcript = client.stream_to_end(&ask(&name, "Hi")).await?;
                ensure!(transcript.message["model"] == *name, "{transcript:?}");
            }
            _ => ensure!(calls.is_empty(), "{name:?} is refused after a call"),
        }
    }
    ensure!(served > TAILS.len(), "only {served} names were served");
    for path in [
        "/v1/models/x%0d%0ax-evil:%201",
        "/v1/models/..%2f..%2fhealth%0d%0ax-evil:1",
        "/v1/x%0d%0ax-evil:1",
    ] {
        let answer = client.request(Method::GET, path).send().await?;
        ensure!(
            answer.status() == 404 && answer.headers().get(EVIL).is_none(),
            "{answer:?}"
        );
    }
    Ok(())
}

/// What an admin may have pasted, each wrong in one place.
fn wrong_providers(sound: &Provider) -> Vec<(&'static str, Provider, ProviderSecrets)> {
    let secrets = |key: &str, headers: &[(&str, &str)]| ProviderSecrets {
        api_key: key.to_owned(),
        custom_headers: headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect::<HashMap<_, _>>(),
    };
    let with_url = |base_url: &str| Provider {
        base_url: base_url.to_owned(),
        ..sound.clone()
    };
    let with_template = |template: &str| Provider {
        dialect_overrides: Some(Dialect {
            url_template: Some(template.to_owned()),
            ..Dialect::default()
        }),
        ..sound.clone()
    };
    let good = || secrets("sk-good", &[]);
    vec![
        (
            "name",
            Provider {
                name: "a\r\nx-evil: 1".to_owned(),
                ..sound.clone()
            },
            good(),
        ),
        (
            "line break in URL",
            with_url("http://127.0.0.1:1/v1\r\nx-evil: 1"),
            good(),
        ),
        ("user in URL", with_url("http://me:secret@127.0.0.1:1/v1"), good()),
        ("fragment in URL", with_url("http://127.0.0.1:1/v1#x"), good()),
        ("scheme", with_url("file:///etc/passwd"), good()),
        (
            "model",
            Provider {
                models: Some(TierModels {
                    small: vec!["m\r\nx-evil: 1".to_owned()],
                    ..TierModels::default()
                }),
                ..sound.clone()
            },
            good(),
        ),
        (
            "template to elsewhere",
            with_template("http://evil.example/{model}"),
            good(),
        ),
        ("template with a fragment", with_template("/{model}#x"), good()),
        ("key", sound.clone(), secrets("sk-a\r\nx-evil: 1", &[])),
        (
            "header value",
            sound.clone(),
            secrets("sk-good", &[("x-a", "b\r\nx-evil: 1")]),
        ),
        (
            "header name",
            sound.clone(),
            secrets("sk-good", &[("x-a\r\nx-evil", "b")]),
        ),
        (
            "header of framing",
            sound.clone(),
            secrets("sk-good", &[("content-length", "1")]),
        ),
        (
            "header of the connection",
            sound.clone(),
            secrets("sk-good", &[("connection", "x")]),
        ),
        (
            "host",
            sound.clone(),
            secrets("sk-good", &[("host", "evil.example")]),
        ),
    ]
}

fn is_refused<T>(what: &str, told: Result<T, Status>) -> Result<()> {
    let code = told.err().map(|status| status.code());
    ensure!(code == Some(Code::InvalidArgument), "{what}: {code:?}");
    Ok(())
}

#[tokio::test]
async fn r34_what_could_inject_is_refused_when_it_is_configured() -> Result<()> {
    let stage = Stage::start().await?;
    let sound = admin::provider("sound", "http://127.0.0.1:1/v1", MODEL);
    for (what, provider, secrets) in wrong_providers(&sound) {
        let request = CreateProviderRequest {
            provider: Some(provider),
            secrets: Some(secrets),
            idempotency_key: String::new(),
        };
        is_refused(what, stage.admin.providers().create_provider(request).await)?;
    }
    for name in ["a\r\nx-evil: 1", "a\0", "a\u{1b}[2J"] {
        let created = stage.admin.create_key(name).await;
        let status = created
            .err()
            .context("a key has such a name")?
            .downcast::<Status>()?;
        is_refused::<()>(name, Err(status))?;
    }
    for (pattern, model) in [
        ("a\r\nb", "m"),
        ("a b", "m"),
        ("a", "m\r\nx-evil: 1"),
        ("a", "m\"n"),
    ] {
        let created = stage
            .admin
            .create_rule(pattern, upstream("scripted", model))
            .await;
        let status = created
            .err()
            .context("a rule has such a name")?
            .downcast::<Status>()?;
        is_refused::<()>(pattern, Err(status))?;
    }
    stage.admin.create_provider(sound).await?;
    Ok(())
}
