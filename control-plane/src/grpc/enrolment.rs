//! `EnrolmentService` on the fleet listener: a join token becomes a certificate, and a
//! certificate the next one.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bridge_proto::fleet::v1 as fleet;
use bridge_proto::fleet::v1::enrolment_service_server::EnrolmentService;
use tokio::sync::Semaphore;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};
use tonic::{Request, Response, Status};

use crate::authority::{Authority, BadRequest, Issued};
use crate::domain::audit::{Actor, AuditEntry, Origin};
use crate::domain::join_token::{self, JoinToken, Refusal};
use crate::domain::node::{self, Certified, EnrolmentId, FleetNode, NodeId};
use crate::grpc::commits::Commits;
use crate::grpc::interceptor;
use crate::grpc::status::Error;
use crate::grpc::{call, summary};
use crate::roster::{Denied, Roster};
use crate::snapshot::nodes::{Identity, Nodes};
use crate::store::{Change, Expect, Kind, Store, Stored, target};
use crate::telemetry::{EnrolmentResult, Metrics};

/// Largest request, in bytes: a token, a name and a public key.
pub(crate) const REQUEST_BYTES_MAX: usize = 16 * 1024;
/// Enrolments and renewals that are worked on at a time.
const AT_ONCE: usize = 4;
/// A node whose answer was lost asks again; more often than this it need not.
const RENEWALS_APART: Duration = Duration::from_secs(60);
/// The same, as a part of the time that certificates live.
const RENEWALS_APART_PART: u32 = 100;

pub(crate) struct Enrolment {
    store: Store,
    commits: Commits,
    authority: Authority,
    roster: Roster,
    nodes: Nodes,
    metrics: Metrics,
    turns: Arc<Semaphore>,
}

impl Enrolment {
    pub(crate) fn new(
        (store, nodes): (Store, Nodes),
        authority: Authority,
        roster: Roster,
        metrics: Metrics,
    ) -> Self {
        Self {
            commits: Commits::new(store.clone(), metrics.clone()),
            store,
            authority,
            roster,
            nodes,
            metrics,
            turns: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    async fn admit(&self, asked: fleet::EnrolRequest, origin: Origin) -> Result<Issued, Status> {
        let fleet::EnrolRequest {
            join_token,
            node_id,
            certificate_signing_request,
        } = asked;
        let now = call::now();
        let node = NodeId::parse(&node_id).ok_or_else(|| interceptor::denied(Denied::BadName))?;
        let (id, shown) = join_token::read(join_token.trim()).ok_or_else(|| refused(Refusal::Unknown))?;
        let token = self.store.join_token(&id).await.map_err(Error::from)?;
        let token = token.ok_or_else(|| refused(Refusal::Unknown))?.value;
        token.admit(shown, &node, now).map_err(refused)?;
        let known = self.store.fleet_node(&node).await.map_err(Error::from)?;
        may_take(&token, known.as_ref().map(|stored| &stored.value))?;
        let issued = self.issue(&certificate_signing_request, &node, rand::random(), now)?;
        let by = format!("join_token {id}");
        let audit = audit(&node, "EnrolmentService.Enrol", origin, now);
        let change = Change::DeleteJoinToken(id, Expect::Present);
        match self.keep(node, known, &issued, audit, Some(change)).await {
            // Somebody was faster.
            Err(Error::NotFound {
                kind: Kind::JoinToken,
                ..
            }) => return Err(refused(Refusal::Unknown)),
            kept => kept?,
        }
        tracing::info!(by, "a data plane has enrolled");
        Ok(issued)
    }

    async fn renewed(&self, certified: Certified, request: &[u8], origin: Origin) -> Result<Issued, Status> {
        let Certified { node, enrolment, .. } = certified;
        let now = call::now();
        let known = self.store.fleet_node(&node).await.map_err(Error::from)?;
        let kept = known.as_ref().and_then(|stored| stored.value.certificate);
        let kept = kept.filter(|kept| kept.enrolment == enrolment);
        let kept = kept.ok_or_else(|| interceptor::denied(node::Refusal::Unknown.into()))?;
        let apart = RENEWALS_APART.min(self.authority.lifetime() / RENEWALS_APART_PART);
        if let Ok(wait) = (kept.issued_at + apart).duration_since(now)
            && !wait.is_zero()
        {
            return Err(Error::TooMany { retry_after: wait }.into());
        }
        let issued = self.issue(request, &node, enrolment, now)?;
        let audit = audit(&node, "EnrolmentService.Renew", origin, now);
        self.keep(node, known, &issued, audit, None).await?;
        Ok(issued)
    }

    fn issue(
        &self,
        request: &[u8],
        node: &NodeId,
        enrolment: EnrolmentId,
        now: SystemTime,
    ) -> Result<Issued, Status> {
        let issued = self.authority.issue_node(request, node, enrolment, now);
        issued.map_err(|error| match error {
            BadRequest::Unreadable | BadRequest::OtherKey => Status::invalid_argument(error.to_string()),
            BadRequest::Failed(_) => Error::internal(error).into(),
        })
    }

    /// Writes down what was issued, and with it what it was issued for: a token opens one
    /// enrolment at whichever control plane.
    async fn keep(
        &self,
        id: NodeId,
        known: Option<Stored<FleetNode>>,
        issued: &Issued,
        audit: AuditEntry,
        used: Option<Change>,
    ) -> Result<(), Error> {
        let expect = known
            .as_ref()
            .map_or(Expect::Absent, |known| Expect::Revision(known.revision));
        let node = FleetNode {
            id,
            certificate: Some(issued.kept),
            revoked_at: None,
        };
        let audit = audit.with_summaries(
            known.map(|known| summary::fleet_node(&known.value)),
            Some(summary::fleet_node(&node)),
        );
        let changes = used.into_iter().chain([Change::PutNode(node, expect)]);
        self.commits.commit(changes.collect(), audit).await?;
        // An older certificate is over when the new one is there.
        Ok(self.roster.follow(&self.nodes).await?)
    }

    fn count<T>(&self, done: &Result<T, Status>, success: EnrolmentResult) {
        self.metrics.enrolled(match done {
            Ok(_) => success,
            Err(_) => EnrolmentResult::Refused,
        });
    }
}

#[tonic::async_trait]
impl EnrolmentService for Enrolment {
    async fn enrol(
        &self,
        request: Request<fleet::EnrolRequest>,
    ) -> Result<Response<fleet::EnrolResponse>, Status> {
        needs_tls(&request)?;
        let origin = origin(&request);
        let peer_ip = origin.peer_ip;
        let _turn = self.turns.acquire().await.map_err(Error::internal)?;
        let done = self.admit(request.into_inner(), origin).await;
        self.count(&done, EnrolmentResult::Enrolled);
        if let Err(status) = &done {
            tracing::warn!(peer.ip = ?peer_ip, reason = status.message(), "an enrolment was refused");
        }
        let Issued { chain, kept } = done?;
        Ok(Response::new(fleet::EnrolResponse {
            certificate_chain: chain,
            expires_at: Some(kept.expires_at.into()),
        }))
    }

    async fn renew(
        &self,
        request: Request<fleet::RenewRequest>,
    ) -> Result<Response<fleet::RenewResponse>, Status> {
        let Identity::Certificate(certified) = interceptor::identity(&request)? else {
            return Err(Status::permission_denied(
                "only who has a certificate can renew it; a join token gives the first one",
            ));
        };
        let origin = origin(&request);
        let fleet::RenewRequest {
            certificate_signing_request,
        } = request.into_inner();
        let _turn = self.turns.acquire().await.map_err(Error::internal)?;
        let done = self
            .renewed(certified, &certificate_signing_request, origin)
            .await;
        self.count(&done, EnrolmentResult::Renewed);
        let Issued { chain, kept } = done?;
        Ok(Response::new(fleet::RenewResponse {
            certificate_chain: chain,
            expires_at: Some(kept.expires_at.into()),
        }))
    }
}

/// Whether the token may give the name to somebody who has it not yet.
fn may_take(token: &JoinToken, known: Option<&FleetNode>) -> Result<(), Status> {
    match known {
        Some(known) if known.revoked_at.is_some() => Err(interceptor::denied(node::Refusal::Revoked.into())),
        Some(known) if token.spec.node.is_none() => Err(Status::already_exists(format!(
            "{} is enrolled already: choose another NODE_ID, or make a join token for this one by its name",
            known.id
        ))),
        Some(_) | None => Ok(()),
    }
}

/// A certificate could not be shown in plaintext, and whoever listens would have the token.
fn needs_tls<T>(request: &Request<T>) -> Result<(), Status> {
    if request
        .extensions()
        .get::<TlsConnectInfo<TcpConnectInfo>>()
        .is_some()
    {
        return Ok(());
    }
    Err(Status::failed_precondition(
        "the fleet listener speaks plaintext: give it FLEET_TLS_ISSUED, or FLEET_TLS_CERT and FLEET_TLS_KEY",
    ))
}

fn refused(refusal: Refusal) -> Status {
    Status::permission_denied(refusal.to_string())
}

fn origin<T>(request: &Request<T>) -> Origin {
    Origin {
        peer_ip: request.remote_addr().map(|address| address.ip().to_canonical()),
        ..Origin::default()
    }
}

fn audit(node: &NodeId, method: &str, origin: Origin, now: SystemTime) -> AuditEntry {
    let target = target(Kind::Node, node.as_str());
    AuditEntry::new(Actor::System, method, &target, origin, now)
}
