//! URLs with the model in their path or query, as some providers want them.

use url::Url;

const MODEL: &str = "{model}";
/// Stands for a model while a template is checked.
const ANY_MODEL: &str = "model";

/// A checked template: filled with any name, it is a URL at the provider's own address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UrlTemplate {
    whole: String,
    /// Filled with a plain name.
    plain: Url,
}

impl UrlTemplate {
    /// A path below the provider's base URL, or a whole URL that leads to the same address,
    /// since that is where the key belongs.
    pub(super) fn parse(template: &str, base: &str) -> Result<Self, String> {
        let whole = if template.starts_with('/') {
            format!("{}{template}", base.trim_end_matches('/'))
        } else {
            template.to_owned()
        };
        let plain = Url::parse(&whole.replace(MODEL, ANY_MODEL)).map_err(|_| "url_template is not a URL")?;
        let is_plain =
            plain.username().is_empty() && plain.password().is_none() && plain.fragment().is_none();
        if !is_plain {
            return Err("url_template must be without user info and fragment".into());
        }
        let is_at_home = Url::parse(base).is_ok_and(|base| base.origin() == plain.origin());
        if !is_at_home {
            return Err("url_template leads to another address than the base URL".into());
        }
        let (_, place) = whole.split_once("://").unwrap_or(("", &whole));
        let is_placed = place
            .find(MODEL)
            .is_some_and(|at| place[..at].contains(['/', '?']));
        if !is_placed {
            return Err("url_template has no {model} in its path or query".into());
        }
        Ok(Self { whole, plain })
    }

    /// The URL for a model; its name stays one segment whatever it holds.
    pub(crate) fn fill(&self, model: &str) -> Url {
        let text = self.whole.replace(MODEL, &segment(model));
        Url::parse(&text).unwrap_or_else(|_| self.plain.clone())
    }

    /// The URL of no model in particular.
    pub(super) fn plain(&self) -> &Url {
        &self.plain
    }
}

fn segment(model: &str) -> String {
    // Encoded dots are dots to URLs, so that these two would climb.
    if matches!(model, "." | "..") {
        return "%25".to_owned();
    }
    let mut text = String::with_capacity(model.len());
    for byte in model.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BASE_URL: &str = "https://us.example.com/openai/";
    const AZURE: &str = "/deployments/{model}/chat/completions?api-version=2024-10-21";

    #[test]
    fn the_model_goes_into_the_path() {
        let template = UrlTemplate::parse(AZURE, BASE_URL).unwrap();
        for (model, url) in [
            (
                "gpt-5",
                "https://us.example.com/openai/deployments/gpt-5/chat/completions?api-version=2024-10-21",
            ),
            (
                "a/b ?x#y",
                "https://us.example.com/openai/deployments/a%2Fb%20%3Fx%23y/chat/completions?api-version=2024-10-21",
            ),
            (
                "..",
                "https://us.example.com/openai/deployments/%25/chat/completions?api-version=2024-10-21",
            ),
        ] {
            assert_eq!(template.fill(model).as_str(), url, "{model}");
        }
        for (template, url) in [
            (
                "https://us.example.com/x/{model}/chat",
                "https://us.example.com/x/m/chat",
            ),
            (
                "/chat?model={model}",
                "https://us.example.com/openai/chat?model=m",
            ),
        ] {
            assert_eq!(
                UrlTemplate::parse(template, BASE_URL).unwrap().fill("m").as_str(),
                url
            );
        }
    }

    #[test]
    fn a_template_that_leads_away_is_refused() {
        for template in [
            "",
            "/chat",
            "{model}",
            "https://elsewhere.example.com/{model}",
            "http://us.example.com/{model}",
            "https://us.example.com:444/{model}",
            "https://{model}.example.com/",
            "https://us.example.com@elsewhere.example.com/{model}",
            "https://user@us.example.com/{model}",
            "/{model}#x",
        ] {
            assert!(UrlTemplate::parse(template, BASE_URL).is_err(), "{template}");
        }
    }

    proptest! {
        #[test]
        fn no_model_leads_anywhere_else(model: String) {
            let url = UrlTemplate::parse(AZURE, BASE_URL).unwrap().fill(&model);
            prop_assert_eq!(url.host_str(), Some("us.example.com"));
            prop_assert!(url.path().starts_with("/openai/deployments/"));
            prop_assert!(url.path().ends_with("/chat/completions"));
            prop_assert_eq!(url.query(), Some("api-version=2024-10-21"));
            prop_assert_eq!(url.path_segments().unwrap().count(), 5);
        }
    }
}
