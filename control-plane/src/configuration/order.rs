//! The order of model rules when a file has a say in it.

use std::collections::BTreeSet;

use crate::domain::model::{self, POSITION_MAX, POSITION_STEP, RuleId};

/// Where rules of a file go among those that are there: in the file's order, each new
/// one behind its predecessor, the others where they are.
pub(super) fn merged(current: &[RuleId], file: &[RuleId]) -> Vec<RuleId> {
    let there: BTreeSet<&RuleId> = current.iter().collect();
    let named: BTreeSet<&RuleId> = file.iter().collect();
    let mut in_file_order = file.iter().filter(|id| there.contains(id));
    let mut merged: Vec<RuleId> = current
        .iter()
        .map(|id| match named.contains(id) {
            true => in_file_order.next().unwrap_or(id),
            false => id,
        })
        .cloned()
        .collect();
    let mut predecessor: Option<&RuleId> = None;
    for id in file {
        if !there.contains(id) {
            let place = |wanted: &dyn Fn(&RuleId) -> bool| merged.iter().position(wanted);
            let index = match predecessor {
                Some(before) => place(&|other| other == before).map(|index| index + 1),
                None => place(&|other| named.contains(other)),
            };
            merged.insert(index.unwrap_or(merged.len()), id.clone());
        }
        predecessor = Some(id);
    }
    merged
}

/// Positions for rules in this order, of which some have one. As few as possible are
/// given another.
pub(super) fn positions(current: &[Option<u32>]) -> Vec<u32> {
    let kept = longest_rising(current);
    fill(&kept).unwrap_or_else(|| model::positions().take(current.len()).collect())
}

/// The positions of a longest rising part; the others are left out.
fn longest_rising(positions: &[Option<u32>]) -> Vec<Option<u32>> {
    // For each rule, the length of the longest part that ends with it, and the one before it there.
    let mut ends: Vec<(usize, Option<usize>)> = Vec::with_capacity(positions.len());
    for (index, position) in positions.iter().enumerate() {
        let before = positions
            .iter()
            .zip(&ends)
            .take(index)
            .enumerate()
            .filter(|(_, (other, _))| other.is_some() && *other < position)
            .max_by_key(|(_, (_, (length, _)))| *length);
        ends.push(match (position, before) {
            (None, _) => (0, None),
            (Some(_), Some((at, (_, (length, _))))) => (length + 1, Some(at)),
            (Some(_), None) => (1, None),
        });
    }
    let mut kept = vec![None; positions.len()];
    let last = ends.iter().enumerate().max_by_key(|(_, (length, _))| *length);
    let mut next = last.map(|(at, _)| at);
    while let Some(at) = next {
        if let (Some(slot), Some(position)) = (kept.get_mut(at), positions.get(at)) {
            *slot = *position;
        }
        next = ends.get(at).and_then(|(_, before)| *before);
    }
    kept
}

/// Gives positions to those that have none; `None`: there is no room.
fn fill(kept: &[Option<u32>]) -> Option<Vec<u32>> {
    let mut filled: Vec<u32> = Vec::with_capacity(kept.len());
    while filled.len() < kept.len() {
        let rest = kept.get(filled.len()..)?;
        if let Some(Some(position)) = rest.first() {
            filled.push(*position);
            continue;
        }
        let low = filled.last().copied().unwrap_or(0);
        let missing = rest.iter().take_while(|position| position.is_none()).count();
        let count = u32::try_from(missing).ok()?;
        let step = match rest.get(missing) {
            Some(high) => (*high)?.checked_sub(low)? / (count.checked_add(1)?),
            None => POSITION_STEP,
        };
        if step == 0 {
            return None;
        }
        for place in 1..=count {
            let position = low.checked_add(step.checked_mul(place)?)?;
            filled.push(position);
        }
    }
    filled
        .last()
        .is_none_or(|last| *last <= POSITION_MAX)
        .then_some(filled)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rules_of_a_file_go_where_they_can_be_expected() {
        let ids = |text: &str| -> Vec<RuleId> {
            let ids = text.chars().map(|id| RuleId::parse(&id.to_string()).unwrap());
            ids.collect()
        };
        for (current, file, expected) in [
            ("", "abc", "abc"),
            ("abc", "", "abc"),
            ("abc", "abc", "abc"),
            ("axb", "ba", "bxa"),
            ("xab", "anb", "xanb"),
            ("xay", "na", "xnay"),
            ("xy", "mn", "xymn"),
            ("abc", "cab", "cab"),
        ] {
            assert_eq!(
                merged(&ids(current), &ids(file)),
                ids(expected),
                "{current} {file}"
            );
        }
    }

    #[test]
    fn as_few_positions_as_possible_change() {
        for (current, expected) in [
            (vec![Some(10), Some(20), Some(30)], vec![10, 20, 30]),
            (vec![Some(10), None, Some(20)], vec![10, 15, 20]),
            (vec![Some(30), Some(10), Some(20)], vec![5, 10, 20]),
            (vec![Some(10), None], vec![10, 10 + POSITION_STEP]),
            (vec![None, None], vec![POSITION_STEP, 2 * POSITION_STEP]),
            (vec![Some(1), None, Some(2)], model::positions().take(3).collect()),
            (
                vec![Some(POSITION_MAX), None],
                model::positions().take(2).collect(),
            ),
            (vec![], vec![]),
        ] {
            assert_eq!(positions(&current), expected, "{current:?}");
        }
    }

    proptest! {
        #[test]
        fn positions_always_rise(current in proptest::collection::vec(proptest::option::of(0_u32..40), 0..30)) {
            let positions = positions(&current);
            prop_assert_eq!(positions.len(), current.len());
            prop_assert!(positions.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", positions);
        }
    }
}
