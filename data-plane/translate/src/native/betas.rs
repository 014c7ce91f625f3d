//! The features that a client asks for in `anthropic-beta`.

use crate::loss::LossList;

const ANY: char = '*';

/// Takes the unwanted ones out of the header's values. `None`: nothing is to be changed.
pub fn strip_betas<'h>(
    values: impl Iterator<Item = &'h str> + Clone,
    unwanted: &[String],
) -> Option<(String, LossList)> {
    let betas = values.flat_map(|value| value.split(',')).map(str::trim);
    let is_unwanted = |beta: &&str| unwanted.iter().any(|pattern| matches(pattern, beta));
    let mut losses = LossList::default();
    for beta in betas.clone().filter(is_unwanted) {
        losses.add(
            format!("anthropic-beta.{beta}"),
            "the provider does not take this beta",
        );
    }
    if losses.is_empty() {
        return None;
    }
    let kept: Vec<_> = betas
        .filter(|beta| !beta.is_empty() && !is_unwanted(beta))
        .collect();
    Some((kept.join(","), losses))
}

fn matches(pattern: &str, beta: &str) -> bool {
    match pattern.strip_suffix(ANY) {
        Some(start) => beta.starts_with(start),
        None => beta == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p50_only_unwanted_betas_go() {
        let values = ["effort-2025-11-24, context-1m-2025-08-07", "tools-1"];
        let strip = |unwanted: &[&str]| {
            let unwanted: Vec<_> = unwanted.iter().map(|text| (*text).to_owned()).collect();
            strip_betas(values.into_iter(), &unwanted)
                .map(|(kept, losses)| (kept, losses.header().unwrap_or_default()))
        };
        assert_eq!(strip(&[]), None);
        assert_eq!(strip(&["effort", "other-*"]), None);
        assert_eq!(
            strip(&["context-1m-*"]),
            Some((
                "effort-2025-11-24,tools-1".to_owned(),
                "anthropic-beta.context-1m-2025-08-07".to_owned()
            ))
        );
        assert_eq!(strip(&["*"]).unwrap().0, "");
    }
}
