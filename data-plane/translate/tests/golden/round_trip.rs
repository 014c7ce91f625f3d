//! What a client got it brings back with the next turn: nothing of it may be lost or refused.

use bridge_translate::anthropic::Request;
use bridge_translate::stream::Collector;
use bridge_translate::{Dialect, Target, request};
use serde_json::{Value, json};

use crate::case;
use crate::stream::cases;

/// The answer to the upstream's stream, put together.
fn answer(name: &str) -> (Value, Dialect) {
    let case = cases()
        .into_iter()
        .find(|case| case.file.file_stem().is_some_and(|stem| stem == name))
        .unwrap();
    let mut collector = Collector::new(case.reply, case::ids());
    collector.push(case.upstream.as_bytes());
    let message: Value = serde_json::from_slice(&collector.end().unwrap().body).unwrap();
    (message["content"].clone(), case.dialect)
}

/// A second turn: the question, what came, the results of its calls.
fn next_turn(content: &Value) -> Value {
    let results: Vec<Value> = content
        .as_array()
        .unwrap()
        .iter()
        .filter(|block| block["type"] == "tool_use")
        .map(|call| json!({"type": "tool_result", "tool_use_id": call["id"], "content": "done"}))
        .chain([json!({"type": "text", "text": "Go on."})])
        .collect();
    json!({
        "model": "claude-test", "max_tokens": 9, "thinking": {"type": "adaptive"},
        "messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": content},
            {"role": "user", "content": results},
        ],
    })
}

/// The assistant's message as it goes up again.
fn sent_back(content: &Value, target: &Target<'_>) -> Value {
    let body = next_turn(content).to_string();
    let request = Request::parse(body.as_bytes()).unwrap();
    let outbound = request::to_openai(&request, target).unwrap();
    assert_eq!(outbound.losses.iter().count(), 0, "{body}");
    let sent: Value = serde_json::from_slice(&outbound.body).unwrap();
    sent["messages"][1].clone()
}

#[test]
fn every_answer_can_be_brought_back() {
    for case in cases() {
        let mut collector = Collector::new(case.reply.clone(), case::ids());
        collector.push(case.upstream.as_bytes());
        let Ok(answer) = collector.end() else { continue };
        let message: Value = serde_json::from_slice(&answer.body).unwrap();
        let calls = |list: &Value, kind: &str| -> Vec<Value> {
            let list = list.as_array().into_iter().flatten();
            list.filter(|entry| entry["type"] == kind)
                .map(|entry| entry["id"].clone())
                .collect()
        };
        let sent = sent_back(&message["content"], &case::target(&case.dialect));
        assert_eq!(
            calls(&sent["tool_calls"], "function"),
            calls(&message["content"], "tool_use"),
            "{}",
            case.file.display()
        );
    }
}

#[test]
fn c5_reasoning_details_go_back_to_who_gave_them() {
    let (content, dialect) = answer("c5-reasoning-details");
    let target = case::target(&dialect);
    let given = json!([{
        "type": "reasoning.text", "text": "Look first.", "signature": "EqQB", "format": "anthropic-claude-v1", "index": 0,
    }]);
    assert_eq!(sent_back(&content, &target)["reasoning_details"], given);

    let other_model = Target {
        model: "up-model-2",
        ..target
    };
    assert!(sent_back(&content, &other_model)["reasoning_details"].is_null());
    let other_provider = Target {
        provider: "other",
        ..target
    };
    assert!(sent_back(&content, &other_provider)["reasoning_details"].is_null());
    let mut changed = content;
    changed[0]["thinking"] = json!("Look twice.");
    assert!(sent_back(&changed, &target)["reasoning_details"].is_null());
}

#[test]
fn c5_encrypted_details_go_back_too() {
    let (content, dialect) = answer("c5-reasoning-encrypted");
    let sent = sent_back(&content, &case::target(&dialect));
    assert_eq!(sent["reasoning_details"][0]["data"], "gAAAAAB");
    assert_eq!(sent["content"], "Hello");
}

#[test]
fn c4_thought_signatures_go_back_with_their_calls() {
    let google = |signature: &str| json!({"google": {"thought_signature": signature}});
    for name in [
        "c4-thought-signature",
        "c4-thought-signature-after-thinking",
        "c4-thought-signature-late",
    ] {
        let (content, dialect) = answer(name);
        let sent = sent_back(&content, &case::target(&dialect));
        assert_eq!(sent["tool_calls"][0]["extra_content"], google("AbC="), "{name}");
        assert!(sent["tool_calls"][1]["extra_content"].is_null(), "{name}");
    }
    let (content, dialect) = answer("c4-thought-signature-hidden");
    let sent = sent_back(&content, &case::target(&dialect));
    assert_eq!(
        sent["tool_calls"][0]["extra_content"],
        google("skip_thought_signature_validator")
    );
}

#[test]
fn p31_thinking_goes_back_only_unchanged() {
    let (content, _) = answer("s02-reasoning-text");
    let dialect = case::dialect(Some(&json!({"reasoning_back": "always"})));
    let target = case::target(&dialect);
    let thinking = content[0]["thinking"].clone();
    assert_eq!(sent_back(&content, &target)["reasoning_content"], thinking);
    // Another provider's thinking is still thinking.
    let other = Target {
        provider: "other",
        ..target
    };
    assert_eq!(sent_back(&content, &other)["reasoning_content"], thinking);
    let mut changed = content;
    changed[0]["thinking"] = json!("What the model never thought.");
    assert!(sent_back(&changed, &target)["reasoning_content"].is_null());
}
