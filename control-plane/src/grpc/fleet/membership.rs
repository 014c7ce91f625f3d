//! Who is let into the fleet, and who no longer.

use std::time::Duration;

use bridge_proto::admin::v1 as admin;
use secrecy::ExposeSecret;

use super::{Fleet, named, refused};
use crate::domain::join_token::{self, Draft, JoinToken};
use crate::domain::node::FleetNode;
use crate::domain::{FieldViolation, Violations};
use crate::grpc::call::Call;
use crate::grpc::commits;
use crate::grpc::status::Error;
use crate::grpc::summary;
use crate::peers::CannotTell;
use crate::snapshot::nodes::NodeId;
use crate::store::{Change, Expect, Kind, Stored, target};

impl Fleet {
    pub(super) async fn make_join_token(
        &self,
        call: &Call,
        request: admin::CreateJoinTokenRequest,
    ) -> Result<admin::CreateJoinTokenResponse, Error> {
        let admin::CreateJoinTokenRequest { node_id, lifetime } = request;
        let mut violations = Violations::default();
        let lifetime = lifetime.map(Duration::try_from).transpose();
        if lifetime.is_err() {
            violations.add("lifetime", "must be a duration");
        }
        let draft = Draft {
            node_id,
            lifetime: lifetime.unwrap_or_default(),
        };
        let spec = draft.check(call.now).map_err(|found| {
            for FieldViolation { field, description } in found {
                violations.add(field, description);
            }
        });
        let spec = violations.finish(spec.ok())?;
        let minted = join_token::mint(rand::random(), rand::random());
        let token = JoinToken {
            id: minted.id,
            hash: minted.hash,
            spec,
            created_at: call.now,
        };
        let audit = call
            .audit(&target(Kind::JoinToken, token.id.as_str()))
            .with_summaries(None, Some(summary::join_token(&token)));
        let expires_at = token.spec.expires_at;
        let change = Change::PutJoinToken(token, Expect::Absent);
        self.commits.commit(vec![change], audit).await?;
        Ok(admin::CreateJoinTokenResponse {
            join_token: minted.secret.expose_secret().to_owned(),
            expires_at: Some(expires_at.into()),
            authority_fingerprint: self.authority.fingerprint(),
            fleet_listener: Some(self.listener.clone()),
        })
    }

    /// Refuses what the node shows from now on, everywhere.
    pub(super) async fn revoke(&self, call: &Call, id: &str) -> Result<admin::RevokeNodeResponse, Error> {
        let id = named(id)?;
        let node = commits::update(0, || self.revoke_once(call, &id)).await?;
        // Others hear of it from the store.
        self.roster.follow(&self.peers.nodes).await?;
        let providers = self.store.providers().await?;
        let with_secrets = providers
            .into_iter()
            .filter(|provider| provider.value.credentials.sealed.is_some());
        Ok(admin::RevokeNodeResponse {
            providers_to_rotate: with_secrets
                .map(|provider| provider.value.spec.name.to_string())
                .collect(),
            node_token_to_change: node.certificate.is_none(),
        })
    }

    async fn revoke_once(&self, call: &Call, id: &NodeId) -> Result<FleetNode, Error> {
        let before = self.store.fleet_node(id).await?;
        let (expect, before) = match before {
            Some(Stored { value, .. }) if value.revoked_at.is_some() => return Ok(value),
            Some(Stored { value, revision }) => (Expect::Revision(revision), Some(value)),
            None if self.peers.nodes.knows(id) => (Expect::Absent, None),
            None => return Err(Error::NoSuchNode { id: id.to_string() }),
        };
        let node = FleetNode {
            id: id.clone(),
            certificate: before.as_ref().and_then(|node| node.certificate),
            revoked_at: Some(call.now),
        };
        let audit = call.audit(&target(Kind::Node, id.as_str())).with_summaries(
            before.as_ref().map(summary::fleet_node),
            Some(summary::fleet_node(&node)),
        );
        let change = Change::PutNode(node.clone(), expect);
        self.commits.commit(vec![change], audit).await?;
        Ok(node)
    }

    /// Takes a node off the list. If it had a certificate, that opens nothing any longer; if
    /// it was revoked, its name is free.
    pub(super) async fn forget(&self, call: &Call, id: &str) -> Result<(), Error> {
        let named = named(id)?;
        let stored = self.store.fleet_node(&named).await?;
        match (self.peers.forget(&named).await, &stored) {
            (Ok(()), _) | (Err(CannotTell::Unknown), Some(_)) => {}
            (Err(error), _) => return Err(refused(error, id)),
        }
        let Some(stored) = stored else { return Ok(()) };
        let id = named;
        let audit = call
            .audit(&target(Kind::Node, id.as_str()))
            .with_summaries(Some(summary::fleet_node(&stored.value)), None);
        let change = Change::DeleteNode(id.clone(), Expect::Revision(stored.revision));
        self.commits.commit(vec![change], audit).await?;
        Ok(self.roster.follow(&self.peers.nodes).await?)
    }
}
