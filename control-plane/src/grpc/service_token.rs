//! `ServiceTokenService`: credentials of scripts. A token is made once and never changed;
//! what is needed otherwise is another one.

use std::collections::BTreeMap;

use bridge_proto::admin::v1 as admin;
use bridge_proto::admin::v1::service_token_service_server::ServiceTokenService;
use prost_types::Timestamp;
use secrecy::ExposeSecret;
use tonic::{Request, Response, Status};

use crate::domain::service_token::{self, Draft, Minted, ServiceToken, Spec, TokenId};
use crate::domain::user::{Role, UserId};
use crate::domain::{FieldViolation, Violations};
use crate::grpc::call::Call;
use crate::grpc::commits::{self, Commits, Created};
use crate::grpc::page::{Ask, matches_query, place_of_time};
use crate::grpc::status::Error;
use crate::grpc::{convert, summary};
use crate::store::{Change, Expect, Kind, Store, Stored};

const ORDERS: [&str; 2] = ["name", "created_at"];

pub(crate) struct ServiceTokens {
    pub(crate) store: Store,
    pub(crate) commits: Commits,
}

#[tonic::async_trait]
impl ServiceTokenService for ServiceTokens {
    async fn list_service_tokens(
        &self,
        request: Request<admin::ListServiceTokensRequest>,
    ) -> Result<Response<admin::ListServiceTokensResponse>, Status> {
        let admin::ListServiceTokensRequest {
            page_size,
            page_token,
            query,
            order_by,
        } = request.into_inner();
        let ask = Ask::parse(page_size, &page_token, &order_by, &ORDERS)?;
        let mut tokens = self.store.service_tokens().await.map_err(Error::from)?;
        tokens.retain(|token| matches_query(&query, &[token.value.spec.name.as_str()]));
        let page = ask.cut(tokens, |Stored { value: token, .. }| {
            let place = match ask.field() {
                "created_at" => place_of_time(Some(token.created_at)),
                _ => token.spec.name.as_str().to_lowercase(),
            };
            (place, token.id.to_string())
        });
        Ok(Response::new(admin::ListServiceTokensResponse {
            service_tokens: self.answers(page.items).await?,
            next_page_token: page.next_page_token,
            total_size: page.total_size,
        }))
    }

    async fn get_service_token(
        &self,
        request: Request<admin::GetServiceTokenRequest>,
    ) -> Result<Response<admin::GetServiceTokenResponse>, Status> {
        let token = self.stored(&request.into_inner().id).await?;
        Ok(Response::new(admin::GetServiceTokenResponse {
            service_token: self.answer(token).await?,
        }))
    }

    async fn create_service_token(
        &self,
        request: Request<admin::CreateServiceTokenRequest>,
    ) -> Result<Response<admin::CreateServiceTokenResponse>, Status> {
        let call = Call::of(&request)?;
        let (token, minted) = self.create(&call, request.into_inner()).await?;
        let shown = minted.map(|minted| minted.secret.expose_secret().to_owned());
        Ok(Response::new(admin::CreateServiceTokenResponse {
            service_token: self.answer(token).await?,
            secret_already_delivered: shown.is_none(),
            token: shown.unwrap_or_default(),
        }))
    }

    async fn delete_service_token(
        &self,
        request: Request<admin::DeleteServiceTokenRequest>,
    ) -> Result<Response<admin::DeleteServiceTokenResponse>, Status> {
        let call = Call::of(&request)?;
        let admin::DeleteServiceTokenRequest { id, revision } = request.into_inner();
        let token = self.stored(&id).await?.value;
        let audit = call
            .audit(&target(&token))
            .with_summaries(Some(summary::service_token(&token)), None);
        let change = Change::DeleteServiceToken(token.id, commits::expect_any(revision));
        self.commits.commit(vec![change], audit).await?;
        Ok(Response::new(admin::DeleteServiceTokenResponse {}))
    }
}

impl ServiceTokens {
    /// The token, and its secret unless it was delivered before.
    async fn create(
        &self,
        call: &Call,
        mut request: admin::CreateServiceTokenRequest,
    ) -> Result<(Stored<ServiceToken>, Option<Minted>), Error> {
        let idempotency_key = std::mem::take(&mut request.idempotency_key);
        let minted = service_token::mint(rand::random(), rand::random());
        let (maker, result) = (call.caller.user_id, minted.id.as_str());
        let idempotency = commits::idempotency(maker, &idempotency_key, &request, result)?;
        let token = ServiceToken {
            id: minted.id.clone(),
            hash: minted.hash,
            maker,
            spec: check(call, request)?,
            created_at: call.now,
        };
        let audit = call
            .audit(&target(&token))
            .with_summaries(None, Some(summary::service_token(&token)));
        let change = Change::PutServiceToken(token.clone(), Expect::Absent);
        match self.commits.create(vec![change], audit, idempotency).await? {
            Created::New { revision } => {
                let stored = Stored {
                    value: token,
                    revision,
                };
                Ok((stored, Some(minted)))
            }
            Created::Before { id } => Ok((self.stored(&id).await?, None)),
        }
    }

    async fn stored(&self, id: &str) -> Result<Stored<ServiceToken>, Error> {
        let missing = || Error::NotFound {
            kind: Kind::ServiceToken,
            id: id.to_owned(),
        };
        let parsed = TokenId::parse(id).map_err(|reason| Error::invalid("id", reason.to_string()))?;
        self.store.service_token(&parsed).await?.ok_or_else(missing)
    }

    async fn answer(&self, token: Stored<ServiceToken>) -> Result<Option<admin::ServiceToken>, Error> {
        Ok(self.answers(vec![token]).await?.pop())
    }

    async fn answers(&self, tokens: Vec<Stored<ServiceToken>>) -> Result<Vec<admin::ServiceToken>, Error> {
        let uses = self.store.service_token_uses().await?;
        let users = self.store.users().await?;
        let emails: BTreeMap<UserId, String> = users
            .into_iter()
            .map(|user| (user.value.id, user.value.spec.email.as_str().to_owned()))
            .collect();
        let answers = tokens.into_iter().map(|token| {
            let last_used_at = uses.get(&token.value.id).map(|at| Timestamp::from(*at));
            let created_by = emails.get(&token.value.maker).cloned();
            to_proto(token, last_used_at, created_by.unwrap_or_default())
        });
        Ok(answers.collect())
    }
}

fn check(call: &Call, request: admin::CreateServiceTokenRequest) -> Result<Spec, Error> {
    let admin::CreateServiceTokenRequest {
        name,
        role,
        scopes,
        expires_at,
        idempotency_key: _,
    } = request;
    let mut violations = Violations::default();
    let role = violations.check("role", convert::role(role));
    let role = role.flatten().unwrap_or(Role::Operator);
    if !call.caller.role.covers(role) {
        violations.add("role", "must not be above your own");
    }
    let expires_at = violations.check("expires_at", convert::time(expires_at));
    let draft = Draft {
        name,
        role,
        scopes,
        expires_at: expires_at.flatten(),
    };
    let spec = draft.check(call.now).map_err(|found| {
        for FieldViolation { field, description } in found {
            violations.add(field, description);
        }
    });
    Ok(violations.finish(spec.ok())?)
}

fn target(token: &ServiceToken) -> String {
    format!("{}/{}", Kind::ServiceToken, token.id)
}

fn to_proto(
    stored: Stored<ServiceToken>,
    last_used_at: Option<Timestamp>,
    created_by: String,
) -> admin::ServiceToken {
    let Stored {
        value:
            ServiceToken {
                id,
                hash: _,
                maker: _,
                spec:
                    Spec {
                        name,
                        role,
                        scopes,
                        expires_at,
                    },
                created_at,
            },
        revision,
    } = stored;
    admin::ServiceToken {
        id: id.to_string(),
        name: name.as_str().to_owned(),
        role: convert::role_to_proto(role).into(),
        scopes: scopes.to_texts(),
        expires_at: Some(expires_at.into()),
        created_at: Some(created_at.into()),
        last_used_at,
        created_by,
        revision,
    }
}
