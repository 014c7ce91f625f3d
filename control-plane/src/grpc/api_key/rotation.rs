//! One key takes the place of another: it has the settings of the newest one so far, and all
//! before it go on for their overlap at most.

use std::time::{Duration, SystemTime};

use bridge_proto::admin::v1 as admin;

use super::own::disabled_by;
use super::{ApiKeys, Made, mint, target};
use crate::domain::api_key::ApiKey;
use crate::grpc::call::Call;
use crate::grpc::commits;
use crate::grpc::duration;
use crate::grpc::status::Error;
use crate::grpc::summary;
use crate::store::{Change, Expect, Stored};

/// How long a rotated key goes on if the caller does not say.
const OVERLAP_DEFAULT: Duration = Duration::from_secs(24 * 60 * 60);
const OVERLAP_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// Successors that are followed to find the newest.
const SUCCESSORS_MAX: usize = 100;

impl ApiKeys {
    pub(super) async fn rotate(
        &self,
        call: &Call,
        mut request: admin::RotateApiKeyRequest,
    ) -> Result<Made, Error> {
        let idempotency_key = std::mem::take(&mut request.idempotency_key);
        let overlap = duration::parse("overlap", request.overlap, OVERLAP_DEFAULT, OVERLAP_MAX)?;
        let asked = self.reached(call, &request.id).await?;
        let minted = mint();
        let result = minted.id.as_str();
        let idempotency = commits::idempotency(call.caller.user_id, &idempotency_key, &request, result)?;
        // A key that ended at once cannot be rotated, but asked for again.
        if let Some(id) = self.commits.done_before(idempotency.as_ref(), call.now).await? {
            return Ok(Made::Before(self.reached(call, &id).await?));
        }
        check_is_good(&asked.value, call.now)?;
        let newest = self.newest(&asked).await?;
        check_is_good(&newest.value, call.now)?;

        let key = ApiKey::new(&minted, newest.value.spec.clone(), call.now);
        let audit = call
            .audit(&target(&asked.value))
            .with_summaries(Some(summary::api_key(&asked.value)), Some(summary::api_key(&key)));
        let replaced = |key: &Stored<ApiKey>, expect| {
            let ending = key
                .value
                .clone()
                .succeeded_by(&minted.id, overlap, disabled_by(call), call.now);
            Change::PutApiKey(ending, expect)
        };
        let mut changes = vec![
            Change::PutApiKey(key.clone(), Expect::Absent),
            replaced(&asked, commits::expect(request.revision, asked.revision)),
        ];
        changes.push(Change::CarrySpent {
            from: newest.value.id.clone(),
            to: key.id.clone(),
        });
        if newest.value.id != asked.value.id {
            changes.push(replaced(&newest, Expect::Revision(newest.revision)));
        }
        let room = self.room_for_successor(call, key.spec.owner, overlap.is_zero());
        changes.extend(room.await?);
        match self.commits.create(changes, audit, idempotency).await? {
            commits::Created::New { revision } => Ok(Made::Now(Stored { value: key, revision }, minted)),
            commits::Created::Before { id } => Ok(Made::Before(self.reached(call, &id).await?)),
        }
    }

    /// The last of those that have taken the key's place, or the key.
    async fn newest(&self, key: &Stored<ApiKey>) -> Result<Stored<ApiKey>, Error> {
        let mut newest = key.clone();
        for _ in 0..SUCCESSORS_MAX {
            let Some(id) = &newest.value.successor else {
                return Ok(newest);
            };
            let next = self.store.api_key(id).await?;
            newest = next.ok_or_else(|| {
                Error::Precondition(format!(
                    "API key {} was rotated, and its successor {id} is gone: make a new one",
                    newest.value.id
                ))
            })?;
        }
        Err(Error::Precondition(format!(
            "API key {} was rotated too often since: rotate a newer one",
            key.value.id
        )))
    }
}

/// What is disabled or over does not get a successor that goes on.
fn check_is_good(key: &ApiKey, now: SystemTime) -> Result<(), Error> {
    let id = &key.id;
    let refused = if key.spec.has_expired(now) {
        format!("API key {id} has expired: make a new one")
    } else if !key.spec.enabled {
        format!("API key {id} is disabled: enable it first, or make a new one")
    } else {
        return Ok(());
    };
    Err(Error::Precondition(refused))
}
