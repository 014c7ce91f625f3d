//! What several control planes show of the fleet, as one.
//!
//! A data plane that is known at several counts where it is connected, or else where it
//! was seen last.

use std::collections::BTreeMap;

use bridge_proto::admin::v1 as admin;

use crate::snapshot::nodes::Nodes;

/// All of them, by id.
pub(super) fn merged(here: Vec<admin::Node>, nodes: &Nodes) -> Vec<admin::Node> {
    let places = nodes.places();
    let mut merged = BTreeMap::new();
    for node in here {
        add(&mut merged, node);
    }
    for (place, shown) in nodes.shown() {
        let is_there = places.contains(&place);
        for mut node in shown {
            if !is_there {
                // Nobody has heard of its control plane for a while.
                node.set_state(admin::NodeState::Disconnected);
            }
            add(&mut merged, node);
        }
    }
    merged.into_values().collect()
}

fn add(merged: &mut BTreeMap<String, admin::Node>, node: admin::Node) {
    let weight = |node: &admin::Node| {
        let seen = node.last_seen_at.as_ref();
        let is_connected = node.state() != admin::NodeState::Disconnected;
        (is_connected, seen.map(|seen| (seen.seconds, seen.nanos)))
    };
    match merged.get(&node.id) {
        Some(known) if weight(known) >= weight(&node) => {}
        Some(_) | None => drop(merged.insert(node.id.clone(), node)),
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::gauge::Gauge;

    use super::*;
    use crate::snapshot::nodes::{Away, Elsewhere, NodeId, Shown};
    use crate::store::ControlPlaneId;

    fn node(id: &str, state: admin::NodeState, seen_s: i64) -> admin::Node {
        admin::Node {
            id: id.to_owned(),
            state: state.into(),
            last_seen_at: Some(prost_types::Timestamp {
                seconds: seen_s,
                nanos: 0,
            }),
            ..Default::default()
        }
    }

    #[test]
    fn a_node_counts_where_it_is_connected_or_was_seen_last() {
        use admin::NodeState::{Current, Disconnected};
        let nodes = Nodes::new(Gauge::default());
        let [live, dead] = [1, 2].map(|n| ControlPlaneId::from_bytes([n; 16]));
        let away = Away {
            at: live,
            acked: None,
            refused: None,
            is_live: true,
        };
        nodes.set_elsewhere(Elsewhere::from([(NodeId::parse("moved").unwrap(), vec![away])]));
        nodes.set_shown(Shown::from([
            (
                live,
                vec![
                    node("moved", Current, 5),
                    node("left", Disconnected, 1),
                    node("gone", Disconnected, 9),
                ],
            ),
            (dead, vec![node("lost", Current, 4)]),
        ]));
        let here = vec![
            node("moved", Disconnected, 7),
            node("left", Current, 2),
            node("gone", Disconnected, 8),
        ];
        let merged = merged(here, &nodes);
        let told: Vec<_> = merged
            .iter()
            .map(|node| {
                let seen = node.last_seen_at.map_or(0, |seen| seen.seconds);
                (node.id.as_str(), node.state(), seen)
            })
            .collect();
        assert_eq!(
            told,
            [
                ("gone", Disconnected, 9),
                ("left", Current, 2),
                ("lost", Disconnected, 4),
                ("moved", Current, 5)
            ]
        );
    }
}
