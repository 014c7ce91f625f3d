//! The subcommand `translate`, run as a person or a script runs it.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use bridge_tests::process::binary;
use bridge_tests::sse::{Event, Judge};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

struct Run {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Run {
    fn json(&self) -> Result<Value> {
        assert_eq!(self.code, Some(0), "{}", self.err);
        assert_eq!(self.err, "");
        serde_json::from_str(&self.out).context("standard output is no JSON")
    }
}

fn translate(flags: &[&str], input: &str) -> Result<Run> {
    let mut child = Command::new(binary("bridge-data-plane")?)
        .arg("translate")
        .args(flags)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    // A run that refuses its flags does not read.
    child
        .stdin
        .take()
        .context("no standard input")?
        .write_all(input.as_bytes())
        .ok();
    let output = child.wait_with_output()?;
    Ok(Run {
        code: output.status.code(),
        out: String::from_utf8(output.stdout)?,
        err: String::from_utf8(output.stderr)?,
    })
}

fn request() -> Value {
    json!({
        "model": "claude-sonnet-5", "max_tokens": 50, "top_k": 5,
        "messages": [{"role": "user", "content": "Bonjour"}],
    })
}

/// A file that is gone with its handle.
fn file(text: &str) -> Result<NamedTempFile> {
    let mut file = NamedTempFile::new()?;
    file.write_all(text.as_bytes())?;
    Ok(file)
}

fn path(file: &NamedTempFile) -> Result<&str> {
    file.path().to_str().context("the path is no text")
}

#[test]
fn a_request_becomes_the_upstreams_with_what_is_lost() -> Result<()> {
    let told = translate(&["--model", "m"], &request().to_string())?.json()?;
    assert_eq!(told["dialect"], "generic");
    assert_eq!(
        told["upstream"],
        json!({"model": "m", "messages": [{"role": "user", "content": "Bonjour"}], "max_tokens": 100})
    );
    assert_eq!(told["losses"][0]["path"], "top_k");
    assert!(
        !told["losses"][0]["reason"]
            .as_str()
            .unwrap_or_default()
            .is_empty()
    );
    Ok(())
}

#[test]
fn presets_files_and_single_knobs_apply_in_that_order() -> Result<()> {
    let overrides =
        file(r#"{"top_k": false, "max_tokens_field": "max_completion_tokens", "adaptive": false}"#)?;
    let preset = translate(&["--dialect", "vllm"], &request().to_string())?.json()?;
    assert_eq!(
        (&preset["upstream"]["top_k"], &preset["losses"]),
        (&json!(5), &json!([]))
    );
    let flags = ["--dialect", "vllm", "--dialect-overrides", path(&overrides)?];
    let file = translate(&flags, &request().to_string())?.json()?;
    assert_eq!(file["upstream"]["max_completion_tokens"], 100);
    assert_eq!(file["losses"][0]["path"], "top_k");
    let knobs = [
        "--set",
        "top_k=true",
        "--set",
        "max_tokens_field=max_tokens",
        "--limits",
        "1-20",
    ];
    let single = translate(&[&flags[..], &knobs].concat(), &request().to_string())?.json()?;
    assert_eq!(
        (&single["upstream"]["top_k"], &single["upstream"]["max_tokens"]),
        (&json!(5), &json!(20))
    );
    let words = [
        "--set",
        "assistant_null_content=null",
        "--set",
        "empty_tool_result=5",
    ];
    let null = translate(&words, &request().to_string())?;
    assert_eq!(null.code, Some(0), "{}", null.err);
    Ok(())
}

#[test]
fn of_a_native_provider_the_edits_are_shown() -> Result<()> {
    let body = request().to_string();
    let native = ["--api-format", "anthropic", "--dialect", "anthropic"];
    let same = translate(&native, &body)?;
    assert_eq!(
        same.out,
        format!("{{\"dialect\":\"anthropic\",\"upstream\":{body},\"losses\":[]}}\n"),
        "{}",
        same.err
    );
    let flags = [
        &native[..],
        &["--model", "m", "--set", "strip_fields=[\"top_k\"]"],
    ]
    .concat();
    let told = translate(&flags, &body)?.json()?;
    assert_eq!(told["upstream"]["model"], "m");
    assert_eq!(told["upstream"]["top_k"], Value::Null);
    assert_eq!(told["losses"][0]["path"], "top_k");
    Ok(())
}

#[test]
fn what_is_wrong_is_said_on_standard_error() -> Result<()> {
    let body = request().to_string();
    for (flags, input, word) in [
        (&[][..], "{", "JSON"),
        (&[], r#"{"model":"m","max_tokens":1}"#, "messages"),
        (&["--strict"], &body, "top_k"),
        (&["--dialect", "unheard-of"], &body, "openrouter"),
        (&["--set", "top_k"], &body, "KNOB=VALUE"),
        (&["--set", "topk=true"], &body, "topk"),
        (&["--limits", "9-1"], &body, "9-1"),
        (&["--dialect-overrides", "no/such/file"], &body, "no/such/file"),
        (&["--unheard-of"], &body, "--unheard-of"),
    ] {
        let run = translate(flags, input)?;
        assert_eq!((run.code, &*run.out), (Some(2), ""), "{flags:?} {}", run.err);
        assert!(run.err.contains(word), "{flags:?}: {}", run.err);
    }
    Ok(())
}

fn judged(out: String) -> Result<Judge> {
    let mut rest = out.into_bytes();
    let mut judge = Judge::default();
    for event in Event::take_whole(&mut rest)? {
        judge.push(&event)?;
    }
    ensure!(rest.is_empty(), "it ends inside an event");
    Ok(judge)
}

#[test]
fn an_answer_comes_back_in_the_form_that_the_request_wants() -> Result<()> {
    let plain = file(&request().to_string())?;
    let mut streamed = request();
    streamed["stream"] = json!(true);
    let streamed = file(&streamed.to_string())?;
    let document = r#"{"choices":[{"message":{"content":"Salut"},"finish_reason":"stop"}],"usage":{"prompt_tokens":2,"completion_tokens":1}}"#;
    let events = "data: {\"choices\":[{\"delta\":{\"content\":\"Salut\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    for answer in [document, events] {
        let whole = translate(&["--answer", path(&plain)?], answer)?.json()?;
        assert_eq!(whole["content"][0]["text"], "Salut");
        assert_eq!(whole["model"], "claude-sonnet-5");
        let stream = translate(&["--answer", path(&streamed)?], answer)?;
        assert_eq!(stream.code, Some(0), "{}", stream.err);
        let verdict = judged(stream.out)?.verdict()?;
        assert_eq!(verdict.text(), "Salut");
        assert!(verdict.error.is_none());
    }
    let cut = events
        .split("\n\n")
        .next()
        .unwrap_or_default()
        .replace("\"stop\"", "null")
        + "\n\n";
    let broken = translate(&["--answer", path(&streamed)?], &cut)?;
    assert_eq!(broken.code, Some(1));
    assert!(broken.out.contains("Salut"), "{}", broken.out);
    // What a client is told of the rest depends on the provider.
    assert!(judged(broken.out)?.verdict().is_err());
    let refused = translate(
        &["--answer", path(&plain)?, "--status", "429"],
        r#"{"error":{"message":"slow down"}}"#,
    )?;
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.err.contains("RateLimited") && refused.err.contains("slow down"),
        "{}",
        refused.err
    );
    Ok(())
}
