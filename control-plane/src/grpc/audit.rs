//! `AuditService`: who changed what. It only reads.

use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bridge_proto::admin::v1 as admin;
use bridge_proto::admin::v1::audit_service_server::AuditService;
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use crate::domain::Violations;
use crate::domain::audit::{Actor, AuditEntry, Origin, Summary};
use crate::grpc::status::Error;
use crate::grpc::{convert, page};
use crate::store::{AuditAsk, AuditChain, AuditPage, AuditRow, Store};

/// Entries of one message of an export: even the largest stay below what clients take.
const EXPORT_ENTRIES: usize = 100;
/// Entries that one page looks at. A filter that finds few answers a short page with a
/// token to go on.
const LOOKED_AT_MAX: usize = 20_000;

pub(crate) struct Audit {
    store: Store,
    /// One walk over everything at a time.
    walks: Arc<Semaphore>,
}

impl Audit {
    pub(crate) fn new(store: Store) -> Self {
        Self {
            store,
            walks: Arc::new(Semaphore::new(1)),
        }
    }
}

#[tonic::async_trait]
impl AuditService for Audit {
    async fn list_entries(
        &self,
        request: Request<admin::ListEntriesRequest>,
    ) -> Result<Response<admin::ListEntriesResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::default();
        let since = violations.check("since", convert::time(request.since));
        let until = violations.check("until", convert::time(request.until));
        let (since, until) = violations.finish(since.zip(until)).map_err(Error::from)?;
        let filter = Filter {
            since,
            until,
            actor_id: request.actor_id,
            target: request.target,
            method: request.method,
        };
        let ask = AuditAsk {
            below: below(&request.page_token)?,
            rows_max: page::page_size(request.page_size)?,
            looked_at_max: LOOKED_AT_MAX,
        };
        let found = self.store.audit_back(ask, move |row| filter.admits(row)).await;
        let AuditPage { rows, below } = found.map_err(Error::from)?;
        Ok(Response::new(admin::ListEntriesResponse {
            entries: rows.into_iter().map(to_proto).collect(),
            next_page_token: below.map(token).unwrap_or_default(),
        }))
    }

    type ExportEntriesStream = BoxStream<'static, Result<admin::ExportEntriesResponse, Status>>;

    async fn export_entries(
        &self,
        request: Request<admin::ExportEntriesRequest>,
    ) -> Result<Response<Self::ExportEntriesStream>, Status> {
        let after = request.into_inner().after_sequence;
        let store = self.store.clone();
        let batches = stream::try_unfold((store, after), |(store, after)| async move {
            let rows = store.audit(after, EXPORT_ENTRIES).await.map_err(Error::from)?;
            let Some(last) = rows.last().map(|row| row.sequence) else {
                return Ok(None);
            };
            let entries = rows.into_iter().map(to_proto).collect();
            let batch = admin::ExportEntriesResponse { entries };
            Ok::<_, Status>(Some((batch, (store, last))))
        });
        Ok(Response::new(batches.boxed()))
    }

    async fn verify_entries(
        &self,
        _request: Request<admin::VerifyEntriesRequest>,
    ) -> Result<Response<admin::VerifyEntriesResponse>, Status> {
        let _turn = self.walks.acquire().await.map_err(Error::internal)?;
        let chain = self.store.audit_chain().await.map_err(Error::from)?;
        Ok(Response::new(match chain {
            AuditChain::Whole { rows } => admin::VerifyEntriesResponse {
                verified: rows,
                broken_sequence: 0,
                reason: String::new(),
            },
            AuditChain::Broken { sequence, reason } => admin::VerifyEntriesResponse {
                verified: sequence.saturating_sub(1),
                broken_sequence: sequence,
                reason: reason.to_owned(),
            },
        }))
    }
}

/// Which entries are asked for; what is empty asks for nothing.
struct Filter {
    since: Option<SystemTime>,
    until: Option<SystemTime>,
    actor_id: String,
    /// A thing, or with `/` at its end a kind.
    target: String,
    method: String,
}

impl Filter {
    fn admits(&self, row: &AuditRow) -> bool {
        let AuditEntry {
            actor,
            method,
            target,
            before: _,
            after: _,
            origin: _,
            at,
        } = &row.entry;
        let is_target = if self.target.ends_with('/') {
            target.starts_with(&self.target)
        } else {
            self.target.is_empty() || *target == self.target
        };
        self.since.is_none_or(|since| *at >= since)
            && self.until.is_none_or(|until| *at < until)
            && (self.actor_id.is_empty() || id_of(actor) == self.actor_id)
            && is_target
            && (self.method.is_empty() || *method == self.method)
    }
}

fn id_of(actor: &Actor) -> String {
    match actor {
        Actor::User { id, email: _ } => id.to_string(),
        Actor::ServiceToken { id, name: _ } => id.to_string(),
        Actor::System => String::new(),
    }
}

fn to_proto(row: AuditRow) -> admin::AuditEntry {
    let AuditRow {
        sequence,
        revision,
        entry:
            AuditEntry {
                actor,
                method,
                target,
                before,
                after,
                origin:
                    Origin {
                        peer_ip,
                        request_id,
                        user_agent: _,
                    },
                at,
            },
        hash,
    } = row;
    let text = |summary: Option<Summary>| summary.map(|it| it.as_str().to_owned()).unwrap_or_default();
    let actor_id = id_of(&actor);
    let actor = match actor {
        Actor::User { id: _, email } => email,
        Actor::ServiceToken { id: _, name } => name,
        Actor::System => String::new(),
    };
    admin::AuditEntry {
        sequence,
        at: Some(at.into()),
        actor_id,
        actor,
        method,
        target,
        before: text(before),
        after: text(after),
        remote_address: peer_ip.map(|ip| ip.to_string()).unwrap_or_default(),
        request_id: request_id.unwrap_or_default(),
        revision,
        hash: hash.to_vec(),
    }
}

fn token(below: u64) -> String {
    URL_SAFE_NO_PAD.encode(below.to_be_bytes())
}

fn below(token: &str) -> Result<Option<u64>, Error> {
    if token.is_empty() {
        return Ok(None);
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).ok();
    let below = bytes.and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
    let below = below.ok_or_else(|| Error::invalid("page_token", "is not one of this list"))?;
    Ok(Some(u64::from_be_bytes(below)))
}
