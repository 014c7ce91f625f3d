//! A whole answer: the provider's bytes, with the client's name of the model.

use std::borrow::Cow;

use serde::Deserialize;

use crate::error::{self, UpstreamFault};
use crate::json;
use crate::usage::Usage;

use super::event::Figures;
use super::reply::Reply;
use super::walk::Text;

/// What is looked at; everything else passes unread.
#[derive(Deserialize)]
struct Message<'m> {
    #[serde(rename = "type", borrow, default)]
    kind: Cow<'m, str>,
    #[serde(default)]
    usage: Option<Figures>,
}

/// A whole answer for the client.
#[derive(Debug)]
pub struct Answer {
    pub body: Vec<u8>,
    pub usage: Usage,
}

/// Passes a whole answer on, or says what is wrong with it.
pub fn answer(body: &[u8], reply: &Reply) -> Result<Answer, UpstreamFault> {
    let refused = || error::from_body_estimated(body, reply.estimate());
    let message: Message<'_> = serde_json::from_slice(body).map_err(|_| refused())?;
    if message.kind != "message" {
        return Err(refused());
    }
    Ok(Answer {
        body: renamed(body, None, reply).unwrap_or_else(|| body.to_owned()),
        usage: usage(message.usage, reply),
    })
}

pub(super) fn usage(figures: Option<Figures>, reply: &Reply) -> Usage {
    let mut usage = Usage::default();
    match figures {
        Some(figures) if figures.is_told() => figures.add_to(&mut usage),
        Some(_) | None => {
            usage.input_tokens = reply.estimate();
            usage.is_estimated = true;
        }
    }
    usage
}

/// The JSON with the client's name of the model in the message, which is the whole or the
/// entry `within`. `None`: nothing to change.
pub(super) fn renamed(json: &[u8], within: Option<&str>, reply: &Reply) -> Option<Vec<u8>> {
    let name = reply.renamed()?;
    let text = Text(json);
    let root = text.root();
    let message = within.map_or(Some(root.clone()), |entry| text.member(&root, entry))?;
    let model = text.member(&message, "model")?;
    let mut renamed = Vec::with_capacity(json.len() + name.len());
    renamed.extend_from_slice(json.get(..model.start)?);
    json::push_str(&mut renamed, name);
    renamed.extend_from_slice(json.get(model.end..)?);
    Some(renamed)
}

#[cfg(test)]
mod tests {
    use super::super::reply::tests::reply;
    use super::*;
    use crate::error::FaultKind;

    const BODY: &str = r#"{ "id":"msg_1","type":"message","content":[{"model":"x"}],"model" : "up","usage":{"input_tokens":3,"output_tokens":4}, "new":1 }"#;

    #[test]
    fn only_the_model_changes() {
        let same = answer(BODY.as_bytes(), &reply(None)).unwrap();
        assert_eq!(same.body, BODY.as_bytes());
        assert_eq!((same.usage.input_tokens, same.usage.output_tokens), (3, 4));
        let renamed = answer(BODY.as_bytes(), &reply(Some("opus\""))).unwrap();
        assert_eq!(
            String::from_utf8(renamed.body).unwrap(),
            BODY.replace(r#""up""#, r#""opus\"""#)
        );
    }

    #[test]
    fn what_is_no_message_is_a_fault() {
        let kind = |body: &str| answer(body.as_bytes(), &reply(None)).unwrap_err().kind;
        assert_eq!(kind("<html>"), FaultKind::Nonsense);
        assert_eq!(kind("{}"), FaultKind::Nonsense);
        let overloaded = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
        assert_eq!(kind(overloaded), FaultKind::Overloaded);
    }

    #[test]
    fn an_answer_without_figures_is_estimated() {
        let usage = answer(br#"{"type":"message","usage":{}}"#, &reply(None))
            .unwrap()
            .usage;
        assert!(usage.is_estimated && usage.input_tokens > 0);
    }
}
