//! `UserService`. That an enabled admin remains, and that no key loses its owner, is
//! checked by the store within the change itself.

use bridge_proto::admin::v1 as admin;
use bridge_proto::admin::v1::user_service_server::UserService;
use secrecy::SecretString;
use tonic::{Request, Response, Status};

use crate::auth::password::Hasher;
use crate::domain::user::{Credentials, Draft, NewPassword, PasswordHash, Role, Spec, User, UserId};
use crate::domain::{FieldViolation, Invalid, Times, Violations};
use crate::grpc::call::Call;
use crate::grpc::commits::{self, Commits, Created};
use crate::grpc::mask::{self, UnknownPath};
use crate::grpc::page::{Ask, matches_query, place_of_time};
use crate::grpc::status::Error;
use crate::grpc::{convert, summary};
use crate::store::{Change, Expect, Kind, Store, Stored};

const ORDERS: [&str; 2] = ["email", "created_at"];

pub(crate) struct Users {
    pub(crate) store: Store,
    pub(crate) commits: Commits,
    pub(crate) hasher: Hasher,
}

#[tonic::async_trait]
impl UserService for Users {
    async fn list_users(
        &self,
        request: Request<admin::ListUsersRequest>,
    ) -> Result<Response<admin::ListUsersResponse>, Status> {
        let admin::ListUsersRequest {
            page_size,
            page_token,
            query,
            order_by,
        } = request.into_inner();
        let ask = Ask::parse(page_size, &page_token, &order_by, &ORDERS)?;
        let mut users = self.store.users().await.map_err(Error::from)?;
        users.retain(|user| {
            let Spec {
                email,
                name,
                role: _,
                enabled: _,
            } = &user.value.spec;
            matches_query(&query, &[email.as_str(), name.as_str()])
        });
        let page = ask.cut(users, |Stored { value: user, .. }| {
            let place = match ask.field() {
                "created_at" => place_of_time(Some(user.times.created_at)),
                _ => user.spec.email.as_str().to_owned(),
            };
            (place, user.id.to_string())
        });
        let logins = self.store.last_logins().await.map_err(Error::from)?;
        let users = page.items.into_iter().map(|user| {
            let last_login_at = logins.get(&user.value.id).copied();
            convert::user(user, last_login_at)
        });
        Ok(Response::new(admin::ListUsersResponse {
            users: users.collect(),
            next_page_token: page.next_page_token,
            total_size: page.total_size,
        }))
    }

    async fn get_user(
        &self,
        request: Request<admin::GetUserRequest>,
    ) -> Result<Response<admin::GetUserResponse>, Status> {
        let user = self.stored(&request.into_inner().id).await?;
        Ok(Response::new(admin::GetUserResponse {
            user: Some(self.answer(user).await?),
        }))
    }

    async fn create_user(
        &self,
        request: Request<admin::CreateUserRequest>,
    ) -> Result<Response<admin::CreateUserResponse>, Status> {
        let call = Call::of(&request)?;
        let user = self.create(&call, request.into_inner()).await?;
        Ok(Response::new(admin::CreateUserResponse {
            user: Some(self.answer(user).await?),
        }))
    }

    async fn update_user(
        &self,
        request: Request<admin::UpdateUserRequest>,
    ) -> Result<Response<admin::UpdateUserResponse>, Status> {
        let call = Call::of(&request)?;
        let request = request.into_inner();
        let user = commits::update(request.revision, || self.update(&call, request.clone())).await?;
        Ok(Response::new(admin::UpdateUserResponse {
            user: Some(self.answer(user).await?),
        }))
    }

    async fn delete_user(
        &self,
        request: Request<admin::DeleteUserRequest>,
    ) -> Result<Response<admin::DeleteUserResponse>, Status> {
        let call = Call::of(&request)?;
        let admin::DeleteUserRequest { id, revision } = request.into_inner();
        let user = self.stored(&id).await?.value;
        let audit = call
            .audit(&target(&user))
            .with_summaries(Some(summary::user(&user)), None);
        let change = Change::DeleteUser(user.id, commits::expect_any(revision));
        self.commits.commit(vec![change], audit).await?;
        Ok(Response::new(admin::DeleteUserResponse {}))
    }

    async fn reset_password(
        &self,
        request: Request<admin::ResetPasswordRequest>,
    ) -> Result<Response<admin::ResetPasswordResponse>, Status> {
        let call = Call::of(&request)?;
        let admin::ResetPasswordRequest {
            id,
            new_password,
            revision,
        } = request.into_inner();
        let password_hash = self.hash(new_password_of("new_password", new_password)?).await?;
        commits::update(revision, || {
            self.set_password(&call, &id, revision, password_hash.clone())
        })
        .await?;
        Ok(Response::new(admin::ResetPasswordResponse {}))
    }
}

impl Users {
    async fn create(&self, call: &Call, request: admin::CreateUserRequest) -> Result<Stored<User>, Error> {
        let admin::CreateUserRequest {
            email,
            name,
            role,
            password,
            must_change_password,
            idempotency_key,
        } = request;
        // A password is guessed from its hash, so it is no part of the fingerprint.
        let fingerprinted = admin::CreateUserRequest {
            email: email.clone(),
            name: name.clone(),
            role,
            must_change_password,
            ..Default::default()
        };
        let (spec, password) = check_new(email, name, role, password)?;
        let id = UserId::mint(rand::random());
        let result = id.to_string();
        let idempotency =
            commits::idempotency(call.caller.user_id, &idempotency_key, &fingerprinted, &result)?;
        let password_hash = self.hash(password).await?;
        let credentials = Credentials {
            password_hash,
            must_change_password,
            session_epoch: 0,
        };
        let user = User {
            id,
            spec,
            credentials,
            times: Times::new(call.now),
        };
        let audit = call
            .audit(&target(&user))
            .with_summaries(None, Some(summary::user(&user)));
        let change = Change::PutUser(user.clone(), Expect::Absent);
        match self.commits.create(vec![change], audit, idempotency).await? {
            Created::New { revision } => Ok(Stored {
                value: user,
                revision,
            }),
            Created::Before { id } => self.stored(&id).await,
        }
    }

    async fn update(&self, call: &Call, request: admin::UpdateUserRequest) -> Result<Stored<User>, Error> {
        let admin::UpdateUserRequest {
            user,
            update_mask,
            revision,
        } = request;
        let wire = user.unwrap_or_default();
        let before = self.stored(&wire.id).await?;
        let mut draft = before.value.spec.to_draft();
        let mut violations = Violations::default();
        mask::apply(update_mask, |path| set(&mut draft, path, &wire, &mut violations))?;
        violations.finish(Some(()))?;
        let spec = draft.check().map_err(|part| Error::nested("user", part))?;
        let after = before.value.clone().with_spec(spec, call.now);
        let audit = call
            .audit(&target(&after))
            .with_summaries(Some(summary::user(&before.value)), Some(summary::user(&after)));
        let change = Change::PutUser(after.clone(), commits::expect(revision, before.revision));
        let revision = self.commits.commit(vec![change], audit).await?;
        Ok(Stored {
            value: after,
            revision,
        })
    }

    async fn set_password(
        &self,
        call: &Call,
        id: &str,
        asked_revision: u64,
        hash: PasswordHash,
    ) -> Result<(), Error> {
        let before = self.stored(id).await?;
        let after = before.value.clone().with_password(hash, true, call.now);
        let audit = call
            .audit(&target(&after))
            .with_summaries(Some(summary::user(&before.value)), Some(summary::user(&after)));
        let change = Change::PutUser(after, commits::expect(asked_revision, before.revision));
        self.commits.commit(vec![change], audit).await.map(drop)
    }

    async fn stored(&self, id: &str) -> Result<Stored<User>, Error> {
        let missing = || Error::NotFound {
            kind: Kind::User,
            id: id.to_owned(),
        };
        let parsed = UserId::parse(id).map_err(|reason| Error::invalid("id", reason.to_string()))?;
        self.store.user(&parsed).await?.ok_or_else(missing)
    }

    async fn answer(&self, user: Stored<User>) -> Result<admin::User, Error> {
        let last_login_at = self.store.last_logins().await?.get(&user.value.id).copied();
        Ok(convert::user(user, last_login_at))
    }

    async fn hash(&self, password: NewPassword) -> Result<PasswordHash, Error> {
        Ok(self.hasher.hash(password.as_secret()).await?)
    }
}

fn target(user: &User) -> String {
    format!("{}/{}", Kind::User, user.id)
}

/// A password that may be set, or the violation of its field.
pub(crate) fn new_password_of(field: &str, text: String) -> Result<NewPassword, Error> {
    let parsed = NewPassword::parse(SecretString::from(text));
    parsed.map_err(|reason| Error::invalid(field, reason.to_string()))
}

/// Reports the violations of all parts together.
fn check_new(email: String, name: String, role: i32, password: String) -> Result<(Spec, NewPassword), Error> {
    let mut violations = Violations::default();
    let role = violations
        .check("role", convert::role(role))
        .flatten()
        .unwrap_or(Role::User);
    let spec = match (Draft {
        email,
        name,
        role,
        enabled: true,
    })
    .check()
    {
        Ok(spec) => Some(spec),
        Err(found) => {
            for FieldViolation { field, description } in found {
                violations.add(field, description);
            }
            None
        }
    };
    let password = violations.check("password", NewPassword::parse(SecretString::from(password)));
    Ok(violations.finish(spec.zip(password))?)
}

fn set(
    draft: &mut Draft,
    path: &str,
    wire: &admin::User,
    violations: &mut Violations,
) -> Result<(), UnknownPath> {
    match path {
        "email" => draft.email.clone_from(&wire.email),
        "name" => draft.name.clone_from(&wire.name),
        "enabled" => draft.enabled = wire.enabled,
        "role" => {
            let role =
                convert::role(wire.role).and_then(|role| role.ok_or_else(|| Invalid::new("must be chosen")));
            if let Some(role) = violations.check("user.role", role) {
                draft.role = role;
            }
        }
        _ => return Err(UnknownPath),
    }
    Ok(())
}
