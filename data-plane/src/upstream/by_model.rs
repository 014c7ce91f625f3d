//! A bounded table by provider and upstream model.
//!
//! Names of models can come from clients, through rules that keep the name that was
//! asked for, so there must be an end to them. A full table first lets go of what is idle
//! and then remembers nothing new.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

pub(crate) const ENTRIES_MAX: usize = 10_000;
/// Looking for idle entries touches all of them.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct ByModel<T> {
    providers: HashMap<Box<str>, HashMap<Box<str>, T>>,
    entries: usize,
    swept: Option<Instant>,
}

impl<T> Default for ByModel<T> {
    fn default() -> Self {
        Self {
            providers: HashMap::new(),
            entries: 0,
            swept: None,
        }
    }
}

impl<T> ByModel<T> {
    pub(crate) fn get(&self, provider: &str, model: &str) -> Option<&T> {
        self.providers.get(provider)?.get(model)
    }

    pub(crate) fn get_mut(&mut self, provider: &str, model: &str) -> Option<&mut T> {
        self.providers.get_mut(provider)?.get_mut(model)
    }

    /// Remembers it if there is room, or if there is once what is idle has gone.
    pub(crate) fn insert(
        &mut self,
        provider: &str,
        model: &str,
        value: T,
        now: Instant,
        is_idle: impl Fn(&T) -> bool,
    ) {
        if let Some(known) = self.get_mut(provider, model) {
            *known = value;
            return;
        }
        if self.entries >= ENTRIES_MAX {
            self.sweep(now, is_idle);
        }
        if self.entries < ENTRIES_MAX {
            let models = self.providers.entry(provider.into()).or_default();
            models.insert(model.into(), value);
            self.entries += 1;
        }
    }

    /// Forgets the providers that are none of these.
    pub(crate) fn keep(&mut self, is_kept: impl Fn(&str) -> bool) {
        self.providers.retain(|provider, _| is_kept(provider));
        self.count();
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str, &T)> {
        self.providers
            .iter()
            .flat_map(|(provider, models)| models.iter().map(|(model, value)| (&**provider, &**model, value)))
    }

    fn sweep(&mut self, now: Instant, is_idle: impl Fn(&T) -> bool) {
        let is_due = self
            .swept
            .is_none_or(|swept| now.saturating_duration_since(swept) >= SWEEP_PAUSE);
        if !is_due {
            return;
        }
        self.swept = Some(now);
        self.providers.retain(|_, models| {
            models.retain(|_, value| !is_idle(value));
            !models.is_empty()
        });
        self.count();
    }

    fn count(&mut self) {
        self.entries = self.providers.values().map(HashMap::len).sum();
    }
}

#[cfg(test)]
impl<T> ByModel<T> {
    pub(crate) fn len(&self) -> usize {
        self.entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_without_end_do_not_fill_the_memory() {
        let now = Instant::now();
        let mut table = ByModel::default();
        for model in 0..ENTRIES_MAX + 10 {
            table.insert("p", &model.to_string(), model, now, |_| false);
        }
        assert_eq!(table.len(), ENTRIES_MAX);
        assert_eq!(table.get("p", &ENTRIES_MAX.to_string()), None);
        table.keep(|provider| provider != "p");
        assert_eq!(table.len(), 0);
        table.insert("q", "new", 0, now, |_| false);
        assert_eq!(table.get("q", "new"), Some(&0));
    }

    #[test]
    fn what_is_idle_makes_room_at_most_once_a_second() {
        let now = Instant::now();
        let mut table = ByModel::default();
        for model in 0..ENTRIES_MAX {
            table.insert("p", &model.to_string(), model, now, |_| false);
        }
        table.insert("q", "one", 1, now, |model| *model < 5);
        assert_eq!(table.len(), ENTRIES_MAX - 5 + 1);
        for model in 0..4 {
            table.insert("q", &model.to_string(), 0, now, |_| false);
        }
        table.insert("r", "late", 1, now, |_| true);
        assert_eq!(table.get("r", "late"), None, "it was swept a moment ago");
        table.insert("r", "late", 1, now + SWEEP_PAUSE, |_| true);
        assert_eq!(table.len(), 1);
    }
}
