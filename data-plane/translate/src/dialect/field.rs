//! Fields that some upstreams refuse, and what a dialect without one looks like.
//!
//! An upstream that assumes less than its preset says so in a 400. The caller asks again
//! without the field and remembers; here is only what "without" means, knob by knob.

use super::knobs::{
    CacheControl, Dialect, Effort, ForwardUser, MaxTokensField, MidSystem, Param, PrefillFlag, Reasoning,
    ReasoningBack, StructuredOutput, SystemRole,
};

/// A part of the request that an upstream can do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    StreamOptions,
    /// Wants the other name of the output limit.
    MaxTokens,
    /// Wants the old name of the output limit.
    MaxCompletionTokens,
    ParallelToolCalls,
    Temperature,
    TopP,
    TopK,
    Stop,
    ToolChoice,
    ResponseFormat,
    /// Whatever switches its reasoning.
    Reasoning,
    /// One word of its scale of efforts.
    Effort(Effort),
    /// Function tools while it reasons.
    EffortWithTools,
    /// Reasoning on messages of the assistant.
    ReasoningBack,
    /// `strict` on tools or on the schema of the answer.
    Strict,
    CacheControl,
    ServiceTier,
    User,
    /// The flag on a message that is to be continued.
    Prefix,
    DeveloperRole,
    /// System messages behind the first.
    MidSystem,
}

impl Dialect {
    /// This dialect for an upstream that refused `field`; none if that would change nothing.
    pub fn without(&self, field: Field) -> Option<Dialect> {
        let mut next = self.clone();
        match field {
            Field::StreamOptions => next.stream_usage = false,
            Field::MaxTokens => next.max_tokens_field = MaxTokensField::MaxCompletionTokens,
            Field::MaxCompletionTokens => next.max_tokens_field = MaxTokensField::MaxTokens,
            Field::ParallelToolCalls => next.parallel_tool_calls = false,
            Field::Temperature => next.drop_param(Param::Temperature),
            Field::TopP => next.drop_param(Param::TopP),
            Field::TopK => next.top_k = false,
            Field::Stop => next.drop_param(Param::Stop),
            Field::ToolChoice => next.drop_param(Param::ToolChoice),
            Field::ResponseFormat => next.structured_output = weaker(self.structured_output),
            Field::Reasoning => {
                next.reasoning = Reasoning::None;
                next.tools_force_effort = None;
            }
            Field::Effort(word) => next.drop_effort(word),
            Field::EffortWithTools => next.tools_force_effort = Some(Effort::None),
            Field::ReasoningBack => next.reasoning_back = ReasoningBack::Never,
            Field::Strict => {
                next.strict_tools = false;
                next.strict_schema = false;
            }
            Field::CacheControl => next.cache_control = CacheControl::Strip,
            Field::ServiceTier => next.service_tier = false,
            Field::User => next.forward_user = ForwardUser::Off,
            Field::Prefix => next.prefill_flag = PrefillFlag::None,
            Field::DeveloperRole => {
                if self.system_role == SystemRole::Developer {
                    next.system_role = SystemRole::System;
                }
                if self.mid_system == MidSystem::Developer {
                    next.mid_system = MidSystem::User;
                }
            }
            Field::MidSystem => next.mid_system = MidSystem::User,
        }
        (next != *self).then_some(next)
    }

    fn drop_param(&mut self, param: Param) {
        if !self.drop_params.contains(&param) {
            self.drop_params.push(param);
        }
    }

    fn drop_effort(&mut self, word: Effort) {
        if self.efforts.is_empty() {
            self.efforts = Effort::ALL.to_vec();
        }
        self.efforts.retain(|effort| *effort != word);
        if self.tools_force_effort == Some(word) {
            self.tools_force_effort = None;
        }
    }
}

/// The next weaker way to ask for a schema.
fn weaker(way: StructuredOutput) -> StructuredOutput {
    match way {
        StructuredOutput::JsonSchema => StructuredOutput::JsonObject,
        StructuredOutput::JsonObject => StructuredOutput::Prompt,
        StructuredOutput::Prompt | StructuredOutput::Off => way,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p39_the_output_limit_has_two_names() {
        let old = Dialect::default();
        let new = old.without(Field::MaxTokens).unwrap();
        assert_eq!(new.max_tokens_field, MaxTokensField::MaxCompletionTokens);
        assert_eq!(new.without(Field::MaxCompletionTokens), Some(old));
    }

    #[test]
    fn p40_a_parameter_is_dropped_once() {
        let without = Dialect::default().without(Field::Temperature).unwrap();
        assert_eq!(without.drop_params, [Param::Temperature]);
        assert_eq!(
            without.without(Field::Temperature),
            None,
            "there is nothing to try"
        );
    }

    #[test]
    fn a_schema_is_asked_for_in_weaker_ways() {
        let object = Dialect::default().without(Field::ResponseFormat).unwrap();
        assert_eq!(object.structured_output, StructuredOutput::JsonObject);
        let prompt = object.without(Field::ResponseFormat).unwrap();
        assert_eq!(prompt.structured_output, StructuredOutput::Prompt);
        assert_eq!(prompt.without(Field::ResponseFormat), None);
    }

    #[test]
    fn one_effort_goes_and_the_others_stay() {
        let less = Dialect::default()
            .without(Field::Effort(Effort::Minimal))
            .unwrap();
        assert_eq!(less.efforts.len(), Effort::ALL.len() - 1);
        assert!(!less.efforts.contains(&Effort::Minimal));
        assert_eq!(less.without(Field::Effort(Effort::Minimal)), None);
    }
}
