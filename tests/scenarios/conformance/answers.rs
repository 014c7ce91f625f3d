//! Cases 44–52: answers as one document.

use std::collections::HashSet;

use anyhow::Result;
use bridge_tests::anthropic::ask;
use bridge_tests::faultd::Script;
use serde_json::{Value, json};

use super::bed::{Bed, call_ids, calls, kinds, saying, text, thinking, thought, tool, with};
use super::chunks::{self, whole_call};

fn calling(calls: Value) -> Value {
    json!({"role": "assistant", "content": null, "tool_calls": calls})
}

#[tokio::test]
async fn c044_d01_the_envelope_is_complete() -> Result<()> {
    let bed = Bed::start().await?;
    let mut ids = HashSet::new();
    for _ in 0..2 {
        let answer = bed.ask(Script::text("Fine."), &ask("haiku", "Hi")).await?;
        for key in [
            "id",
            "type",
            "role",
            "model",
            "content",
            "stop_reason",
            "stop_sequence",
            "stop_details",
            "container",
            "usage",
        ] {
            assert!(answer.body.get(key).is_some(), "{key}: {answer:?}");
        }
        for key in [
            "input_tokens",
            "output_tokens",
            "cache_read_input_tokens",
            "cache_creation_input_tokens",
        ] {
            assert!(answer.body["usage"][key].is_u64(), "{key}: {answer:?}");
        }
        assert!(answer.body["usage"]["cache_creation"]["ephemeral_5m_input_tokens"].is_u64());
        assert_eq!(
            (&answer.body["type"], &answer.body["role"]),
            (&json!("message"), &json!("assistant"))
        );
        let id = answer.body["id"].as_str().unwrap();
        assert!(id.starts_with("msg_") && id.len() >= 24, "{id}");
        assert!(ids.insert(id.to_owned()));
        assert!(ids.insert(answer.header("request-id").unwrap().to_owned()));
    }
    Ok(())
}

#[tokio::test]
async fn c045_d02_calls_come_in_order_with_objects_as_input() -> Result<()> {
    let bed = Bed::start().await?;
    let body = with(ask("haiku", "Go"), "tools", json!([tool("f"), tool("g")]));
    let said = calling(json!([whole_call(
        "call_1",
        "f",
        r#"{"city":"Oslo","days":[1,2]}"#
    )]));
    for message in bed.both(&said, "tool_calls", &body).await? {
        assert_eq!(calls(&message), [("f", &json!({"city": "Oslo", "days": [1, 2]}))]);
        assert_eq!(message["stop_reason"], "tool_use");
    }
    let said = calling(json!([
        whole_call("call_1", "f", r#"{"n":1}"#),
        whole_call("call_2", "g", r#"{"n":2}"#),
        whole_call("call_3", "f", r#"{"n":3}"#),
    ]));
    for message in bed.both(&said, "tool_calls", &body).await? {
        assert_eq!(
            calls(&message),
            [
                ("f", &json!({"n": 1})),
                ("g", &json!({"n": 2})),
                ("f", &json!({"n": 3}))
            ]
        );
        assert_eq!(call_ids(&message), ["call_1", "call_2", "call_3"]);
    }
    Ok(())
}

#[tokio::test]
async fn c046_d03_thinking_is_shown_once_and_on_demand() -> Result<()> {
    let bed = Bed::start().await?;
    let parts = json!([{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, {"type": "text", "text": "42"}]);
    let forms = [
        json!({"role": "assistant", "reasoning_content": "Hm.", "content": "42"}),
        json!({"role": "assistant", "reasoning": "Hm.", "content": "42"}),
        json!({"role": "assistant", "reasoning": "Hm.", "reasoning_content": "Hm.", "content": "42"}),
        json!({"role": "assistant", "content": parts}),
    ];
    for said in forms {
        for message in bed.both(&said, "stop", &thinking(ask("haiku", "Why?"))).await? {
            assert_eq!(kinds(&message), ["thinking", "text"], "{said}");
            assert_eq!(
                (thought(&message).as_str(), text(&message).as_str()),
                ("Hm.", "42"),
                "{said}"
            );
            assert!(
                message["content"][0]["signature"]
                    .as_str()
                    .unwrap()
                    .starts_with("brg1.")
            );
        }
        for message in bed.both(&said, "stop", &ask("haiku", "Why?")).await? {
            assert_eq!(kinds(&message), ["text"], "{said}");
            assert_eq!(text(&message), "42");
        }
    }
    Ok(())
}

#[tokio::test]
async fn c047_d04_ids_are_unique_and_plain() -> Result<()> {
    let bed = Bed::start().await?;
    let body = with(ask("haiku", "Go"), "tools", json!([tool("f")]));
    let nameless = json!({"type": "function", "function": {"name": "f", "arguments": "{}"}});
    let lists = [
        json!([nameless, nameless]),
        json!([whole_call("", "f", "{}"), whole_call("call_1", "f", "{}")]),
        json!([
            whole_call("call_1", "f", r#"{"n":1}"#),
            whole_call("call_1", "f", r#"{"n":2}"#)
        ]),
        json!([
            whole_call("functions.Read:0", "f", "{}"),
            whole_call("functions.Read:1", "f", "{}")
        ]),
        json!([
            whole_call(&"x".repeat(65), "f", "{}"),
            whole_call("call é", "f", "{}")
        ]),
    ];
    for list in lists {
        let answer = bed
            .whole(chunks::document(&calling(list.clone()), "tool_calls"), &body)
            .await?;
        assert_eq!(call_ids(&answer).len(), 2, "{list}");
    }
    Ok(())
}

#[tokio::test]
async fn c048_d05_an_id_of_an_earlier_turn_is_not_used_again() -> Result<()> {
    let bed = Bed::start().await?;
    let body = saying(json!([
        {"role": "user", "content": "Go"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "call_0", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_0", "content": "done"}]},
    ]));
    let body = with(body, "tools", json!([tool("f")]));
    for message in bed
        .both(
            &calling(json!([whole_call("call_0", "f", "{}")])),
            "tool_calls",
            &body,
        )
        .await?
    {
        assert_ne!(call_ids(&message), ["call_0"]);
    }
    Ok(())
}

#[tokio::test]
async fn c049_d06_arguments_are_always_an_object() -> Result<()> {
    let bed = Bed::start().await?;
    let body = with(ask("haiku", "Go"), "tools", json!([tool("f")]));
    let with_arguments = |arguments: Value| {
        calling(
            json!([{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": arguments}}]),
        )
    };
    for (arguments, input) in [
        (json!(""), json!({})),
        (json!(null), json!({})),
        (json!({"a": 1}), json!({"a": 1})),
        (json!("{\"a\":1}"), json!({"a": 1})),
    ] {
        let message = bed
            .whole(chunks::document(&with_arguments(arguments), "tool_calls"), &body)
            .await?;
        assert_eq!(calls(&message), [("f", &input)]);
    }
    for broken in ["{\"a\":", "not JSON at all", "[1,2]", "\"text\""] {
        let message = bed
            .whole(
                chunks::document(&with_arguments(json!(broken)), "tool_calls"),
                &body,
            )
            .await?;
        assert!(calls(&message)[0].1.is_object(), "{broken}: {message}");
    }
    let legacy = json!({"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": "{\"a\":1}"}});
    let message = bed
        .whole(chunks::document(&legacy, "function_call"), &body)
        .await?;
    assert_eq!(calls(&message), [("f", &json!({"a": 1}))]);
    assert_eq!(message["stop_reason"], "tool_use");
    Ok(())
}

#[tokio::test]
async fn c050_d07_an_empty_answer_stays_empty() -> Result<()> {
    let bed = Bed::start().await?;
    for content in [json!(null), json!("")] {
        let said = json!({"role": "assistant", "content": content});
        for message in bed.both(&said, "stop", &ask("haiku", "Hi")).await? {
            assert_eq!(
                (&message["content"], &message["stop_reason"]),
                (&json!([]), &json!("end_turn"))
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn c051_d08_a_stream_that_nobody_asked_for_is_collected() -> Result<()> {
    let bed = Bed::start().await?;
    let stream = chunks::stream([
        chunks::reasoning("Hm."),
        chunks::content("In "),
        chunks::content("pieces"),
        chunks::opening(0, "call_1", "f"),
        chunks::arguments(0, "{\"a\""),
        chunks::arguments(0, ":1}"),
        chunks::finish("tool_calls"),
        chunks::usage(json!({"prompt_tokens": 7, "completion_tokens": 3})),
    ]);
    let message = bed.whole(stream, &thinking(ask("haiku", "Hi"))).await?;
    assert_eq!(kinds(&message), ["thinking", "text", "tool_use"]);
    assert_eq!(text(&message), "In pieces");
    assert_eq!(calls(&message), [("f", &json!({"a": 1}))]);
    assert_eq!(
        (
            &message["usage"]["input_tokens"],
            &message["usage"]["output_tokens"]
        ),
        (&json!(7), &json!(3))
    );
    Ok(())
}

#[tokio::test]
async fn c052_d09_what_is_no_answer_is_an_error() -> Result<()> {
    let bed = Bed::start().await?;
    for body in [
        r#"{"error":{"message":"on fire","type":"server_error"}}"#,
        r#"{"error":"on fire"}"#,
        r#"{"object":"error","message":"on fire","code":500}"#,
        r#"{"choices":[]}"#,
        r#"{}"#,
        "",
    ] {
        let answer = bed
            .ask(Script::body(200, "application/json", body), &ask("haiku", "Hi"))
            .await?;
        assert!(answer.status >= 500, "{body}: {answer:?}");
    }
    let limited = r#"{"error":{"message":"slow down","code":429}}"#;
    let answer = bed
        .ask(
            Script::body(200, "application/json", limited),
            &ask("haiku", "Hi"),
        )
        .await?;
    assert_eq!(answer.status, 429, "{answer:?}");
    Ok(())
}
