//! Our own signatures on thinking blocks: a mark, a proof, and room for luggage.
//!
//! Clients return thinking blocks as they got them, which makes a signature the one place
//! where something can be kept until the next turn without state: every data plane reads
//! it, also after a restart. Written as `brg1.` and base64url of a small JSON object; never
//! empty and never native-looking. The digest tells whether the thinking is still what the
//! model thought: changed text is as good as foreign.

mod details;

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

pub(crate) use self::details::Details;

/// Start of every signature that we made.
const PREFIX: &str = "brg1.";
/// How much of the digest is kept, in bytes: enough to tell a changed text, small in every turn.
const DIGEST_BYTES: usize = 12;
/// What of one block may travel in its signature, in bytes. It comes back with every later turn.
pub(crate) const LUGGAGE_BYTES_MAX: usize = 256 * 1024;

/// What goes with a block until the client brings it back.
#[derive(Debug, Default)]
pub(crate) struct Luggage {
    /// `reasoning_details`, which the upstream wants back unchanged.
    pub(crate) details: Details,
    /// `extra_content` of tool calls, by the ids that the client knows.
    pub(crate) calls: Vec<(String, Box<RawValue>)>,
}

/// A signature in the making, fed with the thinking as it is written.
#[derive(Debug, Clone)]
pub(crate) struct Seal {
    digest: Sha256,
}

/// Who signs: luggage is of use only to the same model of the same provider.
#[derive(Debug, Clone)]
pub(crate) struct Signer {
    provider: String,
    model: String,
}

/// What a signature of ours said.
#[derive(Debug)]
pub(crate) struct Opened {
    provider: String,
    model: String,
    /// Entries of `reasoning_details`, whole again.
    pub(crate) details: Vec<Box<RawValue>>,
    pub(crate) calls: Vec<(String, Box<RawValue>)>,
}

#[derive(Serialize, Deserialize)]
struct Payload<'a> {
    #[serde(rename = "p", borrow, default)]
    provider: Cow<'a, str>,
    #[serde(rename = "m", borrow, default, skip_serializing_if = "str::is_empty")]
    model: Cow<'a, str>,
    #[serde(rename = "d", borrow, default, skip_serializing_if = "Option::is_none")]
    digest: Option<Cow<'a, str>>,
    #[serde(rename = "r", default, skip_serializing_if = "Vec::is_empty")]
    details: Vec<Box<RawValue>>,
    #[serde(rename = "t", default, skip_serializing_if = "Vec::is_empty")]
    calls: Vec<(String, Box<RawValue>)>,
}

impl Luggage {
    pub(crate) fn is_empty(&self) -> bool {
        self.details.is_empty() && self.calls.is_empty()
    }
}

impl Signer {
    pub(crate) fn new(provider: &str, model: &str) -> Self {
        Signer {
            provider: provider.to_owned(),
            model: model.to_owned(),
        }
    }

    /// Begins a block.
    pub(crate) fn seal(&self) -> Seal {
        Seal::of(&self.provider)
    }

    /// Ends a block: its signature, which holds the luggage.
    pub(crate) fn sign(&self, seal: Seal, luggage: Luggage) -> String {
        let details = luggage.details.pack(&seal, &self.seal());
        let mut payload = Payload {
            provider: Cow::Borrowed(&self.provider),
            model: Cow::Borrowed(""),
            digest: None,
            details,
            calls: luggage.calls,
        };
        if !payload.details.is_empty() || !payload.calls.is_empty() {
            payload.model = Cow::Borrowed(&self.model);
        }
        payload.digest = Some(Cow::Owned(payload.digest(seal)));
        // Strings and parsed JSON always serialise.
        let json = serde_json::to_vec(&payload).unwrap_or_default();
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(json))
    }
}

impl Seal {
    fn of(provider: &str) -> Self {
        let digest = Sha256::new().chain_update(provider).chain_update([0]);
        Seal { digest }
    }

    /// More of the block's thinking.
    pub(crate) fn update(&mut self, thinking: &str) {
        self.digest.update(thinking);
    }

    /// Whether both were fed the same.
    fn is_same(&self, other: &Seal) -> bool {
        self.digest.clone().finalize() == other.digest.clone().finalize()
    }
}

impl Payload<'_> {
    /// The digest over provider, thinking and luggage. What separates them is no UTF-8.
    fn digest(&self, seal: Seal) -> String {
        let mut digest = seal.digest.chain_update([0xff]).chain_update(&*self.model);
        for detail in &self.details {
            digest = digest.chain_update([0xff]).chain_update(detail.get());
        }
        for (id, extra) in &self.calls {
            digest = digest.chain_update([0xfe]).chain_update(id);
            digest = digest.chain_update([0xff]).chain_update(extra.get());
        }
        let digest = digest.finalize();
        URL_SAFE_NO_PAD.encode(digest.get(..DIGEST_BYTES).unwrap_or(&digest))
    }
}

impl Opened {
    /// Whether that model of that provider gave the luggage.
    pub(crate) fn is_from(&self, provider: &str, model: &str) -> bool {
        self.provider == provider && self.model == model
    }
}

/// Reads a signature of ours for the text that came with it. None for a foreign one, and for
/// one whose text was changed. One without a digest is taken as it is.
pub(crate) fn open(signature: &str, thinking: &str) -> Option<Opened> {
    if !is_ours(signature) {
        return None;
    }
    let json = URL_SAFE_NO_PAD.decode(signature.get(PREFIX.len()..)?).ok()?;
    let payload: Payload<'_> = serde_json::from_slice(&json).ok()?;
    if let Some(digest) = &payload.digest {
        let mut seal = Seal::of(&payload.provider);
        seal.update(thinking);
        if *digest != payload.digest(seal) {
            return None;
        }
    }
    let Payload {
        provider,
        model,
        digest: _,
        details,
        calls,
    } = payload;
    Some(Opened {
        provider: provider.into_owned(),
        model: model.into_owned(),
        details: details::unpack(details, thinking),
        calls,
    })
}

/// Whether we made it, for whatever provider and text: nothing that a native provider would take.
pub(crate) fn is_ours(signature: &str) -> bool {
    signature.starts_with(PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(thinking: &[&str], luggage: Luggage) -> String {
        let signer = Signer::new("acme", "m-1");
        let mut seal = signer.seal();
        thinking.iter().for_each(|piece| seal.update(piece));
        signer.sign(seal, luggage)
    }

    #[test]
    fn p31_a_signature_holds_for_its_text_alone() {
        let signature = signed(&["Let me ", "think."], Luggage::default());
        assert!(is_ours(&signature));
        assert!(open(&signature, "Let me think.").is_some());
        assert!(open(&signature, "Let me think!").is_none());
        assert!(open(&signature, "").is_none());
        assert!(open("EqQBCkYIAxgCKkD", "Let me think.").is_none());
        assert!(open("brg1.%%%", "").is_none());
    }

    #[test]
    fn signatures_without_digest_are_still_ours() {
        let old = format!("brg1.{}", URL_SAFE_NO_PAD.encode(r#"{"p":"acme"}"#));
        assert!(open(&old, "anything").is_some());
        assert!(open("brg1.e30", "anything").is_some());
    }

    #[test]
    fn luggage_comes_back_to_who_gave_it() {
        let mut luggage = Luggage::default();
        let extra = RawValue::from_string(r#"{"google":{"thought_signature":"x"}}"#.to_owned()).unwrap();
        luggage.calls.push(("toolu_1".to_owned(), extra));
        let opened = open(&signed(&[], luggage), "").unwrap();
        assert!(opened.is_from("acme", "m-1"));
        assert!(!opened.is_from("acme", "m-2") && !opened.is_from("other", "m-1"));
        assert_eq!(opened.calls[0].1.get(), r#"{"google":{"thought_signature":"x"}}"#);
    }
}
