//! Adds sums up by group and step of time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bridge_proto::admin::v1 as admin;
use bridge_proto::fleet::v1 as fleet;

use super::group::Group;
use super::owners::Known;
use super::window::timestamp;
use crate::domain::usage::{Histogram, Subject, Sums, Tokens};
use crate::grpc::status::Error;

const GROUPS_DEFAULT: usize = 10;
const GROUPS_MAX: usize = 50;
/// The name of all that is in no group of its own.
const REST: &str = "";

pub(super) fn groups_max(wire: u32) -> Result<usize, Error> {
    match usize::try_from(wire) {
        Ok(0) => Ok(GROUPS_DEFAULT),
        Ok(count) if count <= GROUPS_MAX => Ok(count),
        Ok(_) | Err(_) => Err(Error::invalid("groups_max", format!("must be 1 to {GROUPS_MAX}"))),
    }
}

/// Sums by group and by the start of the step.
pub(super) struct Tally {
    group: Group,
    keys: Arc<BTreeMap<String, Known>>,
    points: BTreeMap<(String, u64), Sums>,
}

impl Tally {
    pub(super) fn new(group: Group, keys: Arc<BTreeMap<String, Known>>) -> Self {
        Self {
            group,
            keys,
            points: BTreeMap::new(),
        }
    }

    pub(super) fn add(&mut self, start_s: u64, subject: Subject, sums: &Sums) {
        let Subject {
            key_id,
            provider,
            upstream_model,
        } = subject;
        let group = match self.group {
            Group::All => REST.to_owned(),
            Group::Provider => provider,
            Group::Key => key_id,
            Group::User => {
                let owner = self.keys.get(&key_id).and_then(|known| known.owner);
                owner.map(|owner| owner.to_string()).unwrap_or_default()
            }
            Group::Model => upstream_model,
        };
        self.points.entry((group, start_s)).or_default().add(sums);
    }

    pub(super) fn total(&self) -> Sums {
        total(self.points.values())
    }

    /// The largest groups by requests, then the rest.
    pub(super) fn into_series(
        self,
        groups_max: usize,
        names: &BTreeMap<String, String>,
    ) -> Vec<admin::UsageSeries> {
        let mut requests: BTreeMap<&str, u64> = BTreeMap::new();
        for ((group, _), sums) in &self.points {
            *requests.entry(group).or_default() += sums.requests;
        }
        let mut groups: Vec<(&str, u64)> = requests.into_iter().filter(|(group, _)| *group != REST).collect();
        groups.sort_by(|(a_name, a), (b_name, b)| b.cmp(a).then(a_name.cmp(b_name)));
        let shown: BTreeMap<String, usize> = groups
            .iter()
            .take(groups_max)
            .enumerate()
            .map(|(place, (group, _))| ((*group).to_owned(), place))
            .collect();
        let mut series: Vec<(String, BTreeMap<u64, Sums>)> =
            vec![(String::new(), BTreeMap::new()); shown.len() + 1];
        let rest = shown.len();
        for ((group, start_s), sums) in self.points {
            let place = shown.get(&group).copied().unwrap_or(rest);
            if let Some((name, points)) = series.get_mut(place) {
                if place != rest {
                    *name = group;
                }
                points.entry(start_s).or_default().add(&sums);
            }
        }
        series.retain(|(_, points)| points.values().any(|sums| sums.requests > 0));
        series
            .into_iter()
            .map(|(group, points)| one(group, &points, names))
            .collect()
    }
}

fn one(group: String, points: &BTreeMap<u64, Sums>, names: &BTreeMap<String, String>) -> admin::UsageSeries {
    let display_name = names.get(&group).unwrap_or(&group).clone();
    admin::UsageSeries {
        group,
        display_name,
        sums: Some(sums(&total(points.values()))),
        points: points
            .iter()
            .filter(|(_, sums)| sums.requests > 0)
            .map(|(start_s, point)| admin::UsagePoint {
                start: Some(timestamp(*start_s)),
                sums: Some(sums(point)),
            })
            .collect(),
    }
}

fn total<'a>(all: impl Iterator<Item = &'a Sums>) -> Sums {
    all.fold(Sums::default(), |mut total, sums| {
        total.add(sums);
        total
    })
}

pub(super) fn sums(sums: &Sums) -> admin::UsageSums {
    let Sums {
        requests,
        errors,
        tokens,
        cost_micros,
        unpriced_requests,
        estimated_requests,
        latency,
        first_token,
        // Of the whole time, not of a group.
        dropped: _,
        // Health tells of them.
        calls: _,
    } = sums;
    admin::UsageSums {
        requests: *requests,
        errors: sums.failed(),
        errors_by_class: errors.clone().into_iter().collect(),
        tokens: Some(self::tokens(*tokens)),
        cost_micros: *cost_micros,
        unpriced_requests: *unpriced_requests,
        estimated_requests: *estimated_requests,
        latency: Some(percentiles(latency)),
        first_token: Some(percentiles(first_token)),
    }
}

pub(super) fn tokens(tokens: Tokens) -> fleet::TokenCounts {
    let Tokens {
        input,
        output,
        cache_read,
        cache_creation,
    } = tokens;
    fleet::TokenCounts {
        input,
        output,
        cache_read,
        cache_creation,
    }
}

fn percentiles(histogram: &Histogram) -> admin::Percentiles {
    let of = |per_cent| histogram.percentile(per_cent).and_then(duration);
    admin::Percentiles {
        p50: of(50),
        p90: of(90),
        p99: of(99),
        count: histogram.count(),
    }
}

fn duration(duration: Duration) -> Option<prost_types::Duration> {
    duration.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally() -> Tally {
        let mut tally = Tally::new(Group::Provider, Arc::default());
        for (provider, start_s, requests) in
            [("a", 0, 1), ("b", 0, 5), ("b", 60, 6), ("c", 60, 3), ("", 0, 2)]
        {
            let subject = Subject {
                key_id: "k".into(),
                provider: provider.into(),
                upstream_model: "m".into(),
            };
            let sums = Sums {
                requests,
                ..Sums::default()
            };
            tally.add(start_s, subject, &sums);
        }
        tally
    }

    #[test]
    fn the_largest_groups_are_shown_and_the_rest_is_one() {
        let names = [("b".to_owned(), "Bee".to_owned())].into();
        let series = tally().into_series(2, &names);
        let shown: Vec<_> = series
            .iter()
            .map(|series| {
                let requests = series.sums.as_ref().map_or(0, |sums| sums.requests);
                (
                    &*series.group,
                    &*series.display_name,
                    requests,
                    series.points.len(),
                )
            })
            .collect();
        assert_eq!(shown, [("b", "Bee", 11, 2), ("c", "c", 3, 1), ("", "", 3, 1)]);
        assert_eq!(tally().total().requests, 17);
    }
}
