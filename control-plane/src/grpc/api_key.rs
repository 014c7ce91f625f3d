//! `ApiKeyService`. A `user` sees and manages their own keys only; somebody else's
//! key does not exist for them.

mod own;
mod rotation;

use std::collections::BTreeMap;
use std::time::Duration;

use bridge_proto::admin::v1 as admin;
use bridge_proto::admin::v1::api_key_service_server::ApiKeyService;
use secrecy::ExposeSecret;
use tonic::{Request, Response, Status};

use crate::domain::Violations;
use crate::domain::api_key::{self, ApiKey, Draft, KeyId, Minted};
use crate::domain::user::UserId;
use crate::grpc::call::Call;
use crate::grpc::commits::{self, Commits, Created};
use crate::grpc::mask::{self, UnknownPath};
use crate::grpc::page::{Ask, matches_query, place_of_time};
use crate::grpc::status::Error;
use crate::grpc::{accounts, convert, duration, summary};
use crate::peers::Peers;
use crate::snapshot::nodes::NodeId;
use crate::store::{Change, Expect, KeyUsage, Kind, Store, Stored};

const OWNER: &str = "owner_user_id";
const ORDER_BY_USE: &str = "last_used_at";
const ORDERS: [&str; 3] = ["created_at", "name", ORDER_BY_USE];
/// How long a revocation waits for the fleet if the caller does not say.
const REVOKE_WAIT_DEFAULT: Duration = Duration::from_secs(5);
const REVOKE_WAIT_MAX: Duration = Duration::from_secs(60);

pub(crate) struct ApiKeys {
    pub(crate) store: Store,
    pub(crate) commits: Commits,
    pub(crate) peers: Peers,
}

#[tonic::async_trait]
impl ApiKeyService for ApiKeys {
    async fn list_api_keys(
        &self,
        request: Request<admin::ListApiKeysRequest>,
    ) -> Result<Response<admin::ListApiKeysResponse>, Status> {
        let call = Call::of(&request)?;
        let request = request.into_inner();
        let ask = Ask::parse(request.page_size, &request.page_token, &request.order_by, &ORDERS)?;
        let owner = match request.owner_user_id.as_str() {
            "" => None,
            text => Some(parse_owner(text)?),
        };
        let mut keys = self.store.api_keys().await.map_err(Error::from)?;
        keys.retain(|Stored { value: key, .. }| {
            let is_of_owner = owner.is_none_or(|owner| owner == key.spec.owner);
            call.reaches(key.spec.owner) && is_of_owner && is_asked_for(key, &request)
        });
        let usage = if ask.field() == ORDER_BY_USE {
            self.store.key_usages().await.map_err(Error::from)?
        } else {
            BTreeMap::new()
        };
        let page = ask.cut(keys, |Stored { value: key, .. }| {
            let place = match ask.field() {
                "name" => key.spec.name.as_str().to_lowercase(),
                ORDER_BY_USE => {
                    let used = usage.get(key.id.as_str());
                    place_of_time(used.and_then(KeyUsage::last_used))
                }
                _ => place_of_time(Some(key.times.created_at)),
            };
            (place, key.id.as_str().to_owned())
        });
        Ok(Response::new(admin::ListApiKeysResponse {
            api_keys: self.shown(&call, page.items).await?,
            next_page_token: page.next_page_token,
            total_size: page.total_size,
        }))
    }

    async fn get_api_key(
        &self,
        request: Request<admin::GetApiKeyRequest>,
    ) -> Result<Response<admin::GetApiKeyResponse>, Status> {
        let call = Call::of(&request)?;
        let key = self.reached(&call, &request.into_inner().id).await?;
        Ok(Response::new(admin::GetApiKeyResponse {
            api_key: self.shown(&call, vec![key]).await?.pop(),
        }))
    }

    async fn create_api_key(
        &self,
        request: Request<admin::CreateApiKeyRequest>,
    ) -> Result<Response<admin::CreateApiKeyResponse>, Status> {
        let call = Call::of(&request)?;
        let made = self.create(&call, request.into_inner()).await?;
        let (api_key, secret) = self.delivered(&call, made).await?;
        Ok(Response::new(admin::CreateApiKeyResponse {
            api_key,
            secret_already_delivered: secret.is_none(),
            key: secret.unwrap_or_default(),
        }))
    }

    async fn update_api_key(
        &self,
        request: Request<admin::UpdateApiKeyRequest>,
    ) -> Result<Response<admin::UpdateApiKeyResponse>, Status> {
        let call = Call::of(&request)?;
        let request = request.into_inner();
        let key = commits::update(request.revision, || self.update(&call, request.clone())).await?;
        Ok(Response::new(admin::UpdateApiKeyResponse {
            api_key: self.shown(&call, vec![key]).await?.pop(),
        }))
    }

    async fn delete_api_key(
        &self,
        request: Request<admin::DeleteApiKeyRequest>,
    ) -> Result<Response<admin::DeleteApiKeyResponse>, Status> {
        let call = Call::of(&request)?;
        let admin::DeleteApiKeyRequest { id, revision } = request.into_inner();
        let key = self.reached(&call, &id).await?.value;
        let audit = call
            .audit(&target(&key))
            .with_summaries(Some(summary::api_key(&key)), None);
        let change = Change::DeleteApiKey(key.id, commits::expect_any(revision));
        self.commits.commit(vec![change], audit).await?;
        Ok(Response::new(admin::DeleteApiKeyResponse {}))
    }

    async fn rotate_api_key(
        &self,
        request: Request<admin::RotateApiKeyRequest>,
    ) -> Result<Response<admin::RotateApiKeyResponse>, Status> {
        let call = Call::of(&request)?;
        let request = request.into_inner();
        let made = commits::update(request.revision, || self.rotate(&call, request.clone())).await?;
        let (api_key, secret) = self.delivered(&call, made).await?;
        Ok(Response::new(admin::RotateApiKeyResponse {
            api_key,
            secret_already_delivered: secret.is_none(),
            key: secret.unwrap_or_default(),
        }))
    }

    async fn revoke_api_key(
        &self,
        request: Request<admin::RevokeApiKeyRequest>,
    ) -> Result<Response<admin::RevokeApiKeyResponse>, Status> {
        let call = Call::of(&request)?;
        let admin::RevokeApiKeyRequest {
            id,
            timeout,
            terminate_streams,
        } = request.into_inner();
        let timeout = duration::parse("timeout", timeout, REVOKE_WAIT_DEFAULT, REVOKE_WAIT_MAX)?;
        let key = commits::update(0, || self.disable(&call, &id)).await?;
        let revision = key.revision;
        let ending = async {
            if !terminate_streams {
                return Vec::new();
            }
            let key_ids = vec![key.value.id.to_string()];
            self.peers.terminate_streams(key_ids, timeout).await
        };
        // Nodes end what runs with a key, and once more what began before they knew.
        let (acks, untold) = tokio::join!(self.peers.nodes.wait_acked(revision, timeout), ending);
        let names = |nodes: Vec<NodeId>| nodes.iter().map(NodeId::to_string).collect();
        Ok(Response::new(admin::RevokeApiKeyResponse {
            api_key: self.shown(&call, vec![key]).await?.pop(),
            revision,
            acknowledged_nodes: names(acks.acknowledged),
            pending_nodes: names(acks.pending),
            untold_nodes: names(untold),
        }))
    }
}

/// A key that was made now, with the secret to show once, or before.
enum Made {
    Now(Stored<ApiKey>, Minted),
    Before(Stored<ApiKey>),
}

impl ApiKeys {
    async fn create(&self, call: &Call, mut request: admin::CreateApiKeyRequest) -> Result<Made, Error> {
        let idempotency_key = std::mem::take(&mut request.idempotency_key);
        let minted = mint();
        let result = minted.id.as_str();
        let idempotency = commits::idempotency(call.caller.user_id, &idempotency_key, &request, result)?;
        // What was granted once is answered again, though the settings may grant less by now.
        if let Some(id) = self.commits.done_before(idempotency.as_ref(), call.now).await? {
            return Ok(Made::Before(self.reached(call, &id).await?));
        }
        let admin::CreateApiKeyRequest {
            name,
            email,
            owner_user_id,
            expires_at,
            allowed_models,
            allowed_providers,
            idempotency_key: _,
            loss_policy,
            limits,
        } = request;
        let owner = self.owner(call, &owner_user_id).await?;
        let mut violations = Violations::default();
        let expires_at = violations.check("expires_at", convert::time(expires_at));
        let loss_policy = violations.check("loss_policy", convert::loss_policy(loss_policy));
        let (expires_at, loss_policy) = violations.finish(expires_at.zip(loss_policy))?;
        let draft = Draft {
            name,
            email,
            owner,
            enabled: true,
            expires_at,
            allowed_models,
            allowed_providers,
            loss_policy,
            limits: accounts::limits_draft(limits),
        };
        let grant = self.granted(call, draft).await?;
        let key = ApiKey::new(&minted, grant.spec, call.now);
        let audit = call
            .audit(&target(&key))
            .with_summaries(None, Some(summary::api_key(&key)));
        let mut changes = vec![Change::PutApiKey(key.clone(), Expect::Absent)];
        changes.extend(grant.room);
        match self.commits.create(changes, audit, idempotency).await? {
            Created::New { revision } => Ok(Made::Now(Stored { value: key, revision }, minted)),
            Created::Before { id } => Ok(Made::Before(self.reached(call, &id).await?)),
        }
    }

    async fn update(
        &self,
        call: &Call,
        request: admin::UpdateApiKeyRequest,
    ) -> Result<Stored<ApiKey>, Error> {
        let admin::UpdateApiKeyRequest {
            api_key,
            update_mask,
            revision,
        } = request;
        let wire = api_key.unwrap_or_default();
        let before = self.reached(call, &wire.id).await?;
        let mut draft = before.value.spec.to_draft();
        let mut violations = Violations::default();
        mask::apply(update_mask, |path| set(&mut draft, path, &wire, &mut violations))?;
        violations.finish(Some(()))?;
        let spec = draft.check().map_err(|part| Error::nested("api_key", part))?;
        own::check_no_wider(call, &spec, &before.value)?;
        let after = before.value.clone();
        let after = after.with_spec(spec, own::disabled_by(call), call.now);
        self.put(call, before, after, revision).await
    }

    async fn disable(&self, call: &Call, id: &str) -> Result<Stored<ApiKey>, Error> {
        let before = self.reached(call, id).await?;
        let after = before.value.clone().revoked(own::disabled_by(call), call.now);
        if after.disabled_by == before.value.disabled_by {
            return Ok(before);
        }
        self.put(call, before, after, 0).await
    }

    async fn put(
        &self,
        call: &Call,
        before: Stored<ApiKey>,
        after: ApiKey,
        asked_revision: u64,
    ) -> Result<Stored<ApiKey>, Error> {
        let audit = call.audit(&target(&after)).with_summaries(
            Some(summary::api_key(&before.value)),
            Some(summary::api_key(&after)),
        );
        let change = Change::PutApiKey(after.clone(), commits::expect(asked_revision, before.revision));
        let revision = self.commits.commit(vec![change], audit).await?;
        Ok(Stored {
            value: after,
            revision,
        })
    }

    /// A key that was made, and its secret if it was made now. That is shown once: it must not be
    /// lost because what was used cannot be read.
    async fn delivered(
        &self,
        call: &Call,
        made: Made,
    ) -> Result<(Option<admin::ApiKey>, Option<String>), Error> {
        match made {
            Made::Now(key, minted) => {
                let shown = self.shown(call, vec![key.clone()]).await.unwrap_or_else(|error| {
                    tracing::warn!(%error, "a new key is answered without what was used of it");
                    vec![convert::api_key(key)]
                });
                Ok((
                    shown.into_iter().next(),
                    Some(minted.secret.expose_secret().to_owned()),
                ))
            }
            Made::Before(key) => Ok((self.shown(call, vec![key]).await?.pop(), None)),
        }
    }

    /// Keys as they are answered, with what was used of them.
    async fn shown(&self, call: &Call, keys: Vec<Stored<ApiKey>>) -> Result<Vec<admin::ApiKey>, Error> {
        let ids = keys.iter().map(|key| key.value.id.clone()).collect();
        let usage = self.store.key_usage(ids).await?;
        let shown = |key: Stored<ApiKey>| {
            let used = usage.get(key.value.id.as_str());
            accounts::with_usage(convert::api_key(key), used, call.now)
        };
        Ok(keys.into_iter().map(shown).collect())
    }

    /// The key, if the caller reaches it; otherwise it is as if it were not there.
    async fn reached(&self, call: &Call, id: &str) -> Result<Stored<ApiKey>, Error> {
        let missing = || Error::NotFound {
            kind: Kind::ApiKey,
            id: id.to_owned(),
        };
        let parsed = KeyId::parse(id).map_err(|reason| Error::invalid("id", reason.to_string()))?;
        let key = self.store.api_key(&parsed).await?;
        key.filter(|key| call.reaches(key.value.spec.owner))
            .ok_or_else(missing)
    }

    async fn owner(&self, call: &Call, text: &str) -> Result<UserId, Error> {
        if text.is_empty() {
            return Ok(call.caller.user_id);
        }
        let owner = parse_owner(text)?;
        if !call.reaches(owner) {
            return Err(Error::RoleRefused {
                role: call.caller.role,
            });
        }
        let user = self.store.user(&owner).await?;
        user.map(|user| user.value.id)
            .ok_or_else(|| Error::invalid(OWNER, "is not a user"))
    }
}

fn parse_owner(text: &str) -> Result<UserId, Error> {
    UserId::parse(text).map_err(|reason| Error::invalid(OWNER, reason.to_string()))
}

fn is_asked_for(key: &ApiKey, request: &admin::ListApiKeysRequest) -> bool {
    let Draft {
        name, email, enabled, ..
    } = key.spec.to_draft();
    matches_query(&request.query, &[&name, &email, key.id.as_str()])
        && request.enabled.is_none_or(|asked| asked == enabled)
}

fn mint() -> Minted {
    api_key::mint(rand::random(), rand::random())
}

fn target(key: &ApiKey) -> String {
    format!("{}/{}", Kind::ApiKey, key.id)
}

fn set(
    draft: &mut Draft,
    path: &str,
    wire: &admin::ApiKey,
    violations: &mut Violations,
) -> Result<(), UnknownPath> {
    match path {
        "name" => draft.name.clone_from(&wire.name),
        "email" => draft.email.clone_from(&wire.email),
        "enabled" => draft.enabled = wire.enabled,
        "expires_at" => {
            if let Some(at) = violations.check("api_key.expires_at", convert::time(wire.expires_at)) {
                draft.expires_at = at;
            }
        }
        "allowed_models" => draft.allowed_models.clone_from(&wire.allowed_models),
        "allowed_providers" => draft.allowed_providers.clone_from(&wire.allowed_providers),
        "loss_policy" => {
            if let Some(policy) =
                violations.check("api_key.loss_policy", convert::loss_policy(wire.loss_policy))
            {
                draft.loss_policy = policy;
            }
        }
        "limits" => draft.limits = accounts::limits_draft(wire.limits.clone()),
        _ => return Err(UnknownPath),
    }
    Ok(())
}
