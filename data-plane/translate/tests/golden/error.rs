//! `fixtures/error`: an upstream's refusal, and what it is.

use bridge_translate::{FaultKind, error};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::case;
use crate::pretty::{compact, pretty};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case<'a> {
    about: String,
    status: u16,
    #[serde(default)]
    content_type: Option<String>,
    /// JSON as it is, or a string for a body that is no JSON.
    #[serde(borrow)]
    body: &'a RawValue,
    #[serde(borrow, default)]
    expect: Option<&'a RawValue>,
}

#[test]
fn errors_are_read_as_their_files_say() {
    let reply = case::reply(&case::dialect(None), None);
    for file in case::files("error", "json") {
        let text = std::fs::read_to_string(&file).unwrap();
        let case: Case<'_> =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let body = match serde_json::from_str::<Value>(case.body.get()).unwrap() {
            Value::String(text) => text,
            _ => case.body.get().to_owned(),
        };
        let fault = error::read(case.status, case.content_type.as_deref(), body.as_bytes(), &reply);
        let kind = match fault.kind {
            FaultKind::ContextOverflow(overflow) => {
                format!("ContextOverflow: {}", overflow.anthropic_message(None))
            }
            kind => format!("{kind:?}"),
        };
        let have = serde_json::json!({
            "kind": kind,
            "message": fault.message,
            "codes": fault.codes,
            "remedy": fault.remedy.map(|remedy| format!("{remedy:?}")),
            "retry_after_ms": fault.retry_after.map(|wait| wait.as_millis() as u64),
        })
        .to_string();
        let want = case.expect.map(|raw| compact(raw.get())).unwrap_or_default();
        let content_type = case
            .content_type
            .as_ref()
            .map(|kind| format!("\"content_type\":\"{kind}\","))
            .unwrap_or_default();
        let about = serde_json::to_string(&case.about).unwrap();
        let whole = format!(
            "{{\"about\":{about},\"status\":{},{content_type}\"body\":{},\"expect\":{have}}}",
            case.status, case.body
        );
        case::settle(&file, &compact(&have), &want, &format!("{}\n", pretty(&whole)));
    }
}
