//! Data planes that have a certificate or were revoked.

use super::{
    CommitError, Error, Expect, Kind, Store, Stored,
    family::Family,
    plan::Planner,
    record::{self, Persist},
    rows::{Order, Span},
};
use crate::domain::node::{FleetNode, NODES_MAX, NodeId};

impl Planner<'_> {
    pub(super) fn put_node(&mut self, node: &FleetNode, expect: Expect) -> Result<(), CommitError> {
        let id = node.id.as_str();
        let before = self.put(Kind::Node, id, node, expect)?;
        if before.is_none() && self.writes.scan_prefix(Family::Nodes, b"")?.len() > NODES_MAX {
            return Err(CommitError::TooMany {
                max: NODES_MAX,
                what: "data planes may be known",
                remedy: "forget those that are gone",
            });
        }
        self.note(Kind::Node, id.to_owned(), node.revoked_at.is_some());
        Ok(())
    }

    pub(super) fn delete_node(&mut self, id: &NodeId, expect: Expect) -> Result<(), CommitError> {
        self.delete::<FleetNode>(Kind::Node, id.as_str(), id.as_str().as_bytes(), expect)?;
        self.note(Kind::Node, id.to_string(), false);
        Ok(())
    }
}

impl Store {
    pub async fn fleet_node(&self, id: &NodeId) -> Result<Option<Stored<FleetNode>>, Error> {
        let row = self
            .backend
            .get(FleetNode::FAMILY, id.as_str().as_bytes())
            .await?;
        row.map(|row| record::decode(&row)).transpose()
    }

    /// By name.
    pub async fn fleet_nodes(&self) -> Result<Vec<Stored<FleetNode>>, Error> {
        self.blocking(|rows| {
            rows.scan(FleetNode::FAMILY, Span::all(), Order::Ascending)
                .map(|row| record::decode(&row?.value))
                .collect()
        })
        .await
    }
}
