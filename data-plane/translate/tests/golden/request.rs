//! `fixtures/request`: a client's request, and the upstream's body with the losses.

use bridge_translate::anthropic::Request;
use bridge_translate::{request, tokens};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::case;
use crate::pretty::{compact, pretty};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case<'a> {
    about: String,
    #[serde(default)]
    dialect: Option<Value>,
    #[serde(borrow)]
    request: &'a RawValue,
    #[serde(borrow, default)]
    expect: Option<&'a RawValue>,
}

fn run(case: &Case<'_>) -> String {
    let dialect = case::dialect(case.dialect.as_ref());
    let target = case::target(&dialect);
    let translated = Request::parse(case.request.get().as_bytes()).and_then(|request| {
        Ok((
            request::to_openai(&request, &target)?,
            tokens::count(&request, &target)?,
        ))
    });
    match translated {
        Err(refused) => {
            let code = refused.code.map(|code| format!(",\"code\":\"{code}\""));
            let message = serde_json::to_string(&refused.message).unwrap();
            format!("{{\"error\":{message}{}}}", code.unwrap_or_default())
        }
        Ok((outbound, tokens)) => {
            assert!(tokens > 0);
            let loss = serde_json::to_string(&outbound.losses.header()).unwrap();
            let body = String::from_utf8(outbound.body).unwrap();
            format!("{{\"loss\":{loss},\"body\":{body}}}")
        }
    }
}

#[test]
fn requests_become_what_their_files_say() {
    for file in case::files("request", "json") {
        let text = std::fs::read_to_string(&file).unwrap();
        let case: Case<'_> =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let have = run(&case);
        assert_eq!(
            have,
            run(&case),
            "{}: the same request twice must give the same bytes",
            file.display()
        );
        let want = case.expect.map(|raw| compact(raw.get())).unwrap_or_default();
        let dialect = case
            .dialect
            .as_ref()
            .map(|d| format!("\"dialect\":{d},"))
            .unwrap_or_default();
        let about = serde_json::to_string(&case.about).unwrap();
        let whole = format!(
            "{{\"about\":{about},{dialect}\"request\":{},\"expect\":{have}}}",
            case.request
        );
        case::settle(&file, &compact(&have), &want, &format!("{}\n", pretty(&whole)));
    }
}

/// A longer conversation must not change how its beginning is written, or prefix caches break.
#[test]
fn m17_one_more_turn_leaves_the_prefix_as_it_was() {
    let dialect = case::dialect(None);
    let messages = [
        r#"{"role":"user","content":"Read it"}"#,
        r#"{"role":"assistant","content":[{"type":"text","text":"Yes"},{"type":"tool_use","id":"a","name":"f","input":{"z":1}}]}"#,
        r#"{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":"ok"},{"type":"text","text":"on"}]}"#,
        r#"{"role":"assistant","content":"Done"}"#,
        r#"{"role":"user","content":"More"}"#,
    ];
    let body = |count: usize| {
        let text = format!(
            r#"{{"model":"m","max_tokens":9,"system":"S","messages":[{}]}}"#,
            messages[..count].join(",")
        );
        let request = Request::parse(text.as_bytes()).unwrap();
        String::from_utf8(
            request::to_openai(&request, &case::target(&dialect))
                .unwrap()
                .body,
        )
        .unwrap()
    };
    let (short, long) = (body(3), body(5));
    let prefix = short.split("],\"max_tokens\"").next().unwrap();
    assert!(prefix.ends_with('}'), "{prefix}");
    assert!(long.starts_with(prefix), "{long}");
}

/// Whatever a client sends a million of, the work stays linear.
#[test]
fn r32_huge_lists_are_no_attack() {
    let dialect = case::dialect(None);
    let count = 60_000;
    let uses: Vec<String> = (0..count)
        .map(|n| format!(r#"{{"type":"tool_use","id":"t{n}","name":"f.{n}","input":{{}}}}"#))
        .collect();
    let results: Vec<String> = (0..count)
        .rev()
        .map(|n| format!(r#"{{"type":"tool_result","tool_use_id":"t{n}","content":"r"}},{{"type":"odd"}}"#))
        .collect();
    let reminders = r#",{"role":"system","content":"x","clear_at":"next_user_message"}"#.repeat(count);
    let body = format!(
        r#"{{"model":"m","max_tokens":9,"messages":[{{"role":"assistant","content":[{}]}},{{"role":"user","content":[{}]}}{reminders}]}}"#,
        uses.join(","),
        results.join(","),
    );
    let request = Request::parse(body.as_bytes()).unwrap();
    let outbound = request::to_openai(&request, &case::target(&dialect)).unwrap();
    assert!(outbound.losses.header().unwrap().ends_with("..."));
    let fields: Vec<String> = (0..count).map(|n| format!("\"f{n}\":1")).collect();
    let refused = Request::parse(format!("{{{}}}", fields.join(",")).as_bytes()).unwrap_err();
    assert!(
        refused.message.contains("more than 128 fields"),
        "{}",
        refused.message
    );
}
