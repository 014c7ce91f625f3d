//! Cases 99–102: counting tokens, listing models, and our own thinking on its way back.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bridge_tests::anthropic::{ask, read_answer};
use bridge_tests::faultd::Script;
use reqwest::Method;
use serde_json::{Value, json};

use super::bed::{Bed, saying, thinking, tool, with};
use super::chunks;

async fn count(bed: &Bed, body: &Value) -> Result<u64> {
    let mut body = body.clone();
    let fields = body.as_object_mut().context("a request is an object")?;
    fields.remove("max_tokens");
    let answer = bed
        .client
        .post("/v1/messages/count_tokens?beta=true", body.to_string())
        .await?;
    assert_eq!(answer.status, 200, "{answer:?}");
    let counted = answer.body["input_tokens"].as_u64();
    counted.context("no figure")
}

/// The head of a PNG of this size, and so many bytes of nothing behind it.
fn png(width: u32, height: u32, bytes: usize) -> Value {
    let mut image = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
    image.extend(width.to_be_bytes());
    image.extend(height.to_be_bytes());
    image.extend([8, 6, 0, 0, 0]);
    image.resize(image.len().max(bytes), 0);
    json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": base64(&image)}})
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let padded = [group[0], *group.get(1).unwrap_or(&0), *group.get(2).unwrap_or(&0)];
        let bits = u32::from_be_bytes([0, padded[0], padded[1], padded[2]]);
        for place in 0..4 {
            let digit = (bits >> (18 - 6 * place)) & 63;
            text.push(match place <= group.len() {
                true => char::from(ALPHABET[digit as usize]),
                false => '=',
            });
        }
    }
    text
}

#[tokio::test]
async fn c099_i01_counting_calls_nobody_and_counts_everything() -> Result<()> {
    const WORDS: usize = 23_000;
    let bed = Bed::start().await?;
    let short = ask("haiku", "How many tokens are these?");
    let counted = count(&bed, &short).await?;
    assert_eq!(count(&bed, &short).await?, counted);

    let mut longer = counted;
    let additions = [
        with(short.clone(), "system", json!("Be brief.")),
        with(short.clone(), "tools", json!([tool("f")])),
        saying(json!([
            {"role": "user", "content": "How many tokens are these?"},
            {"role": "assistant", "content": "Some."}, {"role": "user", "content": "More?"},
        ])),
    ];
    for body in additions {
        longer = longer.max(count(&bed, &body).await?);
        assert!(count(&bed, &body).await? > counted, "{body}");
    }

    let hundred_kb = ask(
        "haiku",
        &"The quick brown fox jumps over the lazy dog. ".repeat(2300),
    );
    let started = Instant::now();
    count(&bed, &hundred_kb).await?;
    assert!(
        started.elapsed() < Duration::from_secs(1),
        "{:?}",
        started.elapsed()
    );

    let words = count(&bed, &ask("haiku", &"word ".repeat(WORDS))).await?;
    assert!((18_000..=30_000).contains(&words), "{words}");
    assert_eq!(bed.calls(), 0);
    Ok(())
}

#[tokio::test]
async fn c100_i02_images_count_by_their_size_and_not_by_their_bytes() -> Result<()> {
    let bed = Bed::start().await?;
    let with_image =
        |image: Value| saying(json!([{"role": "user", "content": [image, {"type": "text", "text": "Hi"}]}]));
    let without = count(&bed, &ask("haiku", "Hi")).await?;
    let square = count(&bed, &with_image(png(1000, 1000, 0))).await? - without;
    assert!((1300..=1400).contains(&square), "{square}");
    let large = count(&bed, &with_image(png(4000, 4000, 750_000))).await?;
    assert!(large < 4000, "{large}");
    Ok(())
}

#[tokio::test]
async fn c101_i03_thirteen_counts_at_once() -> Result<()> {
    const CALLS: usize = 13;
    let bed = Bed::start().await?;
    let body = with(ask("haiku", &"word ".repeat(5000)), "tools", json!([tool("f")]));
    let expected = count(&bed, &body).await?;
    let counts = futures_util::future::try_join_all((0..CALLS).map(|_| count(&bed, &body))).await?;
    assert_eq!(counts, [expected; CALLS]);
    assert_eq!(bed.calls(), 0);
    Ok(())
}

#[tokio::test]
async fn c102_v01_the_other_endpoints_have_their_shapes() -> Result<()> {
    let bed = Bed::start().await?;
    let head = reqwest::Client::new()
        .head(format!("{}/", bed.client.base_url()))
        .send()
        .await?;
    assert_eq!(head.status(), 200);
    assert!(head.bytes().await?.is_empty());

    let list = read_answer(
        bed.client
            .request(Method::GET, "/v1/models?limit=1000")
            .send()
            .await?,
    )
    .await?;
    assert_eq!(list.status, 200, "{list:?}");
    let models = list.body["data"].as_array().unwrap();
    assert_eq!(list.body["has_more"], false);
    assert_eq!(list.body["first_id"], models[0]["id"]);
    assert_eq!(list.body["last_id"], models[models.len() - 1]["id"]);
    for model in models {
        assert_eq!(model["type"], "model", "{model}");
        let keys = [
            "display_name",
            "created_at",
            "capabilities",
            "lifecycle",
            "line",
            "max_input_tokens",
            "max_tokens",
            "deprecated_at",
            "retires_at",
        ];
        for key in keys {
            assert!(model.get(key).is_some(), "{key}: {model}");
        }
        let id = model["id"].as_str().unwrap();
        let one = read_answer(
            bed.client
                .request(Method::GET, &format!("/v1/models/{id}"))
                .send()
                .await?,
        )
        .await?;
        assert_eq!((one.status, &one.body["id"]), (200, &model["id"]), "{one:?}");
    }
    let unknown = read_answer(
        bed.client
            .request(Method::GET, "/v1/models/a%2Fb:c")
            .send()
            .await?,
    )
    .await?;
    assert_eq!((unknown.status, unknown.error_type()), (404, "not_found_error"));
    assert!(unknown.error_message().contains("model: a/b:c"), "{unknown:?}");
    Ok(())
}

#[tokio::test]
async fn c102_v02_our_own_thinking_may_come_back() -> Result<()> {
    let bed = Bed::start().await?;
    let said = json!({"role": "assistant", "reasoning_content": "a private thought", "content": "42"});
    let answer = bed
        .whole(chunks::document(&said, "stop"), &thinking(ask("haiku", "Why?")))
        .await?;
    let next = thinking(saying(json!([
        {"role": "user", "content": "Why?"},
        {"role": "assistant", "content": answer["content"]},
        {"role": "user", "content": "And then?"},
    ])));
    let next = bed.ask(Script::text("Fine."), &next).await?;
    assert_eq!(next.status, 200, "{next:?}");
    let sent = bed.last_sent()?;
    assert_eq!(sent["messages"][1], json!({"role": "assistant", "content": "42"}));
    assert!(!sent.to_string().contains("private"), "{sent}");
    Ok(())
}
