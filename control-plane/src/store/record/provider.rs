//! Providers, their secrets sealed.

use serde::{Deserialize, Serialize};

use super::{
    Persist, TimesRecord,
    dialect::{ModelOptionsRecord, OverridesRecord, overrides_draft, overrides_record},
    from_base64, reason, reasons, to_base64,
};
use crate::{
    domain::provider::{
        ApiFormat, Credentials, Draft, HeaderName, ModelsDraft, Provider, SealedField, SealedSecrets,
    },
    store::family::Family,
};

#[derive(Serialize, Deserialize)]
pub(in crate::store) struct ProviderRecord {
    name: String,
    enabled: bool,
    priority: i32,
    api_format: String,
    base_url: String,
    dialect: String,
    /// Absent in what was written before there were knobs, like the options.
    #[serde(default)]
    dialect_overrides: OverridesRecord,
    models: ModelsRecord,
    #[serde(default)]
    model_options: Vec<ModelOptionsRecord>,
    timeout_s: u32,
    max_retries: Option<u32>,
    max_tokens_limit: Option<u32>,
    credentials: CredentialsRecord,
    times: TimesRecord,
}

#[derive(Serialize, Deserialize)]
struct ModelsRecord {
    big: Vec<String>,
    middle: Vec<String>,
    small: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct CredentialsRecord {
    sealed: Option<SealedRecord>,
    has_api_key: bool,
    api_key_hint: String,
    custom_header_names: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct SealedRecord {
    master_key_id: String,
    wrapped_key: String,
    fields: Vec<SealedFieldRecord>,
}

#[derive(Serialize, Deserialize)]
struct SealedFieldRecord {
    field: String,
    sealed: String,
}

impl Persist for Provider {
    type Record = ProviderRecord;
    const FAMILY: Family = Family::Providers;

    fn key(&self) -> Vec<u8> {
        self.spec.name.as_str().as_bytes().to_vec()
    }

    fn to_record(&self) -> ProviderRecord {
        let Self {
            spec,
            credentials,
            times,
        } = self;
        let Draft {
            name,
            enabled,
            priority,
            api_format,
            base_url,
            dialect,
            dialect_overrides,
            models,
            model_options,
            timeout_s,
            max_retries,
            max_tokens_limit,
        } = spec.to_draft();
        let ModelsDraft { big, middle, small } = models;
        ProviderRecord {
            name,
            enabled,
            priority,
            api_format: api_format.as_str().to_owned(),
            base_url,
            dialect,
            dialect_overrides: overrides_record(dialect_overrides),
            models: ModelsRecord { big, middle, small },
            model_options: model_options.into_iter().map(ModelOptionsRecord::of).collect(),
            timeout_s,
            max_retries,
            max_tokens_limit,
            credentials: CredentialsRecord::of(credentials),
            times: TimesRecord::of(*times),
        }
    }

    fn from_record(record: ProviderRecord) -> Result<Self, String> {
        let ProviderRecord {
            name,
            enabled,
            priority,
            api_format,
            base_url,
            dialect,
            dialect_overrides,
            models: ModelsRecord { big, middle, small },
            model_options,
            timeout_s,
            max_retries,
            max_tokens_limit,
            credentials,
            times,
        } = record;
        let api_format = ApiFormat::parse(&api_format).map_err(reason)?;
        let models = ModelsDraft { big, middle, small };
        let draft = Draft {
            name,
            enabled,
            priority,
            api_format,
            base_url,
            dialect,
            dialect_overrides: overrides_draft(dialect_overrides),
            models,
            model_options: model_options
                .into_iter()
                .map(ModelOptionsRecord::into_draft)
                .collect(),
            timeout_s,
            max_retries,
            max_tokens_limit,
        };
        Ok(Self {
            spec: draft.check().map_err(reasons)?,
            credentials: credentials.into_credentials()?,
            times: times.to_times()?,
        })
    }
}

impl CredentialsRecord {
    fn of(credentials: &Credentials) -> Self {
        let Credentials {
            sealed,
            has_api_key,
            api_key_hint,
            custom_header_names,
        } = credentials;
        Self {
            sealed: sealed.as_ref().map(SealedRecord::of),
            has_api_key: *has_api_key,
            api_key_hint: api_key_hint.clone(),
            custom_header_names: custom_header_names
                .iter()
                .map(|name| name.as_str().to_owned())
                .collect(),
        }
    }

    fn into_credentials(self) -> Result<Credentials, String> {
        let Self {
            sealed,
            has_api_key,
            api_key_hint,
            custom_header_names,
        } = self;
        Ok(Credentials {
            sealed: sealed.map(SealedRecord::into_sealed).transpose()?,
            has_api_key,
            api_key_hint,
            custom_header_names: custom_header_names
                .iter()
                .map(|name| HeaderName::parse(name).map_err(reason))
                .collect::<Result<_, _>>()?,
        })
    }
}

impl SealedRecord {
    fn of(sealed: &SealedSecrets) -> Self {
        let SealedSecrets {
            master_key_id,
            wrapped_key,
            fields,
        } = sealed;
        let fields = fields
            .iter()
            .map(|SealedField { field, sealed }| SealedFieldRecord {
                field: field.clone(),
                sealed: to_base64(sealed),
            });
        Self {
            master_key_id: master_key_id.clone(),
            wrapped_key: to_base64(wrapped_key),
            fields: fields.collect(),
        }
    }

    fn into_sealed(self) -> Result<SealedSecrets, String> {
        let Self {
            master_key_id,
            wrapped_key,
            fields,
        } = self;
        let fields = fields
            .into_iter()
            .map(|SealedFieldRecord { field, sealed }| {
                Ok(SealedField {
                    field,
                    sealed: from_base64(&sealed)?,
                })
            })
            .collect::<Result<_, String>>()?;
        Ok(SealedSecrets {
            master_key_id,
            wrapped_key: from_base64(&wrapped_key)?,
            fields,
        })
    }
}
