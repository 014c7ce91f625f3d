//! Who asks: what may be told of the client's user, and of the session it is in.

use std::borrow::Cow;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::anthropic::Request;
use crate::dialect::{Dialect, ForwardUser, PromptCacheKey, UserField};
use crate::openai::request::Param;

/// Longer keys are refused, so they are hashed.
const CACHE_KEY_BYTES_MAX: usize = 64;
/// What stands before the session in the older form, `user_…_account_…_session_…`.
const SESSION_MARK: &str = "_session_";

/// Adds the fields that name user and session, as far as the dialect wants them told.
pub(super) fn translate<'r>(
    request: &'r Request<'r>,
    dialect: &Dialect,
    params: &mut Vec<(Cow<'r, str>, Param<'r>)>,
) {
    let Some(id) = request.options.user_id.as_deref() else {
        return;
    };
    let field = match dialect.user_field {
        UserField::User => "user",
        UserField::SafetyIdentifier => "safety_identifier",
    };
    match dialect.forward_user {
        ForwardUser::Off => {}
        ForwardUser::Raw => params.push((Cow::Borrowed(field), Param::Text(Cow::Borrowed(id)))),
        ForwardUser::Hash => params.push((Cow::Borrowed(field), Param::Text(Cow::Owned(hash(id))))),
    }
    match (dialect.prompt_cache_key, session(id)) {
        (PromptCacheKey::Off, _) | (PromptCacheKey::Session, None) => {}
        (PromptCacheKey::Session, Some(session)) => {
            let key = if session.len() > CACHE_KEY_BYTES_MAX {
                hash(&session)
            } else {
                session.into_owned()
            };
            params.push((Cow::Borrowed("prompt_cache_key"), Param::Text(Cow::Owned(key))));
        }
    }
}

/// Claude Code puts JSON into the user's id; the session is what its requests share.
fn session(id: &str) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct UserId<'a> {
        #[serde(borrow)]
        session_id: Cow<'a, str>,
    }
    let session = serde_json::from_str::<UserId<'_>>(id)
        .map(|id| id.session_id)
        .ok()
        .or_else(|| Some(Cow::Borrowed(id.rsplit_once(SESSION_MARK)?.1)));
    session.filter(|session| !session.is_empty())
}

fn hash(id: &str) -> String {
    let digest = Sha256::digest(id.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p51_sessions_are_found_in_both_forms() {
        for (id, expected) in [
            (
                r#"{"device_id":"d","account_uuid":"","session_id":"s-1"}"#,
                Some("s-1"),
            ),
            ("user_0a1b_account__session_s-2", Some("s-2")),
            (r#"{"device_id":"d"}"#, None),
            (r#"{"session_id":""}"#, None),
            ("someone", None),
        ] {
            assert_eq!(session(id).as_deref(), expected, "{id}");
        }
    }
}
