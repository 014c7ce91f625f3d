//! Presets of what an upstream can take, and which one a host probably speaks.

use super::{Invalid, base_url::BaseUrl};

macro_rules! dialects {
    ($($variant:ident = $name:literal),* $(,)?) => {
        /// The name of a preset; what it means is the translation's affair.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Dialect { $($variant),* }

        impl Dialect {
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }
    };
}

dialects! {
    Generic = "generic",
    Openai = "openai",
    OpenaiReasoning = "openai-reasoning",
    AzureOpenai = "azure-openai",
    Qwen = "qwen",
    Modelscope = "modelscope",
    Aiping = "aiping",
    Deepseek = "deepseek",
    DeepseekR1 = "deepseek-r1",
    Kimi = "kimi",
    Glm = "glm",
    Minimax = "minimax",
    Mistral = "mistral",
    Gemini = "gemini",
    Groq = "groq",
    Openrouter = "openrouter",
    Xai = "xai",
    Vllm = "vllm",
    Sglang = "sglang",
    LlamaCpp = "llama-cpp",
    Ollama = "ollama",
    LmStudio = "lm-studio",
    Anthropic = "anthropic",
}

/// Hosts of well-known providers; a subdomain counts as its parent.
const BY_HOST: &[(&str, Dialect)] = &[
    ("api.openai.com", Dialect::Openai),
    ("openai.azure.com", Dialect::AzureOpenai),
    ("cognitiveservices.azure.com", Dialect::AzureOpenai),
    ("dashscope.aliyuncs.com", Dialect::Qwen),
    ("dashscope-intl.aliyuncs.com", Dialect::Qwen),
    ("dashscope-us.aliyuncs.com", Dialect::Qwen),
    ("modelscope.cn", Dialect::Modelscope),
    ("aiping.cn", Dialect::Aiping),
    ("api.deepseek.com", Dialect::Deepseek),
    ("moonshot.cn", Dialect::Kimi),
    ("moonshot.ai", Dialect::Kimi),
    ("bigmodel.cn", Dialect::Glm),
    ("z.ai", Dialect::Glm),
    ("minimax.io", Dialect::Minimax),
    ("minimaxi.com", Dialect::Minimax),
    ("minimax.chat", Dialect::Minimax),
    ("api.mistral.ai", Dialect::Mistral),
    ("generativelanguage.googleapis.com", Dialect::Gemini),
    ("api.groq.com", Dialect::Groq),
    ("openrouter.ai", Dialect::Openrouter),
    ("api.x.ai", Dialect::Xai),
];

/// Ports that local servers listen on unless told otherwise.
const BY_PORT: &[(&str, Dialect)] = &[
    (":11434", Dialect::Ollama),
    (":1234", Dialect::LmStudio),
    (":8080", Dialect::LlamaCpp),
    (":30000", Dialect::Sglang),
    (":8000", Dialect::Vllm),
];

/// Domains of networks at home and in containers.
const LOCAL_DOMAINS: [&str; 4] = [".internal", ".local", ".lan", ".home.arpa"];

impl Dialect {
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let found = Self::ALL.iter().copied().find(|dialect| dialect.as_str() == text);
        found.ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|dialect| dialect.as_str()).collect();
            Invalid::new(format!("must be one of: {}", names.join(", ")))
        })
    }

    /// What a host's OpenAI-compatible API takes: by the host of a well-known provider, or
    /// by the port of a local server.
    #[must_use]
    pub fn guess(base_url: &BaseUrl) -> Self {
        let host = base_url.host();
        let is_within = |domain: &str| {
            host.strip_suffix(domain)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        if let Some((_, dialect)) = BY_HOST.iter().find(|(domain, _)| is_within(domain)) {
            return *dialect;
        }
        let by_port = BY_PORT
            .iter()
            .find(|(port, _)| is_local(host) && base_url.origin().ends_with(port));
        by_port.map_or(Self::Generic, |(_, dialect)| *dialect)
    }
}

/// A literal address, a name without a dot as in containers, or one that no public
/// name server knows.
fn is_local(host: &str) -> bool {
    !host.contains('.')
        || host.parse::<std::net::Ipv4Addr>().is_ok()
        || LOCAL_DOMAINS.iter().any(|domain| host.ends_with(domain))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, expected: Dialect) {
        assert_eq!(Dialect::guess(&BaseUrl::parse(url).unwrap()), expected, "{url}");
    }

    #[test]
    fn a_dialect_is_guessed_from_host_or_port() {
        check("https://dashscope.aliyuncs.com/compatible-mode/v1", Dialect::Qwen);
        check("https://api-inference.modelscope.cn/v1", Dialect::Modelscope);
        check("https://mine.openai.azure.com/openai", Dialect::AzureOpenai);
        check("https://notz.ai/v1", Dialect::Generic);
        check("http://localhost:11434/v1", Dialect::Ollama);
        check("http://10.0.0.7:8080/v1", Dialect::LlamaCpp);
        check("http://host.docker.internal:11434/v1", Dialect::Ollama);
        check("http://[::1]:1234/v1", Dialect::LmStudio);
        check("https://llm.example.com:8080/v1", Dialect::Generic);
        check("https://api.example.com/v1", Dialect::Generic);
    }

    #[test]
    fn every_dialect_is_read_back_from_its_name() {
        for dialect in Dialect::ALL {
            assert_eq!(Dialect::parse(dialect.as_str()), Ok(*dialect));
        }
        assert!(Dialect::parse("cobol").is_err());
    }
}
