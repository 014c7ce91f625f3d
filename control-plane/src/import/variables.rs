//! `${VAR}` in strings, resolved from the environment.

use crate::domain::Violations;

/// Looks a variable of the environment up.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

const OPEN: &str = "${";
const CLOSE: char = '}';

pub(super) struct Variables<'a> {
    /// `None`: they are refused.
    lookup: Option<Lookup<'a>>,
    /// Whose strings are being read.
    owner: String,
    is_needed: bool,
    missing: Vec<String>,
}

impl<'a> Variables<'a> {
    pub(super) fn new(lookup: Lookup<'a>) -> Self {
        Self {
            lookup: Some(lookup),
            owner: String::new(),
            is_needed: true,
            missing: Vec::new(),
        }
    }

    /// None is resolved, and a text that has one is refused.
    pub(super) fn refused() -> Self {
        Self {
            lookup: None,
            owner: String::new(),
            is_needed: true,
            missing: Vec::new(),
        }
    }

    /// Strings of this owner follow. A disabled provider can do without its variables.
    pub(super) fn enter(&mut self, owner: &str, is_needed: bool) {
        owner.clone_into(&mut self.owner);
        self.is_needed = is_needed;
    }

    /// The same, or nothing if a variable is missing.
    pub(super) fn resolved(&mut self, text: &str) -> Option<String> {
        let missing = self.missing.len();
        let resolved = self.resolve(text);
        (self.missing.len() == missing).then_some(resolved)
    }

    /// The text with every variable replaced. A missing one is noted and leaves nothing.
    pub(super) fn resolve(&mut self, text: &str) -> String {
        let mut resolved = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(OPEN) {
            resolved.push_str(before);
            match after.split_once(CLOSE) {
                Some((name, after)) if is_name(name) => {
                    match self.lookup.and_then(|lookup| lookup(name)) {
                        Some(value) => resolved.push_str(&value),
                        None => self.missing.push(name.to_owned()),
                    }
                    rest = after;
                }
                Some(_) | None => {
                    resolved.push_str(OPEN);
                    rest = after;
                }
            }
        }
        resolved + rest
    }

    /// Names what was missing since the last time.
    pub(super) fn report(&mut self, path: &str, violations: &mut Violations, warnings: &mut Vec<String>) {
        let owner = &self.owner;
        for name in self.missing.drain(..) {
            if self.lookup.is_none() {
                let reason =
                    format!("{owner} has the variable {name}: put its value in, it is not resolved here");
                violations.add(path, reason);
            } else if self.is_needed {
                violations.add(
                    path,
                    format!("{owner} needs the variable {name}, which is not set"),
                );
            } else {
                warnings.push(format!("{owner} is disabled and its variable {name} is not set"));
            }
        }
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_wherever_they_stand() {
        let lookup = |name: &str| (name == "A").then(|| "1${A}".to_owned());
        let mut variables = Variables::new(&lookup);
        for (text, expected) in [
            ("${A}", "1${A}"),
            ("x${A}y${A}", "x1${A}y1${A}"),
            ("$A ${ {A}", "$A ${ {A}"),
            ("${not a name}", "${not a name}"),
            ("${}", "${}"),
            ("${A", "${A"),
            ("plain", "plain"),
        ] {
            assert_eq!(variables.resolve(text), expected, "{text}");
        }
        assert_eq!(variables.missing.len(), 0);
        assert_eq!(variables.resolve("a${B}c"), "ac");
        assert_eq!(variables.missing, ["B"]);
    }
}
