//! What a service token may be used for: `<area>:read` and `<area>:write`.

use std::{collections::BTreeSet, fmt};

use crate::domain::Invalid;

macro_rules! areas {
    ($($variant:ident = $name:literal),* $(,)?) => {
        /// A part of the admin API, named by the first word of its service.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Area { $($variant),* }

        impl Area {
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }
    };
}

areas! {
    ApiKeys = "api_keys",
    Audit = "audit",
    Config = "config",
    Fleet = "fleet",
    Health = "health",
    Models = "models",
    Operations = "operations",
    Providers = "providers",
    Routing = "routing",
    Settings = "settings",
    Stats = "stats",
    Users = "users",
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    Read,
    Write,
}

impl Action {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scope {
    pub area: Area,
    pub action: Action,
}

impl Scope {
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let refused = || {
            let areas: Vec<_> = Area::ALL.iter().map(|area| area.as_str()).collect();
            Invalid::new(format!(
                "must be `<area>:read` or `<area>:write`, where the area is one of {}",
                areas.join(", ")
            ))
        };
        let (area, action) = text.split_once(':').ok_or_else(refused)?;
        let area = Area::ALL.iter().find(|known| known.as_str() == area);
        let action = [Action::Read, Action::Write]
            .into_iter()
            .find(|known| known.as_str() == action);
        let (area, action) = area.zip(action).ok_or_else(refused)?;
        Ok(Self { area: *area, action })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.area.as_str(), self.action.as_str())
    }
}

/// All that one token may be used for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scopes(BTreeSet<Scope>);

impl Scopes {
    /// Writing includes reading.
    #[must_use]
    pub fn admit(&self, asked: Scope) -> bool {
        let writes = Scope {
            action: Action::Write,
            ..asked
        };
        self.0.contains(&asked) || self.0.contains(&writes)
    }

    #[must_use]
    pub fn to_texts(&self) -> Vec<String> {
        self.0.iter().map(Scope::to_string).collect()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(texts: &[&str]) -> Scopes {
        texts.iter().map(|text| Scope::parse(text).unwrap()).collect()
    }

    #[test]
    fn writing_includes_reading_and_nothing_else_does() {
        let given = scopes(&["providers:write", "users:read"]);
        for (asked, expected) in [
            ("providers:write", true),
            ("providers:read", true),
            ("users:read", true),
            ("users:write", false),
            ("models:read", false),
        ] {
            assert_eq!(given.admit(Scope::parse(asked).unwrap()), expected, "{asked}");
        }
        assert!(!Scopes::default().admit(Scope::parse("users:read").unwrap()));
    }

    #[test]
    fn every_scope_reads_back_and_nothing_else_is_one() {
        for area in Area::ALL {
            for action in [Action::Read, Action::Write] {
                let scope = Scope { area: *area, action };
                assert_eq!(Scope::parse(&scope.to_string()).unwrap(), scope);
            }
        }
        for bad in [
            "",
            "users",
            "users:",
            ":read",
            "users:all",
            "auth:read",
            "Users:read",
            "*:read",
        ] {
            assert!(Scope::parse(bad).is_err(), "{bad}");
        }
    }
}
