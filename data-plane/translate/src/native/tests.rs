//! Requests and streams as they pass.

mod streams;

use serde_json::{Map, Value};

use super::*;
use crate::anthropic::{ErrorBody, ErrorType, Request};
use crate::dialect::{Dialect, MidSystem};
use crate::error::FaultKind;
use crate::request::{Target, TokenLimits};

const SIGNED: &str = r#"{"type":"thinking","thinking":"a","signature":"EqQBCgIYAhIM"}"#;
const OURS: &str = r#"{"type":"thinking","thinking":"b","signature":"brg1.eyJwIjoicCJ9"}"#;
const UNSIGNED: &str = r#"{"type":"thinking","thinking":"c","signature":""}"#;
const OURS_REDACTED: &str = r#"{"type":"redacted_thinking","data":"brg1.e30"}"#;
const TEXT: &str = r#"{"type":"text","text":"hi"}"#;

/// What a provider that needs no downgrade is.
fn plain() -> Dialect {
    Dialect {
        mid_system: MidSystem::System,
        strip_billing_header: false,
        ..Dialect::default()
    }
}

fn with(knobs: &str) -> Dialect {
    let knobs: Map<String, Value> = serde_json::from_str(knobs).unwrap();
    plain().with_overrides(knobs).unwrap()
}

fn target(dialect: &Dialect) -> Target<'_> {
    Target {
        provider: "acme",
        model: "m",
        dialect,
        token_limits: TokenLimits { min: 1, max: 10_000 },
        max_output_tokens: None,
    }
}

/// The body that goes up and the list of losses.
fn sent(dialect: &Dialect, body: &str, history: History) -> (String, String) {
    let request = Request::parse(body.as_bytes()).unwrap();
    let outbound = edit(body.as_bytes(), &request, &target(dialect), history).unwrap();
    let sent = outbound.body.unwrap_or_else(|| body.into());
    (
        String::from_utf8(sent).unwrap(),
        outbound.losses.header().unwrap_or_default(),
    )
}

fn body(messages: &str) -> String {
    format!(r#"{{"model":"m","max_tokens":9,"messages":[{messages}]}}"#)
}

fn turn(role: &str, blocks: &[&str]) -> String {
    format!(r#"{{"role":"{role}","content":[{}]}}"#, blocks.join(", "))
}

#[test]
fn without_need_the_body_stays_the_clients_own() {
    let body = body(&format!(
        r#"{{"role":"system","content":"s"}}, {}, {}"#,
        turn("user", &[TEXT]),
        turn("assistant", &[SIGNED, TEXT]),
    ));
    let request = Request::parse(body.as_bytes()).unwrap();
    let outbound = edit(body.as_bytes(), &request, &target(&plain()), History::Signed).unwrap();
    assert!(outbound.body.is_none() && outbound.losses.is_empty());
}

#[test]
fn only_the_name_of_the_model_changes() {
    let body = r#" { "new" : {"model":"x"} , "model" : "opus",
 "max_tokens":9 , "messages":[{"role":"user","content":"\u00e9 \/ model"}] } "#;
    let (sent, losses) = sent(&plain(), body, History::Signed);
    assert_eq!(sent, body.replace("\"opus\"", "\"m\""));
    assert_eq!(losses, "");
}

#[test]
fn thinking_that_nobody_of_this_api_signed_is_left_out() {
    let user = turn("user", &[TEXT]);
    let rows = [
        (vec![SIGNED, OURS, TEXT], Some(vec![SIGNED, TEXT])),
        (vec![UNSIGNED, TEXT, OURS_REDACTED], Some(vec![TEXT])),
        (vec![OURS, OURS_REDACTED], None),
    ];
    for (said, kept) in rows {
        let before = body(&[user.as_str(), &turn("assistant", &said), &user].join(","));
        let after = match kept {
            Some(kept) => body(&[user.as_str(), &turn("assistant", &kept), &user].join(",")),
            None => body(&[user.as_str(), &user].join(",")),
        };
        let sent = sent(&plain(), &before, History::Signed);
        assert_eq!(sent, (after, String::new()));
    }
}

#[test]
fn refused_thinking_goes_and_is_told() {
    let fixed_budgets = with(r#"{"thinking_adaptive":"enabled"}"#);
    let call = r#"{"type":"tool_use","id":"t1","name":"f","input":{}}"#;
    let result = r#"{"type":"tool_result","tool_use_id":"t1","content":"ok"}"#;
    let conversation = |thinking: &str| {
        [
            turn("user", &[TEXT]),
            turn("assistant", &[thinking, call]),
            turn("user", &[result]),
        ]
        .join(",")
        .replace("[, ", "[")
    };
    let with = |thinking: &str, edits: &str, messages: &str| {
        format!(
            r#"{{"model":"m","max_tokens":9000,"thinking":{thinking},"context_management":{{"edits":[{edits}]}},"messages":[{messages}]}}"#
        )
    };
    let clear = r#"{"type":"clear_thinking_20251015","keep":"all"},{"type":"other"}"#;
    let enabled = r#"{"type":"enabled","budget_tokens":2000}"#;
    let before = with(enabled, clear, &conversation(SIGNED));
    let (sent_now, losses) = sent(&plain(), &before, History::WithoutThinking);
    let disabled = with(r#"{"type":"disabled"}"#, r#"{"type":"other"}"#, &conversation(""));
    assert_eq!(sent_now, disabled);
    assert_eq!(losses, "thinking, messages.1.content.0");
    // Thinking that would get its budget from us is no different.
    let adaptive = before.replace(enabled, r#"{"type":"adaptive"}"#);
    let (sent_now, losses) = sent(&fixed_budgets, &adaptive, History::WithoutThinking);
    assert_eq!((sent_now, &*losses), (disabled, "thinking, messages.1.content.0"));
    // Outside a turn that goes on, thinking may go on too.
    let before = with(enabled, clear, &body_turns(&[SIGNED, TEXT]));
    let (sent_now, losses) = sent(&plain(), &before, History::WithoutThinking);
    assert_eq!(sent_now, with(enabled, clear, &body_turns(&[TEXT])));
    assert_eq!(losses, "messages.1.content.0");
}

fn body_turns(said: &[&str]) -> String {
    [
        turn("user", &[TEXT]),
        turn("assistant", said),
        turn("user", &[TEXT]),
    ]
    .join(",")
}

#[test]
fn reminders_become_the_users_words() {
    let dialect = with(r#"{"mid_system":"user"}"#);
    let user = turn("user", &[TEXT]);
    let rows = [
        (
            r#"{"role":"system","content":"a \"b\""}"#,
            r#"{"role":"user","content":"<system-reminder>\na \"b\"\n</system-reminder>"}"#,
            "",
        ),
        (
            r#"{"role":"system","clear_at":"never","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}"#,
            r#"{"role":"user","content":[{"type":"text","text":"<system-reminder>\na"},{"type":"text","text":"b\n</system-reminder>"}]}"#,
            "",
        ),
        (
            r#"{"role":"system","content":[{"type":"tool_removal","name":"f"},{"type":"text","text":"a"}],"output_config":{"effort":"low"}}"#,
            r#"{"role":"user","content":[{"type":"text","text":"<system-reminder>\na\n</system-reminder>"}]}"#,
            "messages.1.content.0, messages.1.output_config",
        ),
    ];
    for (before, after, losses) in rows {
        let with = |reminder: &str| body(&format!("{user},{reminder}"));
        assert_eq!(
            sent(&dialect, &with(before), History::Signed),
            (with(after), losses.into())
        );
        // Who knows such messages gets them as they are.
        assert_eq!(sent(&plain(), &with(before), History::Signed).0, with(before));
    }
    let over = r#"{"role":"system","content":"a","clear_at":"next_user_message"}"#;
    let before = body(&format!("{user},{over},{user}"));
    assert_eq!(
        sent(&dialect, &before, History::Signed).0,
        body(&format!("{user},{user}"))
    );
}

#[test]
fn ids_that_the_api_refuses_are_replaced_on_both_sides() {
    let with = |id: &str| {
        body(&format!(
            r#"{{"role":"assistant","content":[{{"type":"tool_use","id":"{id}","name":"f","input":{{"id":"a.b"}}}}]}},{{"role":"user","content":[{{"type":"tool_result","tool_use_id":"{id}"}}]}}"#
        ))
    };
    let (sent_now, _) = sent(&plain(), &with("functions.f:0"), History::Signed);
    let id = sent_now
        .split("\"id\":\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    assert!(crate::ids::is_well_formed(id) && id.starts_with("toolu_"));
    assert_eq!(sent_now, with(id));
}

#[test]
fn knobs_take_out_what_a_provider_does_not_know() {
    let rows = [
        (
            r#"{"strip_fields":["context_management","output_config.format","missing","thinking.none"]}"#,
            r#"{"model":"m","context_management":{"edits":[]},"max_tokens":9,"output_config":{"effort":"low","format":{}},"messages":[{"role":"user","content":"x"}]}"#,
            r#"{"model":"m","max_tokens":9,"output_config":{"effort":"low"},"messages":[{"role":"user","content":"x"}]}"#,
            "context_management, output_config.format",
        ),
        (
            r#"{"strip_fields":["diagnostics","speed"]}"#,
            r#"{"speed":"fast", "diagnostics":{}, "model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}]}"#,
            r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}]}"#,
            "diagnostics, speed",
        ),
        (
            r#"{"strip_billing_header":true}"#,
            r#"{"model":"m","max_tokens":9,"system":[{"type":"text","text":"x-anthropic-billing-header: 1"},{"type":"text","text":"you"}],"messages":[{"role":"user","content":"x"}]}"#,
            r#"{"model":"m","max_tokens":9,"system":[{"type":"text","text":"you"}],"messages":[{"role":"user","content":"x"}]}"#,
            "",
        ),
        (
            r#"{"strip_cache_ttl":true}"#,
            r#"{"model":"m","max_tokens":9,"cache_control":{"ttl":"1h","type":"ephemeral"},"tools":[{"name":"f","input_schema":{"ttl":1},"cache_control":{"type":"ephemeral","ttl":"5m"}}],"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"x","cache_control":{"type":"ephemeral","ttl":"5m"}}]}]}]}"#,
            r#"{"model":"m","max_tokens":9,"cache_control":{"type":"ephemeral"},"tools":[{"name":"f","input_schema":{"ttl":1},"cache_control":{"type":"ephemeral"}}],"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"x","cache_control":{"type":"ephemeral"}}]}]}]}"#,
            "",
        ),
        (
            r#"{"strip_cache_ttl":true,"mid_system":"user"}"#,
            r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"},{"role":"system","content":[{"cache_control":{"type":"ephemeral","ttl":"5m"},"type":"text","text":"y"}]}]}"#,
            r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"},{"role":"user","content":[{"cache_control":{"type":"ephemeral"},"type":"text","text":"<system-reminder>\ny\n</system-reminder>"}]}]}"#,
            "",
        ),
        (
            r#"{"thinking_adaptive":"enabled"}"#,
            r#"{"model":"m","max_tokens":9000,"thinking":{"type":"adaptive"},"output_config":{"effort":"medium"},"messages":[{"role":"user","content":"x"}]}"#,
            r#"{"model":"m","max_tokens":9000,"thinking":{"type":"enabled","budget_tokens":6144},"output_config":{"effort":"medium"},"messages":[{"role":"user","content":"x"}]}"#,
            "thinking.type",
        ),
        (
            r#"{"thinking_adaptive":"enabled"}"#,
            r#"{"model":"m","max_tokens":900,"thinking":{"type":"adaptive"},"messages":[{"role":"user","content":"x"}]}"#,
            r#"{"model":"m","max_tokens":900,"thinking":{"type":"disabled"},"messages":[{"role":"user","content":"x"}]}"#,
            "thinking.type",
        ),
        (
            "{}",
            r#"{"model":"m","max_tokens":64000,"thinking":{"type":"enabled","budget_tokens":63999},"messages":[{"role":"user","content":"x"}]}"#,
            r#"{"model":"m","max_tokens":10000,"thinking":{"type":"enabled","budget_tokens":9999},"messages":[{"role":"user","content":"x"}]}"#,
            "",
        ),
    ];
    for (knobs, before, after, losses) in rows {
        let sent_now = sent(&with(knobs), before, History::Signed);
        assert_eq!(sent_now, (after.to_owned(), losses.to_owned()), "{knobs}");
    }
}

// --- streams ---
