//! Who calls: users, their sessions and service tokens.

use super::{Document, chosen, document, seconds};
use crate::domain::{
    service_token::{self, ServiceToken},
    session::{Client, Session},
    user::{self, User},
};

pub(crate) fn user(user: &User) -> Document {
    let user::Spec {
        email,
        name,
        role,
        enabled,
    } = &user.spec;
    let user::Credentials {
        password_hash: _,
        must_change_password,
        session_epoch,
    } = &user.credentials;
    document([
        ("email", email.as_str().into()),
        ("name", name.as_str().into()),
        ("role", role.as_str().into()),
        ("enabled", (*enabled).into()),
        ("must_change_password", (*must_change_password).into()),
        ("session_epoch", (*session_epoch).into()),
    ])
}

pub(crate) fn session(session: &Session) -> Document {
    let Session {
        id: _,
        user_id,
        generation: _,
        created_at,
        refreshed_at: _,
        expires_at,
        session_epoch: _,
        client: Client { address, user_agent },
    } = session;
    chosen([
        ("user_id", user_id.to_string().into()),
        ("created_at", seconds(*created_at)),
        ("expires_at", seconds(*expires_at)),
        (
            "remote_address",
            address.map(|address| address.to_string()).into(),
        ),
        ("user_agent", user_agent.as_str().into()),
    ])
}

pub(crate) fn service_token(token: &ServiceToken) -> Document {
    let ServiceToken {
        id: _,
        hash: _,
        maker,
        spec:
            service_token::Spec {
                name,
                role,
                scopes,
                expires_at,
            },
        created_at: _,
    } = token;
    document([
        ("name", name.as_str().into()),
        ("role", role.as_str().into()),
        ("scopes", scopes.to_texts().into()),
        ("expires_at", seconds(*expires_at)),
        ("maker_user_id", maker.to_string().into()),
    ])
}
