//! One who writes until nobody answers any more, and knows what was acknowledged.

use std::collections::{BTreeMap, BTreeSet};

use rand::RngExt;
use rand::rngs::StdRng;
use tonic::{Code, Status};

use super::differing;
use super::look::{Known, SETTINGS};
use super::write::Write;
use crate::admin::Admin;

/// Who may touch what there is only once.
const FIRST: u64 = 0;

pub(super) struct Writer {
    number: u64,
    random: StdRng,
    known: BTreeMap<String, Known>,
    under_way: Option<Attempt>,
    pub(super) acknowledged: usize,
    pub(super) kept: usize,
}

#[derive(Debug, Clone)]
struct Attempt {
    write: Write,
    /// It is known to have happened: asking for it again changes nothing.
    is_done: bool,
}

impl Writer {
    pub(super) fn new(number: u64, random: StdRng) -> Self {
        Self {
            number,
            random,
            known: BTreeMap::new(),
            under_way: None,
            acknowledged: 0,
            kept: 0,
        }
    }

    fn is_mine(&self, label: &str) -> bool {
        let (_, name) = label.split_once('/').unwrap_or_default();
        let is_named_so = name.starts_with(&self.prefix());
        is_named_so || (self.number == FIRST && label == SETTINGS)
    }

    fn prefix(&self) -> String {
        format!("w{}-", self.number)
    }

    /// Takes what is its own, and takes it as it is.
    pub(super) fn adopt(&mut self, found: &mut BTreeMap<String, Known>) {
        self.known = found.extract_if(.., |label, _| self.is_mine(label)).collect();
    }

    /// Writes until nobody answers; says what was refused, which nothing should be. An import
    /// that other writers are ahead of again and again is told so in the end, and is asked for again.
    pub(super) async fn write_until_cut_off(&mut self, admin: &Admin) -> Option<String> {
        loop {
            // What was cut off is asked for again first.
            let attempt = self.under_way.take().unwrap_or_else(|| Attempt {
                write: self.choose(),
                is_done: false,
            });
            let Attempt { write, is_done } = attempt.clone();
            self.under_way = Some(attempt);
            match write.make(admin, |label| self.id(label)).await {
                Ok(changed) => {
                    for (label, known) in changed {
                        match known {
                            Some(known) => self.known.insert(label, known),
                            None => self.known.remove(&label),
                        };
                    }
                    self.under_way = None;
                    self.acknowledged += usize::from(!is_done);
                }
                Err(status) if is_cut_off(&status) => return None,
                Err(status) if status.code() == Code::Aborted && matches!(write, Write::Import { .. }) => {}
                Err(status) => return Some(format!("{write:?} was refused: {status:?}")),
            }
        }
    }

    /// Holds what is there against what was acknowledged. What was under way is taken as it is,
    /// if it is there as a whole or not at all.
    pub(super) fn settle(&mut self, found: &mut BTreeMap<String, Known>, lost: &mut Vec<String>) {
        let before = std::mem::take(&mut self.known);
        self.adopt(found);
        let differing = differing(&before, &self.known);
        let mut under_way = self.under_way.take();
        match &mut under_way {
            Some(attempt) if !attempt.is_done && self.is_whole(&attempt.write, &differing) => {
                attempt.is_done = true;
                self.kept += 1;
            }
            Some(_) | None => lost.extend(differing.iter().map(|label| {
                let (was, is) = (before.get(label), self.known.get(label));
                format!("{label}: acknowledged {was:?}, found {is:?}, under way {under_way:?}")
            })),
        }
        self.under_way = under_way.filter(|attempt| attempt.write.can_be_repeated());
    }

    /// Whether all that a write changes was changed at once, and nothing else.
    fn is_whole(&self, write: &Write, differing: &BTreeSet<String>) -> bool {
        let revisions: BTreeSet<_> = differing.iter().map(|label| self.revision(label)).collect();
        write.labels() == *differing && revisions.len() == 1 && write.deletes() == revisions.contains(&None)
    }

    fn revision(&self, label: &str) -> Option<u64> {
        self.known.get(label).map(|known| known.revision)
    }

    fn choose(&mut self) -> Write {
        let name = format!("{}{:016x}", self.prefix(), self.random.random::<u64>());
        let currency: String = name.chars().rev().take(6).collect();
        let kinds = if self.number == FIRST { 18 } else { 16 };
        match self.random.random_range(0..kinds) {
            0..=3 => Write::CreateKey(name),
            4 => match self.pick("key/", |_| true) {
                Some((key, known)) => Write::SetKeyEnabled(key, !known.is_enabled),
                None => Write::CreateKey(name),
            },
            5 => match self.pick("key/", |known| known.is_enabled) {
                Some((key, _)) => Write::RevokeKey(key),
                None => Write::CreateKey(name),
            },
            6 => self
                .pick("key/", |_| true)
                .map_or(Write::CreateKey(name), |(key, _)| Write::DeleteKey(key)),
            7 => Write::CreateUser(format!("{name}@example.com")),
            8 => match self.pick("user/", |_| true) {
                Some((user, known)) => Write::SetUserEnabled(user, !known.is_enabled),
                None => Write::CreateUser(format!("{name}@example.com")),
            },
            9 => {
                let user = self.pick("user/", |_| true);
                user.map_or(Write::CreateUser(format!("{name}@example.com")), |(user, _)| {
                    Write::DeleteUser(user)
                })
            }
            10 | 11 => Write::CreateProvider(name),
            12 => {
                let priority = self.random.random_range(0..1_000_000);
                let provider = self.pick("provider/", |_| true);
                provider.map_or(Write::CreateProvider(name), |(provider, _)| {
                    Write::SetPriority(provider, priority)
                })
            }
            13 => {
                let provider = self.pick("provider/", |_| true);
                provider.map_or(Write::CreateProvider(name), |(provider, _)| {
                    Write::DeleteProvider(provider)
                })
            }
            14 => Write::CreateRule(name),
            15 => {
                let rule = self.pick("rule/", |known| !known.id.is_empty());
                rule.map_or(Write::CreateRule(name), |(rule, _)| Write::DeleteRule(rule))
            }
            16 => Write::SetCurrency(currency),
            _ => Write::Import { name, currency },
        }
    }

    /// One of a kind, and its name.
    fn pick(&mut self, kind: &str, is_fit: impl Fn(&Known) -> bool) -> Option<(String, Known)> {
        let of_kind: Vec<_> = self
            .known
            .iter()
            .filter_map(|(label, known)| Some((label.strip_prefix(kind)?, known)))
            .filter(|(_, known)| is_fit(known))
            .collect();
        let place = self.random.random_range(0..of_kind.len().max(1));
        let (name, known) = of_kind.get(place)?;
        Some(((*name).to_owned(), (*known).clone()))
    }

    /// The id of a thing, by its label.
    fn id(&self, label: String) -> String {
        self.known
            .get(&label)
            .map(|known| known.id.clone())
            .unwrap_or_default()
    }
}

/// Nobody has answered, so that it may have happened or not.
fn is_cut_off(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal
    )
}
