//! Revisions as they are listed.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bridge_proto::admin::v1 as admin;

use crate::domain::audit::Actor;
use crate::grpc::page::page_size;
use crate::grpc::status::Error;
use crate::snapshot::nodes::Nodes;
use crate::store::{Revision, RevisionAsk, Store};

/// What a token of this list begins with.
const TOKEN_PREFIX: &str = "revisions";

pub(super) async fn page(
    store: &Store,
    nodes: &Nodes,
    request: admin::ListRevisionsRequest,
) -> Result<admin::ListRevisionsResponse, Error> {
    let admin::ListRevisionsRequest {
        page_size: size,
        page_token,
        target,
    } = request;
    let ask = RevisionAsk {
        below: below(&page_token, &target)?,
        size: page_size(size)?,
        target: target.clone(),
    };
    let page = store.list_revisions(ask).await?;
    let acked = nodes.acked();
    let revisions = page.revisions.into_iter();
    Ok(admin::ListRevisionsResponse {
        revisions: revisions.map(|revision| to_proto(revision, &acked)).collect(),
        next_page_token: page.next.map(|below| token(below, &target)).unwrap_or_default(),
    })
}

fn to_proto(revision: Revision, acked: &[u64]) -> admin::Revision {
    let Revision {
        revision,
        entry,
        targets,
        is_kept,
    } = revision;
    let actor = match entry.actor {
        Actor::User { id, email } if email.is_empty() => id.to_string(),
        Actor::User { id: _, email } => email,
        Actor::ServiceToken { id: _, name } => name,
        Actor::System => String::new(),
    };
    let acknowledged = acked.iter().filter(|acked| **acked >= revision).count();
    admin::Revision {
        revision,
        at: Some(entry.at.into()),
        actor,
        method: entry.method,
        targets,
        acknowledged_nodes: u32::try_from(acknowledged).unwrap_or(u32::MAX),
        is_kept,
    }
}

fn token(below: u64, target: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{TOKEN_PREFIX}\n{below}\n{target}"))
}

fn below(token: &str, target: &str) -> Result<Option<u64>, Error> {
    if token.is_empty() {
        return Ok(None);
    }
    let read = || {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let rest = text.strip_prefix(TOKEN_PREFIX)?.strip_prefix('\n')?;
        let (below, of) = rest.split_once('\n')?;
        (of == target).then(|| below.parse().ok()).flatten()
    };
    let below =
        read().ok_or_else(|| Error::invalid("page_token", "is not one of this list with this filter"))?;
    Ok(Some(below))
}
