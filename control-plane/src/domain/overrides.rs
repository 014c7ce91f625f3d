//! Single knobs of a dialect that an admin has set, on top of a preset.

use std::collections::BTreeMap;

use super::{
    Invalid, Violations,
    base_url::BaseUrl,
    extra_body,
    knobs::{self, Form, Knob, Scope},
};

/// The value of a knob, before or after it was checked.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Flag(bool),
    Number(f64),
    Text(String),
    List(Vec<String>),
}

/// Knobs as somebody writes them, by name.
pub type Draft = BTreeMap<String, Value>;

/// Whether there is a knob of this name.
#[must_use]
pub fn is_knob(name: &str) -> bool {
    knobs::find(name).is_some()
}

/// Knobs that have been checked, by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Overrides(BTreeMap<String, Value>);

impl Overrides {
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[must_use]
    pub fn to_draft(&self) -> Draft {
        self.0.clone()
    }

    /// About how much room they take when written down, in bytes.
    pub(super) fn weight(&self) -> usize {
        self.0
            .iter()
            .map(|(name, value)| weight(name) + value.weight())
            .sum()
    }
}

impl Value {
    fn weight(&self) -> usize {
        match self {
            Self::Flag(_) => 6,
            Self::Number(_) => 20,
            Self::Text(text) => weight(text),
            Self::List(texts) => texts.iter().map(|text| weight(text)).sum::<usize>() + 3,
        }
    }
}

/// Bytes of a text in JSON, with its quotes and what separates it from the next.
pub(super) fn weight(text: &str) -> usize {
    let bytes = text.bytes().map(|byte| match byte {
        b'"' | b'\\' => 2,
        0..=0x1f => 6,
        _ => 1,
    });
    bytes.sum::<usize>() + 3
}

/// Checks the knobs of a provider; without a `base_url` nobody can tell where a
/// template leads, and the missing URL is a violation of its own.
pub(super) fn check_provider(
    violations: &mut Violations,
    field: &str,
    draft: &Draft,
    base_url: Option<&BaseUrl>,
) -> Overrides {
    check(violations, field, draft, |knob, value| match knob.form {
        Form::UrlTemplate => check_url_template(value, base_url),
        Form::Flag
        | Form::Whole { .. }
        | Form::Decimal { .. }
        | Form::Word(_)
        | Form::Words(_)
        | Form::Text { .. }
        | Form::Texts { .. }
        | Form::Object => check_value(knob.form, value),
    })
}

/// Checks the knobs of one model.
pub(super) fn check_model(violations: &mut Violations, field: &str, draft: &Draft) -> Overrides {
    check(violations, field, draft, |knob, value| match knob.scope {
        Scope::Provider => Err(Invalid::new("can only be set for the whole provider")),
        Scope::Model => check_value(knob.form, value),
    })
}

fn check(
    violations: &mut Violations,
    field: &str,
    draft: &Draft,
    check: impl Fn(&'static Knob, &Value) -> Result<(), Invalid>,
) -> Overrides {
    let mut checked = BTreeMap::new();
    for (name, value) in draft {
        let result = match knobs::find(name) {
            Some(knob) => check(knob, value),
            None => Err(Invalid::new("is not a knob that this control plane knows")),
        };
        if violations.check(format!("{field}.{name}"), result).is_some() {
            checked.insert(name.clone(), value.clone());
        }
    }
    Overrides(checked)
}

fn check_value(form: Form, value: &Value) -> Result<(), Invalid> {
    match (form, value) {
        (Form::Flag, Value::Flag(_)) => Ok(()),
        (Form::Flag, Value::Number(_) | Value::Text(_) | Value::List(_)) => {
            Err(Invalid::new("must be true or false"))
        }
        (Form::Whole { min, max }, Value::Number(number))
            if number.fract() == 0.0 && (f64::from(min)..=f64::from(max)).contains(number) =>
        {
            Ok(())
        }
        (Form::Whole { min, max }, _) => Err(Invalid::new(format!(
            "must be a whole number from {min} to {max}"
        ))),
        (Form::Decimal { min, max }, Value::Number(number)) if (min..=max).contains(number) => Ok(()),
        (Form::Decimal { min, max }, _) => Err(Invalid::new(format!("must be a number from {min} to {max}"))),
        (Form::Word(words), Value::Text(text)) if words.contains(&text.as_str()) => Ok(()),
        (Form::Word(words), _) => Err(Invalid::new(format!("must be one of: {}", words.join(", ")))),
        (Form::Words(words), Value::List(texts))
            if texts.iter().all(|text| words.contains(&text.as_str())) && is_distinct(texts) =>
        {
            Ok(())
        }
        (Form::Words(words), _) => Err(Invalid::new(format!(
            "must be a list of: {}; each at most once",
            words.join(", ")
        ))),
        (Form::Text { bytes_max }, Value::Text(text)) => check_text(text, bytes_max),
        (Form::Text { .. }, Value::Flag(_) | Value::Number(_) | Value::List(_)) => {
            Err(Invalid::new("must be a text"))
        }
        (Form::Texts { bytes_max, items_max }, Value::List(texts)) => {
            if texts.len() > items_max || !is_distinct(texts) {
                return Err(Invalid::new(format!(
                    "must have at most {items_max} different entries"
                )));
            }
            texts.iter().try_for_each(|text| check_text(text, bytes_max))
        }
        (Form::Texts { .. }, Value::Flag(_) | Value::Number(_) | Value::Text(_)) => {
            Err(Invalid::new("must be a list of texts"))
        }
        (Form::Object, Value::Text(text)) => extra_body::check(text),
        (Form::Object, Value::Flag(_) | Value::Number(_) | Value::List(_)) => {
            Err(Invalid::new("must be a JSON object"))
        }
        (Form::UrlTemplate, _) => Err(Invalid::new("can only be set for the whole provider")),
    }
}

fn check_url_template(value: &Value, base_url: Option<&BaseUrl>) -> Result<(), Invalid> {
    match (value, base_url) {
        (Value::Text(template), Some(base_url)) => base_url.check_template(template),
        (Value::Text(_), None) => Ok(()),
        (Value::Flag(_) | Value::Number(_) | Value::List(_), _) => Err(Invalid::new("must be a text")),
    }
}

fn is_distinct(texts: &[String]) -> bool {
    texts.iter().collect::<std::collections::BTreeSet<_>>().len() == texts.len()
}

fn check_text(text: &str, bytes_max: usize) -> Result<(), Invalid> {
    if text.is_empty() || text.len() > bytes_max {
        return Err(Invalid::new(format!("must have 1 to {bytes_max} bytes")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    fn list(texts: &[&str]) -> Value {
        Value::List(texts.iter().map(|text| (*text).to_owned()).collect())
    }

    /// What is said about one knob of a provider.
    fn said(name: &str, value: Value) -> Option<String> {
        let base_url = BaseUrl::parse("https://a.example/v1").unwrap();
        let mut violations = Violations::default();
        let draft = Draft::from([(name.to_owned(), value)]);
        let checked = check_provider(&mut violations, "dialect_overrides", &draft, Some(&base_url));
        let said = violations.into_vec();
        assert_eq!(said.is_empty(), checked.to_draft() == draft, "{name}");
        said.first().map(ToString::to_string)
    }

    #[test]
    fn good_values_of_every_form_are_taken() {
        for (name, value) in [
            ("vision", Value::Flag(false)),
            ("max_stop", Value::Number(0.0)),
            ("temperature_max", Value::Number(1.5)),
            ("mid_system", text("top")),
            ("efforts", list(&["low", "high"])),
            ("drop_params", list(&[])),
            ("empty_tool_result", text("-")),
            ("strip_betas", list(&["a-2025-01-01"])),
            ("extra_body", text("{}")),
            ("url_template", text("/deployments/{model}/chat?v=1")),
        ] {
            assert_eq!(said(name, value), None);
        }
    }

    #[test]
    fn a_wrong_value_is_told_with_what_would_be_right() {
        for (name, value, expected) in [
            ("vision", text("yes"), "must be true or false"),
            (
                "max_stop",
                Value::Number(1.5),
                "must be a whole number from 0 to 1000",
            ),
            (
                "max_stop",
                Value::Number(-1.0),
                "must be a whole number from 0 to 1000",
            ),
            (
                "max_stop",
                Value::Flag(true),
                "must be a whole number from 0 to 1000",
            ),
            (
                "temperature_max",
                Value::Number(f64::NAN),
                "must be a number from 0 to 10",
            ),
            (
                "mid_system",
                text("sideways"),
                "must be one of: user, system, developer, top",
            ),
            (
                "prefill",
                list(&["pass"]),
                "must be one of: reject, pass, continue",
            ),
            (
                "efforts",
                list(&["low", "low"]),
                "must be a list of: none, minimal, low, medium, high, xhigh, max; each at most once",
            ),
            ("empty_tool_result", text(""), "must have 1 to 256 bytes"),
            ("strip_betas", text("a"), "must be a list of texts"),
            (
                "strip_betas",
                list(&["a", "a"]),
                "must have at most 32 different entries",
            ),
            ("extra_body", text("[]"), "must be a JSON object"),
            (
                "colour",
                text("red"),
                "is not a knob that this control plane knows",
            ),
        ] {
            let expected = format!("dialect_overrides.{name}: {expected}");
            assert_eq!(said(name, value), Some(expected));
        }
    }

    #[test]
    fn transport_is_the_same_for_all_models_of_a_provider() {
        let mut violations = Violations::default();
        let draft = Draft::from([
            ("auth".to_owned(), text("bearer")),
            ("url_template".to_owned(), text("/{model}")),
            ("vision".to_owned(), Value::Flag(true)),
        ]);
        let checked = check_model(&mut violations, "o", &draft);
        assert!(checked.get("vision").is_some());
        let fields: Vec<_> = violations.into_vec().into_iter().map(|one| one.field).collect();
        assert_eq!(fields, ["o.auth", "o.url_template"]);
    }
}
