//! Families of models: what some models of a provider take differently from the rest.
//!
//! A table of preset × pattern → overrides. The first row that fits counts, so the special
//! stands before the general; what an admin sets comes on top.

use crate::dialect::knobs::{Dialect, Effort, Param, Reasoning, ReasoningBack, ServerTool, ToolIdFormat};

use super::family::{Family, family};
use super::hosted;

const OPENAI: &[&str] = &["openai", "azure-openai", "openai-reasoning"];
const QWEN: &[&str] = &["qwen", "modelscope"];
const TEMPLATED: &[&str] = &["vllm", "sglang", "llama-cpp"];

const FAMILIES: &[Family] = &[
    family(OPENAI, &["gpt-5*-search*", "*-search-preview*"], openai_search),
    family(OPENAI, &["gpt-5*-chat*"], as_the_preset),
    family(OPENAI, &["gpt-5", "gpt-5-*"], gpt_5),
    family(OPENAI, &["gpt-5.1", "gpt-5.1-*"], gpt_5_1),
    family(OPENAI, &["gpt-5.2*", "gpt-5.3*"], gpt_5_2),
    family(OPENAI, &["gpt-5.*", "gpt-6*"], gpt_newest),
    family(OPENAI, &["o1*", "o3*", "o4*"], o_series),
    family(
        QWEN,
        &["qwq*", "qvq*", "*-thinking*", "*deepseek-r1*"],
        always_thinks,
    ),
    family(QWEN, &["*-vl*instruct*"], never_thinks),
    family(QWEN, &["*coder*", "*instruct*"], never_thinks_and_is_blind),
    family(&["deepseek"], &["*r1*"], deepseek_r1),
    family(&["deepseek"], &["deepseek-reasoner*"], always_thinks),
    family(&["kimi"], &["moonshot-*"], kimi_plain),
    family(&["kimi"], &["kimi-k3*"], kimi_3),
    family(&["kimi"], &["kimi-k2.5*", "kimi-k2.6*"], kimi_switched),
    family(&["kimi"], &["kimi-k2.*"], always_thinks),
    family(
        &["kimi"],
        &["kimi-k2-thinking*", "kimi-thinking*"],
        always_thinks_and_is_blind,
    ),
    family(&["kimi"], &["kimi-k2*"], kimi_plain_and_blind),
    family(&["glm"], &["glm-3*", "glm-4", "glm-4-*", "glm-4v*"], glm_old),
    family(&["glm"], &["glm-*v", "glm-*v-*"], as_the_preset),
    family(&["glm"], &["glm-*"], is_blind),
    family(&["minimax"], &["minimax-m*"], always_thinks_and_is_blind),
    family(
        &["gemini"],
        &["gemini-2.5-pro*", "gemini-3*pro*"],
        cannot_stop_thinking,
    ),
    family(&["gemini"], &["gemini-1*", "gemini-2.0*"], never_thinks),
    family(&["groq"], &["gpt-oss*"], groq_gpt_oss),
    family(&["groq"], &["qwen3*"], groq_qwen),
    family(&["groq"], &["deepseek-r1*"], as_the_preset),
    family(&["groq"], &["*"], groq_plain),
    family(&["xai"], &["grok-3-mini*"], grok_3_mini),
    family(&["xai"], &["grok-2*", "grok-3*"], grok_plain),
    family(TEMPLATED, &["gpt-oss*"], served_gpt_oss),
    family(TEMPLATED, &["deepseek-v3*", "granite*"], thinking_key_is_thinking),
    family(TEMPLATED, &["kimi-k2*"], served_kimi),
    family(
        &["vllm"],
        &["*mistral*", "mixtral*", "devstral*", "codestral*", "magistral*"],
        served_mistral,
    ),
    family(TEMPLATED, &["qwq*", "*-thinking*", "deepseek-r1*"], always_thinks),
    family(&["ollama"], &["gpt-oss*"], cannot_stop_thinking),
    family(
        &["ollama"],
        &[
            "*coder*",
            "*instruct*",
            "llama*",
            "gemma*",
            "mistral*",
            "mixtral*",
            "devstral*",
            "codestral*",
            "phi3*",
            "phi4",
            "phi4:*",
            "qwen2*",
            "command-r*",
            "granite3*",
        ],
        never_thinks,
    ),
];

/// The families of a preset, the special before the general.
pub(super) fn of_preset(preset: &str) -> impl Iterator<Item = &'static Family> {
    FAMILIES
        .iter()
        .filter(move |family| family.presets.contains(&preset))
}

fn as_the_preset(_: &mut Dialect) {}

fn is_blind(dialect: &mut Dialect) {
    dialect.vision = false;
}

fn always_thinks(dialect: &mut Dialect) {
    dialect.always_thinks = true;
}

fn always_thinks_and_is_blind(dialect: &mut Dialect) {
    always_thinks(dialect);
    is_blind(dialect);
}

fn never_thinks(dialect: &mut Dialect) {
    dialect.reasoning = Reasoning::None;
}

fn never_thinks_and_is_blind(dialect: &mut Dialect) {
    never_thinks(dialect);
    is_blind(dialect);
}

fn cannot_stop_thinking(dialect: &mut Dialect) {
    dialect.efforts = vec![Effort::Low, Effort::Medium, Effort::High];
}

// === OpenAI ===

fn openai_thinker(dialect: &mut Dialect, efforts: &[Effort]) {
    *dialect = Dialect {
        service_tier: dialect.service_tier,
        efforts: efforts.to_vec(),
        tools_force_effort: None,
        parallel_tool_calls: true,
        ..hosted::openai_reasoning()
    };
}

fn gpt_5(dialect: &mut Dialect) {
    openai_thinker(
        dialect,
        &[Effort::Minimal, Effort::Low, Effort::Medium, Effort::High],
    );
}

fn gpt_5_1(dialect: &mut Dialect) {
    openai_thinker(
        dialect,
        &[Effort::None, Effort::Low, Effort::Medium, Effort::High],
    );
}

fn gpt_5_2(dialect: &mut Dialect) {
    let efforts = [
        Effort::None,
        Effort::Low,
        Effort::Medium,
        Effort::High,
        Effort::Xhigh,
    ];
    openai_thinker(dialect, &efforts);
}

/// From 5.4 on, tools are refused unless thinking is switched off in words.
fn gpt_newest(dialect: &mut Dialect) {
    gpt_5_2(dialect);
    dialect.tools_force_effort = Some(Effort::None);
}

fn o_series(dialect: &mut Dialect) {
    openai_thinker(dialect, &[Effort::Low, Effort::Medium, Effort::High]);
    dialect.parallel_tool_calls = false;
}

fn openai_search(dialect: &mut Dialect) {
    dialect.web_search = ServerTool::Native;
    dialect.drop_params = vec![Param::Temperature, Param::TopP];
    dialect.parallel_tool_calls = false;
}

// === other providers ===

fn deepseek_r1(dialect: &mut Dialect) {
    *dialect = hosted::deepseek_r1();
}

fn kimi_plain(dialect: &mut Dialect) {
    dialect.drop_params.clear();
    dialect.reasoning_back = ReasoningBack::Never;
}

fn kimi_plain_and_blind(dialect: &mut Dialect) {
    kimi_plain(dialect);
    is_blind(dialect);
}

/// `thinking: {type}` as GLM has it.
fn kimi_switched(dialect: &mut Dialect) {
    dialect.reasoning = Reasoning::Glm;
}

fn kimi_3(dialect: &mut Dialect) {
    dialect.reasoning = Reasoning::OpenaiEffort;
    dialect.efforts = vec![Effort::Low, Effort::High, Effort::Max];
    dialect.always_thinks = true;
}

fn glm_old(dialect: &mut Dialect) {
    never_thinks(dialect);
    dialect.extra_body.clear();
}

fn groq_plain(dialect: &mut Dialect) {
    dialect.extra_body.clear();
}

fn groq_gpt_oss(dialect: &mut Dialect) {
    groq_plain(dialect);
    served_gpt_oss(dialect);
}

/// Knows `none` and its own default.
fn groq_qwen(dialect: &mut Dialect) {
    dialect.reasoning = Reasoning::OpenaiEffort;
    dialect.efforts = vec![Effort::None];
}

fn grok_plain(dialect: &mut Dialect) {
    dialect.drop_params.clear();
}

fn grok_3_mini(dialect: &mut Dialect) {
    dialect.reasoning = Reasoning::OpenaiEffort;
    dialect.efforts = vec![Effort::Low, Effort::High];
}

// === models on servers of one's own ===

fn served_gpt_oss(dialect: &mut Dialect) {
    dialect.reasoning = Reasoning::OpenaiEffort;
    cannot_stop_thinking(dialect);
}

fn thinking_key_is_thinking(dialect: &mut Dialect) {
    dialect.template_thinking_key = "thinking".to_owned();
}

fn served_kimi(dialect: &mut Dialect) {
    dialect.tool_id_format = ToolIdFormat::Kimi;
}

/// Its tokenizer has no chat template to take arguments, and wants Mistral's ids.
fn served_mistral(dialect: &mut Dialect) {
    never_thinks(dialect);
    dialect.tool_id_format = ToolIdFormat::Mistral9;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(preset: &str, model: &str, what: fn(&Dialect) -> bool) {
        let dialect = Dialect::preset_for(preset, model).unwrap();
        assert!(what(&dialect), "{preset} {model}: {dialect:?}");
    }

    #[test]
    fn families_name_presets_and_models() {
        for family in FAMILIES {
            for preset in family.presets {
                assert!(Dialect::preset(preset).is_some(), "{preset}");
            }
            assert!(!family.models.is_empty());
        }
    }

    #[test]
    fn p40_sampling_follows_the_model() {
        check("openai", "gpt-4.1", |d| {
            d.drop_params.is_empty() && d.reasoning == Reasoning::None
        });
        check("openai", "gpt-5-chat-latest", |d| d.drop_params.is_empty());
        check("openai", "GPT-5-2025-08-07", |d| {
            d.drop_params.contains(&Param::Temperature) && d.efforts[0] == Effort::Minimal
        });
        check("openai", "gpt-5.1", |d| {
            d.efforts[0] == Effort::None && d.tools_force_effort.is_none()
        });
        check("openai", "gpt-5.6-mini", |d| {
            d.tools_force_effort == Some(Effort::None)
        });
        check("openai-reasoning", "o3-mini", |d| {
            !d.parallel_tool_calls && d.tools_force_effort.is_none()
        });
        check("azure-openai", "o4-mini", |d| {
            d.drop_params.contains(&Param::Stop) && !d.service_tier
        });
        check("openai", "gpt-4o-search-preview", |d| {
            d.web_search == ServerTool::Native
        });
        check("kimi", "kimi-k2-0905-preview", |d| {
            !d.drop_params.contains(&Param::Temperature)
        });
        check("kimi", "kimi-k3-turbo", |d| {
            d.drop_params.contains(&Param::Temperature) && d.always_thinks
        });
        check("xai", "grok-3", |d| !d.drop_params.contains(&Param::Stop));
        check("xai", "grok-4", |d| d.drop_params.contains(&Param::Stop));
    }

    #[test]
    fn thinking_follows_the_model() {
        check("qwen", "qwq-plus", |d| d.always_thinks && d.force_stream);
        check("qwen", "qwen3-coder-plus", |d| {
            d.reasoning == Reasoning::None && !d.vision
        });
        check("qwen", "qwen3-max", |d| {
            d.reasoning == Reasoning::Qwen && d.vision
        });
        check("modelscope", "Qwen/Qwen3-235B-A22B-Thinking-2507", |d| {
            d.always_thinks
        });
        check("deepseek", "deepseek-reasoner", |d| {
            d.always_thinks && d.reasoning_back == ReasoningBack::Always
        });
        check("deepseek", "deepseek-r1-0528", |d| {
            d.reasoning_back == ReasoningBack::Never
        });
        check("kimi", "kimi-k2.6", |d| d.reasoning == Reasoning::Glm && d.vision);
        check("glm", "glm-4.6", |d| d.reasoning == Reasoning::Glm && !d.vision);
        check("glm", "glm-4.5v", |d| d.vision);
        check("glm", "glm-4-plus", |d| d.extra_body.is_empty());
        check("groq", "openai/gpt-oss-120b", |d| {
            d.efforts.len() == 3 && d.extra_body.is_empty()
        });
        check("groq", "llama-3.3-70b-versatile", |d| d.extra_body.is_empty());
        check("vllm", "deepseek-ai/DeepSeek-V3.1", |d| {
            d.template_thinking_key == "thinking"
        });
        check("vllm", "mistralai/Mistral-Small-3.2", |d| {
            d.tool_id_format == ToolIdFormat::Mistral9
        });
        check("ollama", "qwen3-coder:30b", |d| d.reasoning == Reasoning::None);
        check("ollama", "qwen3:8b", |d| d.reasoning == Reasoning::Ollama);
        check("gemini", "gemini-2.5-pro", |d| d.efforts[0] == Effort::Low);
    }

    #[test]
    fn an_unknown_model_is_its_preset() {
        for name in Dialect::presets().filter(|name| *name != "groq") {
            assert_eq!(
                Dialect::preset_for(name, "some-model"),
                Dialect::preset(name),
                "{name}"
            );
        }
    }
}
