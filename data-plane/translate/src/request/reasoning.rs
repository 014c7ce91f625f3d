//! Thinking and effort to whatever switches an upstream's reasoning.

use std::borrow::Cow;

use crate::anthropic::{Request, Thinking};
use crate::dialect::{Dialect, Effort, Reasoning, ThinkingAbsent};
use crate::openai::request::Param;

use super::context::{Context, Wish};

/// Budgets below these many tokens count as the effort beside them.
const BUDGET_EFFORTS: &[(u64, Effort)] = &[
    (2_048, Effort::Low),
    (8_192, Effort::Medium),
    (24_576, Effort::High),
];

/// Adds the fields that control reasoning.
pub(super) fn translate<'r>(cx: &Context<'r>, has_tools: bool, params: &mut Vec<(Cow<'r, str>, Param<'r>)>) {
    let dialect = cx.dialect();
    let mut put = |name: &'r str, value: Param<'r>| params.push((Cow::Borrowed(name), value));
    if let (true, Some(forced)) = (has_tools, dialect.tools_force_effort) {
        return put("reasoning_effort", Param::word(forced.as_str()));
    }
    let (effort, budget, is_on) = match cx.thinking {
        Wish::Default => return,
        Wish::Off => (None, None, false),
        Wish::On { effort, budget } => (effort, budget, true),
    };
    match dialect.reasoning {
        Reasoning::None => {}
        Reasoning::OpenaiEffort | Reasoning::Ollama | Reasoning::Gemini => {
            let efforts = efforts(dialect);
            let level = if is_on {
                effort.and_then(|effort| nearest(effort, efforts))
            } else {
                lowest(efforts)
            };
            if let Some(level) = level {
                put("reasoning_effort", Param::word(level.as_str()));
            }
        }
        Reasoning::Qwen => {
            put("enable_thinking", Param::Bool(is_on));
            if let Some(budget) = budget {
                let most = cx.target.max_output_tokens.map_or(u64::MAX, u64::from);
                put("thinking_budget", Param::Number(budget.min(most)));
            }
        }
        Reasoning::Deepseek => {
            put("thinking", switch(is_on));
            if let Some(effort) = effort {
                put("reasoning_effort", Param::word(deepseek_word(effort)));
            }
        }
        Reasoning::Glm => put("thinking", switch(is_on)),
        Reasoning::Openrouter => {
            let effort = effort.and_then(|effort| nearest(effort, efforts(dialect)));
            let entry = match (is_on, effort, budget) {
                (false, ..) => ("enabled", Param::Bool(false)),
                (true, _, Some(budget)) => ("max_tokens", Param::Number(budget)),
                (true, Some(effort), None) => ("effort", Param::word(effort.as_str())),
                (true, None, None) => ("enabled", Param::Bool(true)),
            };
            put("reasoning", Param::Object(vec![entry]));
        }
        Reasoning::Template => {
            put(
                "chat_template_kwargs",
                Param::Object(vec![(&dialect.template_thinking_key, Param::Bool(is_on))]),
            );
        }
    }
}

/// What the client asks for, as far as the model can do it.
pub(super) fn wish(request: &Request<'_>, dialect: &Dialect) -> Wish {
    match asked(request, dialect) {
        Wish::Off if dialect.always_thinks => Wish::Default,
        wish @ (Wish::Default | Wish::Off | Wish::On { .. }) => wish,
    }
}

fn asked(request: &Request<'_>, dialect: &Dialect) -> Wish {
    let effort = request
        .messages
        .iter()
        .rev()
        .find_map(|message| message.effort)
        .or(request.options.effort);
    match request.options.thinking {
        Thinking::Disabled => Wish::Off,
        // Asked for effort without asking to see it: think, unseen.
        Thinking::Absent if effort.is_some() => Wish::On { effort, budget: None },
        Thinking::Absent => match dialect.thinking_absent {
            ThinkingAbsent::Off => Wish::Off,
            ThinkingAbsent::Default => Wish::Default,
        },
        Thinking::Adaptive { .. } => Wish::On { effort, budget: None },
        Thinking::Enabled { budget_tokens, .. } => {
            let from_budget = budget_tokens
                .filter(|_| dialect.effort_from_budget)
                .map(effort_of_budget);
            Wish::On {
                effort: effort.or(from_budget),
                budget: budget_tokens,
            }
        }
    }
}

fn effort_of_budget(budget: u64) -> Effort {
    BUDGET_EFFORTS
        .iter()
        .find(|(below, _)| budget < *below)
        .map_or(Effort::Xhigh, |(_, effort)| *effort)
}

/// The model's efforts; Ollama and Gemini know no word above `high`.
fn efforts(dialect: &Dialect) -> &[Effort] {
    match (dialect.reasoning, dialect.efforts.as_slice()) {
        (Reasoning::Ollama | Reasoning::Gemini, []) => {
            &[Effort::None, Effort::Low, Effort::Medium, Effort::High]
        }
        (_, efforts) => efforts,
    }
}

/// The highest effort of the model that is not above the wanted one, or its lowest.
fn nearest(wanted: Effort, efforts: &[Effort]) -> Option<Effort> {
    if efforts.is_empty() {
        return Some(wanted);
    }
    let on = || efforts.iter().copied().filter(|effort| *effort != Effort::None);
    on().filter(|effort| *effort <= wanted).max().or(on().min())
}

fn lowest(efforts: &[Effort]) -> Option<Effort> {
    efforts.iter().min().copied()
}

fn deepseek_word(effort: Effort) -> &'static str {
    match effort {
        Effort::None | Effort::Minimal | Effort::Low => "low",
        Effort::Medium | Effort::High => "high",
        Effort::Xhigh | Effort::Max => "max",
    }
}

fn switch(is_on: bool) -> Param<'static> {
    Param::Object(vec![(
        "type",
        Param::word(if is_on { "enabled" } else { "disabled" }),
    )])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_become_efforts() {
        let rows = [
            (1024, Effort::Low),
            (4096, Effort::Medium),
            (10_000, Effort::High),
            (31_999, Effort::Xhigh),
        ];
        for (budget, effort) in rows {
            assert_eq!(effort_of_budget(budget), effort, "{budget}");
        }
    }

    #[test]
    fn efforts_map_down_to_what_the_model_has() {
        let efforts = [Effort::None, Effort::Low, Effort::High];
        assert_eq!(nearest(Effort::Max, &efforts), Some(Effort::High));
        assert_eq!(nearest(Effort::Medium, &efforts), Some(Effort::Low));
        assert_eq!(nearest(Effort::Minimal, &efforts), Some(Effort::Low));
        assert_eq!(nearest(Effort::High, &[Effort::None]), None);
        assert_eq!(lowest(&efforts), Some(Effort::None));
    }
}
