//! The names that lead somewhere for a key, for the list of models.

use rand::{SeedableRng, rngs::SmallRng};

use super::{
    Abilities, Candidate, Name,
    name::{DISCOVERY_PREFIX, families},
    plan,
};
use crate::snapshot::{ApiKey, Snapshot};

/// Some clients hide every name that does not begin like this.
const VISIBLE_PREFIXES: [&str; 2] = ["claude", "anthropic"];

/// A name, and what holds whichever candidate answers to it.
#[derive(Debug)]
pub(crate) struct Reach {
    pub(crate) name: String,
    pub(crate) limits: Limits,
    pub(crate) abilities: Abilities,
}

/// The smallest sizes on the way; `None` where no admin said one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) context_window: Option<u32>,
    pub(crate) max_output_tokens: Option<u32>,
}

/// Names of rules and names that providers list (each with an alias if clients would hide
/// it), and the words of tiers. Patterns are no names.
pub(crate) fn reachable(snapshot: &Snapshot, key: &ApiKey) -> Vec<Reach> {
    let of_rules = snapshot
        .rules
        .iter()
        .map(|rule| rule.pattern.as_str())
        .filter(|name| !name.contains('*'));
    let listed = snapshot
        .providers
        .iter()
        .flat_map(|provider| provider.models.all())
        .map(|model| &**model);
    let named: Vec<&str> = of_rules.chain(listed).collect();
    let aliases = named
        .iter()
        .filter(|name| !is_visible(name))
        .map(|name| format!("{DISCOVERY_PREFIX}{name}"));
    let mut names: Vec<String> = named.iter().map(|name| (*name).to_owned()).collect();
    names.extend(families().map(str::to_owned));
    names.extend(aliases);
    let mut found: Vec<Reach> = Vec::with_capacity(names.len());
    for name in names {
        if !found.iter().any(|known| known.name.eq_ignore_ascii_case(&name)) {
            found.extend(follow(snapshot, key, name));
        }
    }
    found
}

/// One name, listed or not, as far as requests for it are served.
pub(crate) fn reach(snapshot: &Snapshot, key: &ApiKey, asked: &str) -> Option<Reach> {
    let listed = reachable(snapshot, key)
        .into_iter()
        .find(|known| known.name.eq_ignore_ascii_case(asked));
    listed.or_else(|| follow(snapshot, key, asked.to_owned()))
}

fn is_visible(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    VISIBLE_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// `None` if the name leads nowhere. Chance decides only the order, not whether.
fn follow(snapshot: &Snapshot, key: &ApiKey, name: String) -> Option<Reach> {
    let asked = Name::new(&name).as_asked();
    let plan = plan(snapshot, key, asked, &mut SmallRng::seed_from_u64(0)).ok()?;
    let limits = Limits {
        context_window: plan.candidates.iter().filter_map(Candidate::context_window).min(),
        max_output_tokens: plan
            .candidates
            .iter()
            .filter_map(Candidate::max_output_tokens)
            .min(),
    };
    let abilities = plan
        .candidates
        .iter()
        .map(|candidate| Abilities::of(candidate.provider.format, candidate.dialect()))
        .reduce(Abilities::and)?;
    Some(Reach {
        name,
        limits,
        abilities,
    })
}
