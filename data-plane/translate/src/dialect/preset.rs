//! The presets: each states how it differs from `generic`, which assumes little.

mod families;
mod family;
mod generic;
mod hosted;
mod local;

use serde_json::{Map, Value};

use super::knobs::Dialect;

use self::family::Family;

type Preset = (&'static str, fn() -> Dialect);

const PRESETS: &[Preset] = &[
    ("generic", generic::generic),
    ("openai", hosted::openai),
    ("openai-reasoning", hosted::openai_reasoning),
    ("azure-openai", hosted::azure_openai),
    ("qwen", hosted::qwen),
    ("modelscope", hosted::modelscope),
    ("aiping", generic::generic),
    ("deepseek", hosted::deepseek),
    ("deepseek-r1", hosted::deepseek_r1),
    ("kimi", hosted::kimi),
    ("glm", hosted::glm),
    ("minimax", hosted::minimax),
    ("mistral", hosted::mistral),
    ("gemini", hosted::gemini),
    ("groq", hosted::groq),
    ("openrouter", hosted::openrouter),
    ("xai", hosted::xai),
    ("vllm", local::vllm),
    ("sglang", local::sglang),
    ("llama-cpp", local::llama_cpp),
    ("ollama", local::ollama),
    ("lm-studio", generic::generic),
    ("anthropic", hosted::anthropic),
];

impl Dialect {
    /// The preset of that name.
    pub fn preset(name: &str) -> Option<Dialect> {
        PRESETS
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, make)| make())
    }

    /// The preset of that name as this model speaks it.
    pub fn preset_for(name: &str, model: &str) -> Option<Dialect> {
        let dialect = Dialect::preset(name)?;
        let family = families::of_preset(name).find(|family| family.has(model));
        Some(family.map_or_else(|| dialect.clone(), |family| family.of(&dialect)))
    }

    /// Names of all presets.
    pub fn presets() -> impl Iterator<Item = &'static str> {
        PRESETS.iter().map(|(name, _)| *name)
    }
}

impl Default for Dialect {
    fn default() -> Self {
        generic::generic()
    }
}

/// What a provider's models speak: the same, but for some families.
#[derive(Debug, Clone, Default)]
pub struct Dialects {
    base: Dialect,
    families: Vec<(&'static Family, Dialect)>,
}

impl Dialects {
    /// The preset of that name with its families.
    pub fn preset(name: &str) -> Option<Dialects> {
        let base = Dialect::preset(name)?;
        let families = families::of_preset(name).map(|family| (family, family.of(&base)));
        Some(Dialects {
            families: families.collect(),
            base,
        })
    }

    /// These dialects with single knobs replaced in each. Unknown knobs and values are errors.
    pub fn with_overrides(&self, overrides: &Map<String, Value>) -> Result<Dialects, serde_json::Error> {
        let families = self
            .families
            .iter()
            .map(|(family, dialect)| Ok((*family, dialect.with_overrides(overrides.clone())?)));
        Ok(Dialects {
            base: self.base.with_overrides(overrides.clone())?,
            families: families.collect::<Result<_, serde_json::Error>>()?,
        })
    }

    /// What this model speaks.
    pub fn of_model(&self, model: &str) -> &Dialect {
        self.families
            .iter()
            .find(|(family, _)| family.has(model))
            .map_or(&self.base, |(_, dialect)| dialect)
    }
}

#[cfg(test)]
mod tests {
    use super::generic::generic;
    use super::*;
    use crate::dialect::knobs::{MidSystem, ServerTool};

    #[test]
    fn presets_survive_serde_and_overrides() {
        for name in Dialect::presets() {
            let preset = Dialect::preset(name).unwrap();
            let text = serde_json::to_string(&preset).unwrap();
            assert_eq!(serde_json::from_str::<Dialect>(&text).unwrap(), preset);
        }
        let overrides = serde_json::from_str(r#"{"top_k": true, "mid_system": "top"}"#).unwrap();
        let changed = generic().with_overrides(overrides).unwrap();
        assert_eq!(
            changed,
            Dialect {
                top_k: true,
                mid_system: MidSystem::Top,
                ..generic()
            }
        );
        let typo = serde_json::from_str(r#"{"topk": true}"#).unwrap();
        assert!(generic().with_overrides(typo).is_err());
    }

    #[test]
    fn overrides_come_on_top_of_families() {
        let overrides = serde_json::from_str(r#"{"top_k": true, "efforts": ["high"]}"#).unwrap();
        let openai = Dialects::preset("openai").unwrap();
        let changed = openai.with_overrides(&overrides).unwrap();
        for model in ["gpt-4.1", "o3", "gpt-5.1"] {
            assert_eq!(
                Some(openai.of_model(model)),
                Dialect::preset_for("openai", model).as_ref()
            );
            let expected = openai.of_model(model).with_overrides(overrides.clone()).unwrap();
            assert_eq!(changed.of_model(model), &expected);
        }
        assert_ne!(changed.of_model("o3"), changed.of_model("gpt-4.1"));
    }

    #[test]
    fn native_search_needs_the_words_for_it() {
        let native = || serde_json::from_str(r#"{"web_search": "native"}"#).unwrap();
        assert!(generic().with_overrides(native()).is_err());
        let qwen = Dialect::preset("qwen").unwrap().with_overrides(native()).unwrap();
        assert_eq!(qwen.web_search, ServerTool::Native);
    }
}
