//! Providers: between the contract's messages and the domain.

use bridge_proto::admin::v1 as admin;

use crate::domain::provider::{self, ApiFormat, HeaderName, Provider};
use crate::domain::{Invalid, Times};
use crate::snapshot::dialect;
use crate::store::Stored;

pub(crate) fn provider(stored: Stored<Provider>) -> admin::Provider {
    let Stored {
        value: Provider {
            spec,
            credentials,
            times,
        },
        revision,
    } = stored;
    let provider::Spec {
        name,
        enabled,
        priority,
        endpoint,
        dialect_overrides,
        models: provider::Models { by_tier, options },
        limits,
    } = spec;
    let provider::Limits {
        timeout_s,
        max_retries,
        max_tokens_limit,
    } = limits;
    let provider::Credentials {
        sealed: _,
        has_api_key,
        api_key_hint,
        custom_header_names,
    } = credentials;
    let Times {
        created_at,
        updated_at,
    } = times;
    admin::Provider {
        name: name.as_str().to_owned(),
        enabled,
        priority,
        api_format: api_format_to_proto(endpoint.api_format).into(),
        base_url: endpoint.base_url.as_str().to_owned(),
        models: Some(models_to_proto(&by_tier)),
        timeout: timeout_s,
        max_retries,
        max_tokens_limit,
        dialect: endpoint.dialect().as_str().to_owned(),
        is_dialect_guessed: endpoint.is_dialect_guessed(),
        has_api_key,
        api_key_hint,
        custom_header_names: custom_header_names.iter().map(HeaderName::to_string).collect(),
        created_at: Some(created_at.into()),
        updated_at: Some(updated_at.into()),
        revision,
        dialect_overrides: dialect::to_proto(&dialect_overrides),
        model_options: options.into_iter().map(model_options_to_proto).collect(),
    }
}

/// What a caller writes about a new provider. What the control plane itself
/// decides, such as times and hints, is ignored.
pub(crate) fn provider_draft(wire: admin::Provider) -> Result<provider::Draft, Invalid> {
    let admin::Provider {
        name,
        enabled,
        priority,
        api_format,
        base_url,
        models,
        timeout,
        max_retries,
        max_tokens_limit,
        dialect,
        is_dialect_guessed: _,
        has_api_key: _,
        api_key_hint: _,
        custom_header_names: _,
        created_at: _,
        updated_at: _,
        revision: _,
        dialect_overrides,
        model_options,
    } = wire;
    Ok(provider::Draft {
        name,
        enabled,
        priority,
        api_format: self::api_format(api_format)?,
        base_url,
        dialect,
        dialect_overrides: dialect::draft(dialect_overrides),
        models: models_draft(models),
        model_options: model_options_draft(model_options),
        timeout_s: timeout,
        max_retries,
        max_tokens_limit,
    })
}

/// Unspecified means the format that nearly every provider speaks.
pub(crate) fn api_format(wire: i32) -> Result<ApiFormat, Invalid> {
    match admin::ApiFormat::try_from(wire) {
        Ok(admin::ApiFormat::Unspecified | admin::ApiFormat::Openai) => Ok(ApiFormat::Openai),
        Ok(admin::ApiFormat::Anthropic) => Ok(ApiFormat::Anthropic),
        Err(_) => Err(Invalid::new("is not a format that this control plane knows")),
    }
}

pub(crate) fn models_draft(wire: Option<admin::TierModels>) -> provider::ModelsDraft {
    let admin::TierModels { big, middle, small } = wire.unwrap_or_default();
    provider::ModelsDraft { big, middle, small }
}

pub(crate) fn model_options_draft(wire: Vec<admin::ModelOptions>) -> Vec<provider::ModelOptionsDraft> {
    let draft = |options| {
        let admin::ModelOptions {
            model,
            context_window,
            max_output_tokens,
            dialect_overrides,
        } = options;
        provider::ModelOptionsDraft {
            model,
            context_window,
            max_output_tokens,
            dialect_overrides: dialect::draft(dialect_overrides),
        }
    };
    wire.into_iter().map(draft).collect()
}

pub(crate) fn secrets_draft(wire: admin::ProviderSecrets) -> provider::SecretsDraft {
    let admin::ProviderSecrets {
        api_key,
        custom_headers,
    } = wire;
    let custom_headers = custom_headers
        .into_iter()
        .map(|(name, value)| (name, value.into()))
        .collect();
    provider::SecretsDraft {
        api_key: api_key.into(),
        custom_headers,
    }
}

fn api_format_to_proto(format: ApiFormat) -> admin::ApiFormat {
    match format {
        ApiFormat::Openai => admin::ApiFormat::Openai,
        ApiFormat::Anthropic => admin::ApiFormat::Anthropic,
    }
}

fn models_to_proto(models: &provider::TierModels) -> admin::TierModels {
    let provider::ModelsDraft { big, middle, small } = models.to_draft();
    admin::TierModels { big, middle, small }
}

fn model_options_to_proto(options: provider::ModelOptions) -> admin::ModelOptions {
    let provider::ModelOptions {
        model,
        context_window,
        max_output_tokens,
        dialect_overrides,
    } = options;
    admin::ModelOptions {
        model: model.as_str().to_owned(),
        context_window,
        max_output_tokens,
        dialect_overrides: dialect::to_proto(&dialect_overrides),
    }
}
