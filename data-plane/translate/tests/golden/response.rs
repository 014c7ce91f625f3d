//! `fixtures/response`: a whole upstream answer, and the client's message or the fault.

use bridge_translate::response;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::case;
use crate::grammar::Grammar;
use crate::pretty::{compact, pretty};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case<'a> {
    about: String,
    #[serde(default)]
    dialect: Option<Value>,
    /// Fields of the request that asked.
    #[serde(default)]
    request: Option<Value>,
    #[serde(borrow)]
    upstream: &'a RawValue,
    #[serde(borrow, default)]
    expect: Option<&'a RawValue>,
}

#[test]
fn answers_become_what_their_files_say() {
    for file in case::files("response", "json") {
        let text = std::fs::read_to_string(&file).unwrap();
        let case: Case<'_> =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let dialect = case::dialect(case.dialect.as_ref());
        let reply = case::reply(&dialect, case.request.as_ref());
        let upstream = case.upstream.get().as_bytes();
        let answer = response::to_anthropic(upstream, &reply, case::ids());
        let mut events = Vec::new();
        let streamed = response::to_anthropic_events(upstream, &reply, case::ids(), &mut events);
        let have = match &answer {
            Ok(answer) => {
                // The same answer for a client that wants a stream says the same.
                assert_eq!(
                    streamed.as_ref().unwrap().usage,
                    answer.usage,
                    "{}",
                    file.display()
                );
                let body = String::from_utf8(answer.body.clone()).unwrap();
                assert_eq!(streamed.unwrap().losses, answer.losses);
                Grammar::check(&events).assert_same_as(&body, &file);
                format!(
                    "{{\"estimated\":{},{}\"answer\":{body}}}",
                    answer.usage.is_estimated,
                    answer
                        .losses
                        .header()
                        .map(|losses| format!("\"losses\":\"{losses}\","))
                        .unwrap_or_default()
                )
            }
            Err(fault) => {
                assert_eq!(streamed.as_ref().map(|told| told.usage), Err(fault));
                assert!(events.is_empty(), "a failure must not write anything");
                format!(
                    "{{\"fault\":{:?},\"message\":{:?}}}",
                    format!("{:?}", fault.kind),
                    fault.message
                )
            }
        };
        let want = case.expect.map(|raw| compact(raw.get())).unwrap_or_default();
        let mut whole = format!("{{\"about\":{},", serde_json::to_string(&case.about).unwrap());
        for (name, value) in [("dialect", &case.dialect), ("request", &case.request)] {
            if let Some(value) = value {
                whole.push_str(&format!("\"{name}\":{value},"));
            }
        }
        whole.push_str(&format!("\"upstream\":{},\"expect\":{have}}}", case.upstream));
        case::settle(&file, &compact(&have), &want, &format!("{}\n", pretty(&whole)));
    }
}

#[test]
fn d08_a_stream_where_an_answer_was_wanted_is_collected() {
    let reply = case::reply(&case::dialect(None), None);
    let body = b"data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let answer = response::to_anthropic(body, &reply, case::ids()).unwrap();
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body.pointer("/content/0/text"), Some(&Value::from("Hi")));
}
