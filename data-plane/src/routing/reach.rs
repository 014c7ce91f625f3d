//! The names that lead somewhere for a key, for the list of models.

use rand::{SeedableRng, rngs::SmallRng};

use super::{Name, plan};
use crate::snapshot::{ApiKey, Snapshot};

/// Names under which some clients hide everything else.
const DISCOVERY_PREFIX: &str = "anthropic-";
const VISIBLE_PREFIXES: [&str; 2] = ["claude", "anthropic"];
const TIER_NAMES: [&str; 5] = ["haiku", "sonnet", "opus", "fable", "mythos"];

/// What an admin said about the sizes of a model.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Limits {
    pub(crate) context_window: Option<u32>,
    pub(crate) max_output_tokens: Option<u32>,
}

/// The family of a name that has one.
pub(crate) fn line(id: &str) -> Option<&'static str> {
    let id = id.to_ascii_lowercase();
    TIER_NAMES.into_iter().find(|family| id.contains(family))
}

/// Names of rules, names that providers list (and an alias for each that clients would
/// hide), and the words of tiers. Patterns are no names.
pub(crate) fn reachable(snapshot: &Snapshot, key: &ApiKey) -> Vec<(String, Limits)> {
    let of_rules = snapshot
        .rules
        .iter()
        .map(|rule| rule.pattern.as_str())
        .filter(|name| !name.contains('*'));
    let listed = || {
        snapshot
            .providers
            .iter()
            .flat_map(|provider| provider.models.all())
            .map(|model| &**model)
    };
    let aliases = listed()
        .filter(|name| !is_visible(name))
        .map(|name| format!("{DISCOVERY_PREFIX}{name}"));
    let mut names: Vec<String> = of_rules
        .chain(listed())
        .chain(TIER_NAMES)
        .map(str::to_owned)
        .collect();
    names.extend(aliases);
    let mut found: Vec<(String, Limits)> = Vec::with_capacity(names.len());
    for name in names {
        if found.iter().any(|(known, _)| known.eq_ignore_ascii_case(&name)) {
            continue;
        }
        if let Some(limits) = limits(snapshot, key, &name) {
            found.push((name, limits));
        }
    }
    found
}

fn is_visible(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    VISIBLE_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// `None` if the name leads nowhere. Chance decides only the order, not whether.
fn limits(snapshot: &Snapshot, key: &ApiKey, name: &str) -> Option<Limits> {
    let plan = plan(
        snapshot,
        key,
        Name::new(name).as_asked(),
        &mut SmallRng::seed_from_u64(0),
    )
    .ok()?;
    let first = plan.candidates.first()?;
    let known = first.provider.traits.by_model.get(&*first.model);
    Some(Limits {
        context_window: first.context_window(),
        max_output_tokens: known.and_then(|known| known.max_output_tokens),
    })
}
