//! Reads a provider and prepares everything that its requests share: the URL, the
//! head and the dialects.

use std::{collections::HashMap, time::Duration};

use bridge_proto::fleet::v1 as proto;
use bridge_translate::dialect::Dialects;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::value::duration;
use crate::snapshot::{
    ApiFormat, Credential, Endpoint, ModelTraits, Pace, Provider, SecondTry, TierModels, Traits, UrlTemplate,
    dialect::{self, Auth, Overrides, Transport},
};

const CHAT_PATH: &str = "/chat/completions";
const MESSAGES_PATH: &str = "/v1/messages";
/// Native base URLs come with and without it.
const MESSAGES_VERSION: &str = "/v1";
const MAX_RETRIES_DEFAULT: u32 = 1;
/// Clients retry HTTP errors, and nothing after a head.
const HOLD_HEAD_DEFAULT: Duration = Duration::from_secs(15);
const FINISH_GRACE_DEFAULT: Duration = Duration::from_secs(3);
const USER_AGENT: &str = concat!("anthropic-openai-bridge/", env!("CARGO_PKG_VERSION"));
const API_KEY: HeaderName = HeaderName::from_static("api-key");
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// Framing belongs to the connection and the host to the URL.
const RESERVED: [HeaderName; 7] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
];

pub(super) fn read(message: proto::Provider) -> Result<Provider, String> {
    let format = match message.api_format() {
        proto::ApiFormat::Openai => ApiFormat::OpenAi,
        proto::ApiFormat::Anthropic => ApiFormat::Anthropic,
        proto::ApiFormat::Unspecified => ApiFormat::Unknown,
    };
    let proto::Provider {
        name,
        priority,
        api_format: _,
        base_url,
        api_key,
        custom_headers,
        timeout,
        max_retries,
        models,
        max_tokens_limit,
        dialect: preset,
        dialect_overrides,
        model_options,
        revision,
    } = message;
    if name.is_empty() {
        return Err("the name is empty".into());
    }
    let Overrides { body, transport } = Overrides::read(dialect_overrides)?;
    let Transport {
        auth,
        finish_grace,
        overload_is_503,
        hold_head,
        url_template,
        adaptive,
        auto_shrink,
        retry_codes,
    } = transport;
    let (url, template) = place(&base_url, url_template.as_deref(), format)?;
    let auth = auth.unwrap_or_else(|| dialect::default_auth(&preset, format));
    let (headers, secrets) = head(api_key.into(), auth, custom_headers, format)?;
    let dialects = dialect::preset(&preset)
        .with_overrides(&body)
        .map_err(dialect::unknown)?;
    let by_model = model_options
        .into_iter()
        .map(|options| model_traits(options, &dialects))
        .collect::<Result<HashMap<_, _>, _>>()?;
    Ok(Provider {
        name: name.into(),
        revision,
        priority,
        format,
        endpoint: Endpoint {
            url,
            template,
            headers,
            credential: credential(auth, format)?,
            pace: Pace {
                idle: duration(timeout)?.unwrap_or_else(|| dialect::default_timeout(&preset)),
                finish_grace: finish_grace.unwrap_or(FINISH_GRACE_DEFAULT),
                hold_head: hold_head.unwrap_or(HOLD_HEAD_DEFAULT),
            },
            secrets,
        },
        max_retries: max_retries.unwrap_or(MAX_RETRIES_DEFAULT),
        models: tier_models(models.unwrap_or_default()),
        traits: Traits {
            dialects,
            max_tokens_limit,
            overload_is_503: overload_is_503.unwrap_or_default(),
            second_try: SecondTry {
                adapts: adaptive.unwrap_or(true),
                shrinks: auto_shrink.unwrap_or(true),
                codes: retry_codes.unwrap_or_else(|| dialect::default_retry_codes(&preset)),
            },
            by_model,
        },
    })
}

/// Where it is called, and how its models get into that.
fn place(
    base: &str,
    template: Option<&str>,
    format: ApiFormat,
) -> Result<(Url, Option<UrlTemplate>), String> {
    let Some(template) = template else {
        return Ok((url(base, format)?, None));
    };
    let template = UrlTemplate::parse(template, base)?;
    Ok((template.plain().clone(), Some(template)))
}

fn url(base: &str, format: ApiFormat) -> Result<Url, String> {
    let url = Url::parse(base).map_err(|_| "the base URL is not a URL")?;
    let is_plain = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if !is_plain {
        return Err("the base URL must be http or https, without user info, query and fragment".into());
    }
    let base = base.trim_end_matches('/');
    let full = match format {
        ApiFormat::OpenAi | ApiFormat::Unknown => format!("{base}{CHAT_PATH}"),
        ApiFormat::Anthropic => {
            let root = base.strip_suffix(MESSAGES_VERSION).unwrap_or(base);
            format!("{root}{MESSAGES_PATH}")
        }
    };
    Url::parse(&full).map_err(|_| "the base URL is not a URL".into())
}

fn credential(auth: Auth, format: ApiFormat) -> Result<Credential, String> {
    match (auth, format) {
        (Auth::Bearer | Auth::XApiKey | Auth::ApiKey, _) => Ok(Credential::Configured),
        (Auth::Client, ApiFormat::Anthropic) => Ok(Credential::Callers),
        (Auth::Client, ApiFormat::OpenAi | ApiFormat::Unknown) => {
            Err("auth client is for providers that speak the client's API".into())
        }
    }
}

/// The head of every request, and what in it is secret.
fn head(
    api_key: SecretString,
    auth: Auth,
    custom: HashMap<String, String>,
    format: ApiFormat,
) -> Result<(HeaderMap, Vec<SecretString>), String> {
    let mut headers = HeaderMap::from_iter([
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::ACCEPT_ENCODING, HeaderValue::from_static("identity")),
    ]);
    match format {
        // A native provider sees what the client calls itself.
        ApiFormat::Anthropic => {}
        ApiFormat::OpenAi | ApiFormat::Unknown => {
            headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        }
    }
    let mut secrets = Vec::new();
    if !api_key.expose_secret().is_empty() {
        let key = api_key.expose_secret().to_owned();
        let entry = match auth {
            Auth::Bearer => Some((header::AUTHORIZATION, format!("Bearer {key}"))),
            Auth::XApiKey => Some((X_API_KEY, key)),
            Auth::ApiKey => Some((API_KEY, key)),
            Auth::Client => None,
        };
        if let Some((name, value)) = entry {
            let value = sensitive(&value).ok_or("the API key has characters that no header may have")?;
            headers.insert(name, value);
        }
        secrets.push(api_key);
    }
    for (name, value) in custom {
        let header: HeaderName = name
            .parse()
            .map_err(|_| format!("custom header {name:?} is not a header name"))?;
        if RESERVED.contains(&header) {
            return Err(format!("custom header {name:?} belongs to the connection"));
        }
        let told = sensitive(&value)
            .ok_or_else(|| format!("custom header {name:?} has a value no header may have"))?;
        headers.insert(header, told);
        secrets.push(value.into());
    }
    Ok((headers, secrets))
}

fn sensitive(value: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn tier_models(message: proto::TierModels) -> TierModels {
    let proto::TierModels { big, middle, small } = message;
    let names = |models: Vec<String>| models.into_iter().map(Into::into).collect();
    TierModels {
        small: names(small),
        middle: names(middle),
        big: names(big),
    }
}

fn model_traits(options: proto::ModelOptions, dialects: &Dialects) -> Result<(String, ModelTraits), String> {
    let proto::ModelOptions {
        model,
        context_window,
        max_output_tokens,
        dialect_overrides,
    } = options;
    let Overrides { body, transport } = Overrides::read(dialect_overrides)?;
    let dialect = dialects
        .of_model(&model)
        .with_overrides(body)
        .map_err(dialect::unknown)?;
    Ok((
        model,
        ModelTraits {
            dialect,
            context_window,
            max_output_tokens,
            shrinks: transport.auto_shrink,
        },
    ))
}
