//! Between the knobs of a dialect and the contract's message, naming every field: a
//! new one fails to compile here instead of vanishing.

use bridge_proto::fleet::v1 as fleet;

use crate::domain::provider::{KnobValue, Overrides, OverridesDraft};

/// The type of a field, as a knob's value and back.
trait Field: Sized {
    fn into_value(self) -> KnobValue;
    /// `None` if the value is of another type, which a checked one is not.
    fn of_value(value: &KnobValue) -> Option<Self>;
}

macro_rules! knobs {
    ($($name:ident,)*) => {
        /// What somebody sets, not yet checked. Absent and empty are the same.
        pub(crate) fn draft(message: Option<fleet::Dialect>) -> OverridesDraft {
            let fleet::Dialect { $($name),* } = message.unwrap_or_default();
            let knobs = [$((stringify!($name), $name.map(Field::into_value))),*];
            let set = knobs.into_iter();
            set.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
        }

        /// `None` if no knob is set.
        pub(crate) fn to_proto(overrides: &Overrides) -> Option<fleet::Dialect> {
            let message = fleet::Dialect {
                $($name: overrides.get(stringify!($name)).and_then(Field::of_value)),*
            };
            (!overrides.is_empty()).then_some(message)
        }
    };
}

knobs! {
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
    always_thinks,
    usage_prompt_includes_cache,
    tokenizer,
    token_factor,
    restore_model,
    strip_betas,
    strip_fields,
    strip_cache_ttl,
    thinking_adaptive,
}

impl Field for bool {
    fn into_value(self) -> KnobValue {
        KnobValue::Flag(self)
    }

    fn of_value(value: &KnobValue) -> Option<Self> {
        match value {
            KnobValue::Flag(flag) => Some(*flag),
            KnobValue::Number(_) | KnobValue::Text(_) | KnobValue::List(_) => None,
        }
    }
}

impl Field for u32 {
    fn into_value(self) -> KnobValue {
        KnobValue::Number(self.into())
    }

    fn of_value(value: &KnobValue) -> Option<Self> {
        match value {
            // Checked to be whole and in range.
            KnobValue::Number(number) => Some(*number as Self),
            KnobValue::Flag(_) | KnobValue::Text(_) | KnobValue::List(_) => None,
        }
    }
}

impl Field for f64 {
    fn into_value(self) -> KnobValue {
        KnobValue::Number(self)
    }

    fn of_value(value: &KnobValue) -> Option<Self> {
        match value {
            KnobValue::Number(number) => Some(*number),
            KnobValue::Flag(_) | KnobValue::Text(_) | KnobValue::List(_) => None,
        }
    }
}

impl Field for String {
    fn into_value(self) -> KnobValue {
        KnobValue::Text(self)
    }

    fn of_value(value: &KnobValue) -> Option<Self> {
        match value {
            KnobValue::Text(text) => Some(text.clone()),
            KnobValue::Flag(_) | KnobValue::Number(_) | KnobValue::List(_) => None,
        }
    }
}

impl Field for fleet::StringList {
    fn into_value(self) -> KnobValue {
        KnobValue::List(self.values)
    }

    fn of_value(value: &KnobValue) -> Option<Self> {
        match value {
            KnobValue::List(values) => Some(Self {
                values: values.clone(),
            }),
            KnobValue::Flag(_) | KnobValue::Number(_) | KnobValue::Text(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::provider::Draft;

    fn checked(dialect_overrides: OverridesDraft) -> Overrides {
        let draft = Draft {
            dialect_overrides,
            ..Draft::plain("a", "http://a.example")
        };
        draft.check().unwrap().dialect_overrides
    }

    #[test]
    fn knobs_of_every_type_come_back_as_they_were() {
        let message = fleet::Dialect {
            vision: Some(false),
            max_stop: Some(0),
            token_factor: Some(1.25),
            mid_system: Some("top".into()),
            drop_params: Some(fleet::StringList::default()),
            strip_betas: Some(fleet::StringList {
                values: vec!["b".into(), "a".into()],
            }),
            ..Default::default()
        };
        let draft = draft(Some(message.clone()));
        assert_eq!(draft.len(), 6);
        assert_eq!(to_proto(&checked(draft)), Some(message));
    }

    #[test]
    fn nothing_set_is_no_message() {
        assert!(draft(None).is_empty());
        assert_eq!(to_proto(&checked(draft(Some(fleet::Dialect::default())))), None);
    }
}
