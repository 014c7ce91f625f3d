//! Request bodies that come encoded.

use std::io::Write;

use anyhow::Result;
use bridge_tests::anthropic::{Answer, Client, ask, read_answer};
use bridge_tests::faultd::Script;
use bridge_tests::stage::{MODEL, Stage};
use flate2::{Compression, write::GzEncoder};
use reqwest::Method;

fn gzip(plain: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain)?;
    Ok(encoder.finish()?)
}

async fn post(client: &Client, encoding: &str, body: Vec<u8>) -> Result<Answer> {
    let request = client.request(Method::POST, "/v1/messages");
    let request = request.header("content-encoding", encoding);
    read_answer(request.body(body).send().await?).await
}

#[tokio::test]
async fn r19_an_encoded_body_is_read_like_a_plain_one() -> Result<()> {
    let stage = Stage::start().await?;
    let client = stage.client()?;
    stage.upstream.always(MODEL, Script::echo());
    let plain = ask("haiku", "Bonjour").to_string().into_bytes();
    let zstd = ruzstd::encoding::compress_to_vec(&plain[..], ruzstd::encoding::CompressionLevel::Fastest);
    for (encoding, body) in [
        ("gzip", gzip(&plain)?),
        ("zstd", zstd),
        ("identity", plain.clone()),
    ] {
        let answer = post(&client, encoding, body).await?;
        assert_eq!(answer.text(), "Bonjour", "{encoding}: {answer:?}");
    }
    Ok(())
}

#[tokio::test]
async fn r19_what_cannot_be_decoded_says_why() -> Result<()> {
    let stage = Stage::start().await?;
    let client = stage.client()?;
    let plain = ask("haiku", "Hi").to_string().into_bytes();
    let bomb = gzip(&vec![b' '; 33 << 20])?;
    assert!(bomb.len() < 64 << 10);
    for (encoding, body, status, kind, code) in [
        (
            "rot13",
            plain.clone(),
            400,
            "invalid_request_error",
            "request_body_encoding_unsupported",
        ),
        (
            "gzip",
            plain.clone(),
            400,
            "invalid_request_error",
            "request_body_encoding_invalid",
        ),
        (
            "zstd",
            plain,
            400,
            "invalid_request_error",
            "request_body_encoding_invalid",
        ),
        (
            "gzip",
            bomb,
            413,
            "request_too_large",
            "request_body_too_large_after_decoding",
        ),
    ] {
        let answer = post(&client, encoding, body).await?;
        assert_eq!((answer.status, answer.error_type()), (status, kind), "{answer:?}");
        assert_eq!(answer.body["error"]["details"]["error_code"], code, "{answer:?}");
        assert_eq!(answer.header("x-should-retry"), Some("false"));
    }
    assert!(stage.upstream.requests().is_empty());
    Ok(())
}
