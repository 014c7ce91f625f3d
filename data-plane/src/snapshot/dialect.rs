//! Reads the knobs of a dialect.
//!
//! Knobs that shape bodies go to the translation, which knows their words; knobs of
//! transport stay with the data plane. A word that nobody knows refuses the provider.

mod knob;
mod transport;

use std::time::Duration;

use bridge_proto::fleet::v1 as proto;
use bridge_translate::dialect::Dialects;
use serde_json::{Map, Value};

pub(crate) use self::transport::KNOBS as TRANSPORT_KNOBS;
pub(super) use self::transport::{Auth, Transport, default_auth, default_retry_codes, default_timeout};

use self::{
    knob::value,
    transport::{HOLD_HEAD_MAX, is_503},
};

/// A preset by name; a name of a newer control plane means the one that assumes least.
pub(super) fn preset(name: &str) -> Dialects {
    Dialects::preset(name).unwrap_or_default()
}

/// What a message sets, sorted by who honours it.
#[derive(Default)]
pub(super) struct Overrides {
    pub(super) body: Map<String, Value>,
    pub(super) transport: Transport,
}

impl Overrides {
    pub(super) fn read(message: Option<proto::Dialect>) -> Result<Self, String> {
        message.map_or_else(|| Ok(Self::default()), sort)
    }
}

pub(super) fn unknown(error: serde_json::Error) -> String {
    format!("the dialect is not known: {error}")
}

/// A knob that is new in the contract does not compile before it has its place here.
fn sort(message: proto::Dialect) -> Result<Overrides, String> {
    let proto::Dialect {
        auth,
        url_template,
        force_stream,
        stream_usage,
        eof_is_end,
        hold_head_ms,
        finish_grace_ms,
        adaptive,
        retry_codes,
        overloaded_as,
        system_role,
        mid_system,
        strip_billing_header,
        merge_same_role,
        first_must_be_user,
        assistant_null_content,
        user_after_tool,
        empty_tool_result,
        tool_result_images,
        prefill,
        prefill_flag,
        vision,
        image_urls,
        pdf,
        cache_control,
        max_tokens_field,
        max_stop,
        drop_params,
        drop_params_thinking,
        temperature_max,
        top_k,
        structured_output,
        strict_schema,
        forward_user,
        user_field,
        prompt_cache_key,
        service_tier,
        extra_body_passthrough,
        extra_body,
        auto_shrink,
        max_tools,
        max_tool_description,
        schema_level,
        strict_tools,
        input_examples,
        tool_choice_any,
        tool_choice_named,
        tool_choice_none,
        tool_choice_thinking,
        parallel_tool_calls,
        enforce_single_tool,
        deferred_tools,
        drop_unknown_tools,
        web_search,
        web_search_body,
        tool_id_format,
        tool_extra,
        buffer_tool_args,
        tools_force_effort,
        reasoning,
        always_thinks,
        efforts,
        effort_from_budget,
        thinking_absent,
        reasoning_back,
        reasoning_field,
        reasoning_details,
        foreign_reasoning,
        emit_thinking,
        honor_display,
        think_tags,
        template_thinking_key,
        usage_prompt_includes_cache,
        tokenizer,
        token_factor,
        restore_model,
        strip_betas,
        strip_fields,
        strip_cache_ttl,
        thinking_adaptive,
    } = message;
    let knobs = [
        ("force_stream", value(force_stream)),
        ("stream_usage", value(stream_usage)),
        ("eof_is_end", value(eof_is_end)),
        ("system_role", value(system_role)),
        ("mid_system", value(mid_system)),
        ("strip_billing_header", value(strip_billing_header)),
        ("merge_same_role", value(merge_same_role)),
        ("first_must_be_user", value(first_must_be_user)),
        ("assistant_null_content", value(assistant_null_content)),
        ("user_after_tool", value(user_after_tool)),
        ("empty_tool_result", value(empty_tool_result)),
        ("tool_result_images", value(tool_result_images)),
        ("prefill", value(prefill)),
        ("prefill_flag", value(prefill_flag)),
        ("vision", value(vision)),
        ("image_urls", value(image_urls)),
        ("pdf", value(pdf)),
        ("cache_control", value(cache_control)),
        ("max_tokens_field", value(max_tokens_field)),
        ("max_stop", value(max_stop)),
        ("drop_params", value(drop_params)),
        ("drop_params_thinking", value(drop_params_thinking)),
        ("temperature_max", value(temperature_max)),
        ("top_k", value(top_k)),
        ("structured_output", value(structured_output)),
        ("strict_schema", value(strict_schema)),
        ("forward_user", value(forward_user)),
        ("user_field", value(user_field)),
        ("prompt_cache_key", value(prompt_cache_key)),
        ("service_tier", value(service_tier)),
        ("extra_body_passthrough", value(extra_body_passthrough)),
        ("max_tools", value(max_tools)),
        ("max_tool_description", value(max_tool_description)),
        ("schema_level", value(schema_level)),
        ("strict_tools", value(strict_tools)),
        ("input_examples", value(input_examples)),
        ("tool_choice_any", value(tool_choice_any)),
        ("tool_choice_named", value(tool_choice_named)),
        ("tool_choice_none", value(tool_choice_none)),
        ("tool_choice_thinking", value(tool_choice_thinking)),
        ("parallel_tool_calls", value(parallel_tool_calls)),
        ("enforce_single_tool", value(enforce_single_tool)),
        ("deferred_tools", value(deferred_tools)),
        ("drop_unknown_tools", value(drop_unknown_tools)),
        ("web_search", value(web_search)),
        ("tool_id_format", value(tool_id_format)),
        ("tool_extra", value(tool_extra)),
        ("buffer_tool_args", value(buffer_tool_args)),
        ("tools_force_effort", value(tools_force_effort)),
        ("reasoning", value(reasoning)),
        ("always_thinks", value(always_thinks)),
        ("efforts", value(efforts)),
        ("effort_from_budget", value(effort_from_budget)),
        ("thinking_absent", value(thinking_absent)),
        ("reasoning_back", value(reasoning_back)),
        ("reasoning_field", value(reasoning_field)),
        ("reasoning_details", value(reasoning_details)),
        ("foreign_reasoning", value(foreign_reasoning)),
        ("emit_thinking", value(emit_thinking)),
        ("honor_display", value(honor_display)),
        ("think_tags", value(think_tags)),
        ("template_thinking_key", value(template_thinking_key)),
        ("usage_prompt_includes_cache", value(usage_prompt_includes_cache)),
        ("tokenizer", value(tokenizer)),
        ("token_factor", value(token_factor)),
        ("restore_model", value(restore_model)),
        ("strip_betas", value(strip_betas)),
        ("strip_fields", value(strip_fields)),
        ("strip_cache_ttl", value(strip_cache_ttl)),
        ("thinking_adaptive", value(thinking_adaptive)),
    ];
    let given = knobs
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let mut body: Map<String, Value> = given.collect();
    for (name, json) in [("extra_body", extra_body), ("web_search_body", web_search_body)] {
        let Some(json) = json else { continue };
        let object = serde_json::from_str::<Map<String, Value>>(&json)
            .map_err(|_| format!("{name} is not a JSON object"))?;
        body.insert(name.to_owned(), Value::Object(object));
    }
    let millis = |ms: u32| Duration::from_millis(ms.into());
    let transport = Transport {
        auth: auth.as_deref().map(Auth::read).transpose()?,
        finish_grace: finish_grace_ms.map(millis),
        overload_is_503: overloaded_as.as_deref().map(is_503).transpose()?,
        hold_head: hold_head_ms.map(millis).map(|hold| hold.min(HOLD_HEAD_MAX)),
        url_template,
        adaptive,
        auto_shrink,
        retry_codes: retry_codes.map(|codes| codes.values),
    };
    Ok(Overrides { body, transport })
}

#[cfg(test)]
mod documented;

#[cfg(test)]
mod tests {
    use bridge_translate::dialect::{Dialect, MidSystem, Param};

    use super::*;

    fn read(message: proto::Dialect) -> Result<Dialect, String> {
        let overrides = Overrides::read(Some(message))?.body;
        Dialect::default().with_overrides(overrides).map_err(unknown)
    }

    #[test]
    fn knobs_replace_those_of_the_preset() {
        let dialect = read(proto::Dialect {
            mid_system: Some("top".into()),
            drop_params: Some(proto::StringList {
                values: vec!["stop".into()],
            }),
            max_tools: Some(7),
            extra_body: Some(r#"{"a":1}"#.into()),
            ..Default::default()
        })
        .unwrap();
        assert_eq!(dialect.mid_system, MidSystem::Top);
        assert_eq!(dialect.drop_params, [Param::Stop]);
        assert_eq!(dialect.max_tools, Some(7));
        assert_eq!(dialect.extra_body.len(), 1);
    }

    #[test]
    fn a_word_that_nobody_knows_is_refused() {
        let words = [
            proto::Dialect {
                mid_system: Some("sideways".into()),
                ..Default::default()
            },
            proto::Dialect {
                auth: Some("smoke-signal".into()),
                ..Default::default()
            },
            proto::Dialect {
                overloaded_as: Some("418".into()),
                ..Default::default()
            },
            proto::Dialect {
                extra_body: Some("[]".into()),
                ..Default::default()
            },
        ];
        for message in words {
            assert!(read(message.clone()).is_err(), "{message:?}");
        }
    }

    #[test]
    fn knobs_of_transport_stay_out_of_bodies() {
        let message = proto::Dialect {
            adaptive: Some(false),
            auto_shrink: Some(false),
            hold_head_ms: Some(4_000_000),
            retry_codes: Some(proto::StringList {
                values: vec!["flaky".into()],
            }),
            ..Default::default()
        };
        let Overrides { body, transport } = Overrides::read(Some(message)).unwrap();
        assert!(body.is_empty());
        assert_eq!(
            (transport.adaptive, transport.auto_shrink),
            (Some(false), Some(false))
        );
        assert_eq!(transport.hold_head, Some(HOLD_HEAD_MAX));
        assert_eq!(transport.retry_codes, Some(vec!["flaky".to_owned()]));
    }

    #[test]
    fn an_unknown_preset_assumes_least() {
        assert_eq!(preset("from-the-future").of_model("gpt-5"), &Dialect::default());
    }
}
