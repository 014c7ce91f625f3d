//! `Debug` for messages that carry secrets: every field is named, the secret ones
//! say only whether they are set.

use std::fmt;

use crate::{admin::v1 as admin, fleet::v1 as fleet};

/// Stands for a secret: tells set from empty and nothing else.
struct Redacted(bool);

impl Redacted {
    fn of(secret: &(impl AsRef<[u8]> + ?Sized)) -> Self {
        Self(!secret.as_ref().is_empty())
    }
}

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0 { "<secret>" } else { "<empty>" })
    }
}

/// Destructures the message, so that a new field does not compile until somebody
/// has decided whether it is secret.
macro_rules! debug_without_secrets {
    ($message:path { shown: [$($shown:ident),*], secret: [$($secret:ident),*] }) => {
        impl fmt::Debug for $message {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let Self { $($shown,)* $($secret),* } = self;
                f.debug_struct(stringify!($message))
                    $(.field(stringify!($shown), $shown))*
                    $(.field(stringify!($secret), &Redacted::of($secret)))*
                    .finish()
            }
        }
    };
}

debug_without_secrets!(admin::LoginRequest {
    shown: [email],
    secret: [password]
});
debug_without_secrets!(admin::LoginResponse {
    shown: [expires_at, user],
    secret: [access_token, refresh_token]
});
debug_without_secrets!(admin::RefreshRequest {
    shown: [],
    secret: [refresh_token]
});
debug_without_secrets!(admin::RefreshResponse {
    shown: [expires_at],
    secret: [access_token, refresh_token]
});
debug_without_secrets!(admin::ChangePasswordRequest {
    shown: [],
    secret: [current_password, new_password]
});
debug_without_secrets!(admin::ChangePasswordResponse {
    shown: [expires_at],
    secret: [access_token, refresh_token]
});
debug_without_secrets!(admin::CreateUserRequest {
    shown: [email, name, role, must_change_password, idempotency_key],
    secret: [password]
});
debug_without_secrets!(admin::ResetPasswordRequest {
    shown: [id, revision],
    secret: [new_password]
});
debug_without_secrets!(admin::CreateApiKeyResponse {
    shown: [api_key, secret_already_delivered],
    secret: [key]
});
debug_without_secrets!(admin::RotateApiKeyResponse {
    shown: [api_key, secret_already_delivered],
    secret: [key]
});
debug_without_secrets!(admin::CreateServiceTokenResponse {
    shown: [service_token, secret_already_delivered],
    secret: [token]
});
debug_without_secrets!(admin::CreateJoinTokenResponse {
    shown: [expires_at, authority_fingerprint, fleet_listener],
    secret: [join_token]
});
debug_without_secrets!(admin::ExplainRequest {
    shown: [key_id, node_id],
    secret: [body]
});
debug_without_secrets!(admin::SendMessageRequest {
    shown: [target_id],
    secret: [key, body]
});
debug_without_secrets!(fleet::Explain {
    shown: [explain_id, key_id],
    secret: [body]
});
debug_without_secrets!(fleet::Candidate {
    shown: [
        provider,
        upstream_model,
        breaker,
        skipped,
        skipped_because,
        url,
        losses
    ],
    secret: [body]
});
debug_without_secrets!(fleet::EnrolRequest {
    shown: [node_id, certificate_signing_request],
    secret: [join_token]
});
debug_without_secrets!(fleet::ApiKey {
    shown: [
        id,
        hash_algorithm,
        name,
        owner_user_id,
        expires_at,
        allowed_models,
        allowed_providers,
        loss_policy,
        limits
    ],
    secret: [hash]
});

impl fmt::Debug for admin::ProviderSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            api_key,
            custom_headers,
        } = self;
        f.debug_struct("admin::ProviderSecrets")
            .field("api_key", &Redacted::of(api_key))
            .field("custom_headers", &custom_headers.keys())
            .finish()
    }
}

impl fmt::Debug for fleet::Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            priority,
            api_format,
            base_url,
            api_key,
            custom_headers,
            timeout,
            max_retries,
            models,
            max_tokens_limit,
            dialect,
            dialect_overrides,
            model_options,
            revision,
        } = self;
        f.debug_struct("fleet::Provider")
            .field("name", name)
            .field("priority", priority)
            .field("api_format", api_format)
            .field("base_url", base_url)
            .field("api_key", &Redacted::of(api_key))
            .field("custom_headers", &custom_headers.keys())
            .field("timeout", timeout)
            .field("max_retries", max_retries)
            .field("models", models)
            .field("max_tokens_limit", max_tokens_limit)
            .field("dialect", dialect)
            .field("dialect_overrides", dialect_overrides)
            .field("model_options", model_options)
            .field("revision", revision)
            .finish()
    }
}

// Encoded resources hold provider keys: only their number and size are told.
impl fmt::Debug for fleet::SnapshotChunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resources } = self;
        f.debug_struct("fleet::SnapshotChunk")
            .field("resources", &resources.len())
            .finish()
    }
}

impl fmt::Debug for fleet::Delta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            from,
            to,
            upserts,
            removed,
            state_hash,
            allow_empty,
        } = self;
        f.debug_struct("fleet::Delta")
            .field("from", from)
            .field("to", to)
            .field("upserts", &upserts.len())
            .field("removed", removed)
            .field("state_hash", state_hash)
            .field("allow_empty", allow_empty)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANARY: &str = "canary-7f3a";

    #[test]
    fn a_provider_prints_without_its_key_and_header_values() {
        let provider = fleet::Provider {
            name: "qwen".into(),
            api_key: CANARY.into(),
            custom_headers: [("x-team".into(), CANARY.into())].into(),
            ..Default::default()
        };
        let printed = format!(
            "{provider:?} {:?}",
            fleet::Resource {
                kind: Some(fleet::resource::Kind::Provider(provider.clone()))
            }
        );
        assert!(!printed.contains(CANARY), "{printed}");
        assert!(
            printed.contains("qwen") && printed.contains("x-team"),
            "{printed}"
        );
    }

    #[test]
    fn a_login_prints_without_its_password() {
        let login = admin::LoginRequest {
            email: "a@b.c".into(),
            password: CANARY.into(),
        };
        let printed = format!("{login:?}");
        assert!(
            !printed.contains(CANARY) && printed.contains("a@b.c"),
            "{printed}"
        );
    }
}
