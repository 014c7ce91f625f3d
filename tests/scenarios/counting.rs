//! Counting tokens: by whom, how well, and that nobody else pays for it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bridge_proto::admin::v1::Provider;
use bridge_proto::fleet::v1::Dialect;
use bridge_tests::admin;
use bridge_tests::anthropic::{Answer, Client, ask};
use bridge_tests::faultd::answer::{self, Usage};
use bridge_tests::faultd::script::{After, End};
use bridge_tests::faultd::{Faultd, Recorded, Script};
use bridge_tests::stage::{MODEL, Stage};
use bridge_tests::wait;
use futures_util::future::try_join_all;
use serde_json::{Value, json};

/// A provider that is asked to count for its model, beside the one of the stage.
struct Counting {
    stage: Stage,
    upstream: Faultd,
}

const COUNTED: &str = "counted";

impl Counting {
    async fn start(scripts: &[(&str, Script)]) -> Result<Self> {
        let stage = Stage::start().await?;
        let upstream = Faultd::start().await?;
        for (path, script) in scripts {
            upstream.at_path(path, script.clone());
        }
        let provider = Provider {
            priority: 2,
            dialect_overrides: Some(Dialect {
                tokenizer: Some("upstream".to_owned()),
                ..Dialect::default()
            }),
            ..admin::provider("counting", &upstream.base_url(), COUNTED)
        };
        Box::pin(stage.admin.create_provider(provider)).await?;
        stage.settle().await?;
        Ok(Self { stage, upstream })
    }

    fn paths(&self) -> Vec<String> {
        let seen = self.upstream.requests();
        seen.into_iter().map(|Recorded { path, .. }| path).collect()
    }

    fn last(&self) -> Result<Recorded> {
        self.upstream.requests().pop().context("nobody was asked")
    }
}

fn prompt(model: &str, words: usize) -> Value {
    ask(model, &"word ".repeat(words))
}

async fn post(client: &Client, body: &Value) -> Result<Answer> {
    client.post("/v1/messages/count_tokens", body.to_string()).await
}

async fn count(client: &Client, body: &Value) -> Result<u64> {
    let answer = post(client, body).await?;
    answer.body["input_tokens"]
        .as_u64()
        .with_context(|| format!("{answer:?}"))
}

fn json_body(value: &Value) -> Script {
    Script::body(200, "application/json", value.to_string())
}

#[tokio::test]
async fn a_server_that_tokenises_conversations_is_asked() -> Result<()> {
    let told = json_body(&json!({"count": 4711, "tokens": [1, 2]}));
    let counting = Counting::start(&[("/tokenize", told)]).await?;
    let mut body = prompt(COUNTED, 3);
    body["tools"] = json!([{"name": "f", "input_schema": {"type": "object"}}]);
    assert_eq!(count(&counting.stage.client()?, &body).await?, 4711);
    let seen = counting.last()?;
    let sent = seen.json()?;
    let sent = sent.as_object().context("no object")?;
    let keys: Vec<_> = sent.keys().map(String::as_str).collect();
    assert_eq!(keys, ["messages", "model", "tools"]);
    assert!(seen.header("authorization").is_some());
    Ok(())
}

#[tokio::test]
async fn a_server_that_tokenises_texts_is_asked_for_the_text_first() -> Result<()> {
    let counting = Counting::start(&[
        (
            "/apply-template",
            json_body(&json!({"prompt": "<user>word word"})),
        ),
        ("/tokenize", json_body(&json!({"tokens": [1, 2, 3, 4, 5]}))),
    ])
    .await?;
    assert_eq!(count(&counting.stage.client()?, &prompt(COUNTED, 2)).await?, 5);
    assert_eq!(counting.paths(), ["/tokenize", "/apply-template", "/tokenize"]);
    assert_eq!(counting.last()?.json()?["content"], "<user>word word");
    Ok(())
}

#[tokio::test]
async fn a_server_that_cannot_count_is_left_alone() -> Result<()> {
    let broken = [
        Script::error(404, "not_found", "no such path"),
        json_body(&json!({"tokens": "many"})),
        Script::text("x").cut(After::Nothing, End::Reset),
    ];
    for script in broken {
        let counting = Counting::start(&[("/tokenize", script)]).await?;
        let client = counting.stage.client()?;
        let by_ourselves = count(&client, &prompt(MODEL, 300)).await?;
        for _ in 0..3 {
            assert_eq!(count(&client, &prompt(COUNTED, 300)).await?, by_ourselves);
        }
        assert_eq!(counting.paths(), ["/tokenize"]);
    }
    Ok(())
}

#[tokio::test]
async fn a_silent_tokenizer_costs_two_seconds_once() -> Result<()> {
    let counting = Counting::start(&[("/tokenize", Script::silence())]).await?;
    let client = counting.stage.client()?;
    let started = Instant::now();
    count(&client, &prompt(COUNTED, 3)).await?;
    assert!(started.elapsed() >= Duration::from_secs(2));
    count(&client, &prompt(COUNTED, 3)).await?;
    assert_eq!(counting.paths(), ["/tokenize"]);
    Ok(())
}

#[tokio::test]
async fn p56_counts_learn_from_what_the_upstream_counts() -> Result<()> {
    let stage = Stage::start().await?;
    let client = stage.client()?;
    let body = prompt("haiku", 2000);
    let before = count(&client, &body).await?;
    let real = before * 2;
    let usage = Usage {
        prompt_tokens: real,
        cached_tokens: 1000,
        completion_tokens: 5,
    };
    let script = Script::answer(answer::Answer::text("Hello").usage(usage));
    stage.upstream.always(MODEL, script);
    // Samples are taken once the tokenizer is loaded, in the background.
    let after = wait::until("a count that has learnt", || async {
        client.messages(&body).await.ok()?;
        let now = count(&client, &body).await.ok()?;
        (now != before).then_some(now)
    })
    .await?;
    assert!(after.abs_diff(real) <= 2, "{before} became {after}, not {real}");

    // The estimate at the head of a stream has learnt too.
    let mut stream = client.stream(&body).await?;
    let start = stream.next_of("message_start").await?;
    let usage = &start.payload["message"]["usage"];
    let told: u64 = [
        "input_tokens",
        "cache_read_input_tokens",
        "cache_creation_input_tokens",
    ]
    .iter()
    .filter_map(|class| usage[class].as_u64())
    .sum();
    assert!(told.abs_diff(real) <= real / 50, "{told} is not {real}");
    Ok(())
}

#[tokio::test]
async fn p57_a_storm_of_counts_calls_nobody_and_hurts_nobody() -> Result<()> {
    let stage = Stage::start().await?;
    stage.upstream.always(MODEL, Script::text("Hello"));
    let client = stage.client()?;
    let body = prompt("haiku", 20_000);
    assert_eq!(body.to_string().len() / 1000, 100);
    count(&client, &body).await?;
    let started = Instant::now();
    let counts = try_join_all((0..13).map(|_| count(&client, &body))).await?;
    println!("figure: 13 counts of 100 KB at once: {:?}", started.elapsed());
    assert!(counts.iter().all(|tokens| *tokens == counts[0]));
    assert!(stage.upstream.requests().is_empty());
    assert_eq!(client.messages(&ask("haiku", "Hi")).await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn i01_counts_are_judged_like_messages() -> Result<()> {
    let stage = Stage::start().await?;
    let client = stage.client()?;
    let unknown = post(&client, &ask("gpt-unheard-of", "Hi")).await?;
    assert_eq!((unknown.status, unknown.error_type()), (404, "not_found_error"));
    let wrong = client
        .post("/v1/messages/count_tokens", r#"{"model":"haiku"}"#)
        .await?;
    assert_eq!((wrong.status, wrong.error_type()), (400, "invalid_request_error"));
    let nobody = stage.client()?.without_key();
    assert_eq!(post(&nobody, &ask("haiku", "Hi")).await?.status, 401);
    Ok(())
}
