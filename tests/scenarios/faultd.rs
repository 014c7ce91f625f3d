//! The scripted upstream must be trusted before it can judge anything else.

use std::time::Duration;

use anyhow::Result;
use bridge_tests::faultd::answer::Answer;
use bridge_tests::faultd::plan::{self, Share};
use bridge_tests::faultd::script::{After, End};
use bridge_tests::faultd::tls::{Authority, Handshake};
use bridge_tests::faultd::{Fate, Faultd, Gate, Script};
use serde_json::{Value, json};

/// No answer takes so long that is not held back.
const SILENCE_MAX: Duration = Duration::from_secs(2);

async fn post(upstream: &Faultd, body: Value) -> reqwest::Result<reqwest::Response> {
    let url = format!("{}/chat/completions", upstream.base_url());
    let request = reqwest::Client::new().post(url);
    request.body(body.to_string()).send().await
}

fn ask(model: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "Hello, you."}]})
}

fn ask_stream(model: &str) -> Value {
    let mut body = ask(model);
    body["stream"] = json!(true);
    body["stream_options"] = json!({"include_usage": true});
    body
}

async fn post_for_json(upstream: &Faultd, body: Value) -> Result<Value> {
    Ok(serde_json::from_str(&post(upstream, body).await?.text().await?)?)
}

#[tokio::test]
async fn an_answer_takes_the_form_that_was_asked_for() -> Result<()> {
    let upstream = Faultd::start().await?;
    let plain = post_for_json(&upstream, ask("f-echo")).await?;
    assert_eq!(plain["choices"][0]["message"]["content"], "Hello, you.");

    let stream = post(&upstream, ask_stream("f-echo")).await?.text().await?;
    assert!(stream.contains(r#""delta":{"content":"Hello, y"}"#));
    assert!(stream.contains(r#""prompt_tokens":20"#));
    assert!(stream.ends_with("data: [DONE]\n\n"));
    Ok(())
}

#[tokio::test]
async fn interleaved_calls_take_turns() -> Result<()> {
    let upstream = Faultd::start().await?;
    let answer = Answer::default()
        .tool_call("a", "f", "{}")
        .tool_call("b", "g", "{}");
    upstream.once("m", Script::answer(answer.interleaved()));
    let stream = post(&upstream, ask_stream("m")).await?.text().await?;
    let position = |needle: &str| stream.find(needle).ok_or(anyhow::anyhow!("no {needle}"));
    let (opening_b, arguments_a) = (
        position(r#""id":"b""#)?,
        position(r#"{"tool_calls":[{"function":{"arguments":"{}"},"index":0}]}"#)?,
    );
    assert!(opening_b < arguments_a);
    Ok(())
}

#[tokio::test]
async fn cuts_come_where_they_were_ordered() -> Result<()> {
    let upstream = Faultd::start().await?;
    assert!(post(&upstream, ask("f-cut@10")).await?.text().await.is_err());
    assert!(post(&upstream, ask("f-reset@10")).await?.text().await.is_err());
    let early = post(&upstream, ask_stream("f-early@10")).await?.text().await?;
    assert_eq!(early.len(), 10);

    upstream.once("m", Script::text("x").cut(After::Nothing, End::Fin));
    assert!(post(&upstream, ask("m")).await.is_err());
    Ok(())
}

#[tokio::test]
async fn a_held_event_waits_for_its_gate() -> Result<()> {
    let upstream = Faultd::start().await?;
    let gate = Gate::closed();
    upstream.once("m", Script::text("Hello").hold_after(1, &gate));
    let mut response = post(&upstream, ask_stream("m")).await?;
    let first = response.chunk().await?.unwrap_or_default();
    assert!(!String::from_utf8_lossy(&first).contains("Hello"));
    assert_eq!(upstream.requests_for("m")[0].fate, Fate::Running);
    gate.open();
    assert!(response.text().await?.contains("Hello"));
    Ok(())
}

#[tokio::test]
async fn a_client_that_hangs_up_is_noticed() -> Result<()> {
    let upstream = Faultd::start().await?;
    let response = post(&upstream, ask_stream("f-stall@10")).await?;
    drop(response);
    upstream.wait_for_client_gone("f-stall@10", 0).await?;
    Ok(())
}

#[tokio::test]
async fn scripts_queue_up_and_then_repeat() -> Result<()> {
    let upstream = Faultd::start().await?;
    upstream.once("m", Script::error(503, "overloaded", "later"));
    upstream.always("m", Script::text("Hi"));
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(post(&upstream, ask("m")).await?.status().as_u16());
    }
    assert_eq!(statuses, [503, 200, 200]);
    assert_eq!(upstream.requests_for("m").len(), 3);
    Ok(())
}

#[tokio::test]
async fn failures_of_a_number_come_again_after_each_success() -> Result<()> {
    let upstream = Faultd::start().await?;
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(post(&upstream, ask("f-3-times-503")).await?.status().as_u16());
    }
    assert_eq!(statuses, [503, 503, 503, 200, 503]);
    Ok(())
}

#[tokio::test]
async fn a_window_is_for_prompt_and_answer_together() -> Result<()> {
    let upstream = Faultd::start().await?;
    for server in ["openai", "openrouter", "vllm", "vllm-0.10"] {
        let mut body = ask(&format!("f-window-{server}@1000"));
        body["max_tokens"] = json!(990);
        let refused = post(&upstream, body.clone()).await?;
        assert_eq!(refused.status(), 400, "{server}");
        assert!(
            refused
                .text()
                .await?
                .contains("maximum context length is 1000 tokens")
        );
        body["max_tokens"] = json!(900);
        assert_eq!(post(&upstream, body).await?.status(), 200, "{server}");
    }
    Ok(())
}

#[tokio::test]
async fn an_agent_goes_on_where_its_history_ends() -> Result<()> {
    let upstream = Faultd::start().await?;
    let mut body = ask("f-cc-bash");
    let first = post_for_json(&upstream, body.clone()).await?;
    let turn = first["choices"][0]["message"].clone();
    assert_eq!(turn["tool_calls"][0]["function"]["name"], "Bash");

    let result = json!({"role": "tool", "tool_call_id": "call_0", "content": "ran"});
    body["messages"] = json!([body["messages"][0], turn, result]);
    let second = post_for_json(&upstream, body).await?;
    assert_eq!(second["choices"][0]["message"]["content"], "The tools said: ran");
    Ok(())
}

#[tokio::test]
async fn what_a_model_was_sent_can_be_asked_from_outside() -> Result<()> {
    let upstream = Faultd::start().await?;
    post(&upstream, ask("f-text")).await?;
    post(&upstream, ask("f-echo")).await?;
    let url = format!("{}/requests/f-echo", upstream.base_url());
    let bodies: Value = serde_json::from_str(&reqwest::get(url).await?.text().await?)?;
    assert_eq!(bodies, json!([ask("f-echo")]));
    Ok(())
}

#[tokio::test]
async fn a_fault_can_be_added_to_any_model() -> Result<()> {
    let upstream = Faultd::start().await?;
    let whole = post(&upstream, ask_stream("f-think")).await?.text().await?;
    for harmless in ["split", "noise", "closing", "noise~drip@1000000"] {
        let answered = post(&upstream, ask_stream(&format!("f-think~{harmless}")))
            .await?
            .text()
            .await?;
        assert_eq!(answered.replace(&format!("~{harmless}"), ""), whole, "{harmless}");
    }
    let broken = post(&upstream, ask_stream("f-think~error@2ev"))
        .await?
        .text()
        .await?;
    let third = broken.split("\n\n").nth(2).unwrap_or_default();
    assert!(third.contains("the engine is on fire"), "{third}");

    let refused = post(&upstream, ask("f-status-429-after-7")).await?;
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["retry-after"]),
        (429, &"7".parse()?)
    );
    assert_eq!(post(&upstream, ask("f-text~nothing")).await?.status(), 404);
    Ok(())
}

#[tokio::test]
async fn a_connection_goes_stale_when_it_is_used_again() -> Result<()> {
    let upstream = Faultd::start().await?;
    let url = format!("{}/chat/completions", upstream.base_url());
    let client = reqwest::Client::builder()
        .retry(reqwest::retry::never())
        .build()?;
    let post = |model: &str| client.post(&url).body(ask(model).to_string()).send();
    post("f-stale").await?.text().await?;
    let again = post("f-text").await;
    assert!(again.is_err(), "{again:?}");
    post("f-text").await?.text().await?;
    assert_eq!(upstream.connections_accepted(), 2);
    Ok(())
}

#[tokio::test]
async fn a_plan_is_known_to_who_knows_its_seed() -> Result<()> {
    let upstream = Faultd::start().await?;
    let mut met = 0;
    for request in 0..60 {
        let mut body = ask("f-plan@7");
        body["messages"][0]["content"] = json!(format!("nonce-{request} Hi"));
        let answering = async {
            let response = post(&upstream, body).await.ok()?;
            (response.status() == 200 && response.text().await.is_ok()).then_some(())
        };
        // Who says nothing has not answered.
        let answered = tokio::time::timeout(SILENCE_MAX, answering).await;
        let answered = matches!(answered, Ok(Some(())));
        let planned = plan::draw(Share::All, 7, &request.to_string(), 0);
        met += usize::from(planned.is_some());
        assert!(
            answered || planned.is_some(),
            "request {request} met what was not planned"
        );
    }
    assert!((10..50).contains(&met), "{met} of 60");
    Ok(())
}

#[tokio::test]
async fn a_proxy_passes_on_what_a_server_says_and_breaks_it() -> Result<()> {
    let server = Faultd::start().await?;
    let origin = format!("http://{}", server.address());
    let proxy = Faultd::bind_before("127.0.0.1:0", &origin).await?;
    let direct = post(&server, ask_stream("f-think")).await?.text().await?;
    assert_eq!(post(&proxy, ask_stream("f-think")).await?.text().await?, direct);
    assert_eq!(
        post(&proxy, ask_stream("f-think~split")).await?.text().await?,
        direct
    );
    let early = post(&proxy, ask_stream("f-think~early@3ev"))
        .await?
        .text()
        .await?;
    assert!(
        direct.starts_with(&early) && early.matches("data:").count() == 3,
        "{early}"
    );
    assert!(
        post(&proxy, ask_stream("f-think~cut@3ev"))
            .await?
            .text()
            .await
            .is_err()
    );
    assert_eq!(post(&proxy, ask("f-text~status-503")).await?.status(), 503);
    assert_eq!(
        server.requests_for("f-text").len(),
        0,
        "an answer that nobody waits for"
    );
    let models = reqwest::get(format!("{}/models", proxy.base_url())).await?;
    assert!(models.text().await?.contains("f-text"));
    Ok(())
}

#[tokio::test]
async fn only_a_good_certificate_lets_requests_through() -> Result<()> {
    let authority = Authority::new()?;
    let trusted = reqwest::Certificate::from_pem(authority.pem().as_bytes())?;
    let client = reqwest::Client::builder()
        .tls_certs_only([trusted])
        .connect_timeout(Duration::from_millis(500))
        .build()?;
    for handshake in [
        Handshake::Good,
        Handshake::Expired,
        Handshake::WrongHost,
        Handshake::UnknownAuthority,
        Handshake::Stalls,
        Handshake::Closes,
        Handshake::PlainText,
    ] {
        let upstream = Faultd::start_behind(authority.front(handshake)?).await?;
        let url = format!("{}/chat/completions", upstream.base_url());
        let answered = client.post(url).body(ask("f-text").to_string()).send().await;
        assert_eq!(
            answered.is_ok(),
            handshake == Handshake::Good,
            "{handshake:?}: {answered:?}"
        );
        assert_eq!(
            upstream.requests().len(),
            usize::from(handshake == Handshake::Good)
        );
        assert_eq!(upstream.connections_accepted(), 1, "{handshake:?}");
    }
    Ok(())
}
