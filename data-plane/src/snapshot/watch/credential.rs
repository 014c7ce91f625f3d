//! What this node shows to the control plane: its own certificate, or the token that all
//! nodes share. How it gets its first certificate, and the next ones.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bridge_proto::fleet::v1 as proto;
use bridge_proto::fleet::v1::enrolment_service_client::EnrolmentServiceClient;
use secrecy::ExposeSecret;
use tokio::time::timeout;
use tonic::{
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};
use url::Url;

use super::{connect, ended::Ended};
use crate::{
    clock::Clock,
    config::{Enrolment, Fleet, TokenSource},
    snapshot::{
        identity::{self, Certified, Identity, NewKey},
        token,
    },
};

/// How long the control plane may take to answer with a certificate.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

pub(super) enum Credential {
    Token(MetadataValue<Ascii>),
    Certificate(Arc<Identity>),
}

impl Credential {
    /// What there is; `NotEnrolled` if that is nothing yet.
    pub(super) async fn load(fleet: &Fleet) -> Result<Self, Ended> {
        match &fleet.enrolment {
            None => Ok(Self::Token(bearer(&fleet.token).await?)),
            Some(enrolment) => {
                let identity = read(enrolment.identity.clone()).await?;
                let identity = identity.ok_or(Ended::NotEnrolled)?;
                Ok(Self::Certificate(Arc::new(identity)))
            }
        }
    }

    pub(super) fn identity(&self) -> Option<&Arc<Identity>> {
        match self {
            Self::Token(_) => None,
            Self::Certificate(identity) => Some(identity),
        }
    }

    pub(super) fn bearer(&self) -> Option<MetadataValue<Ascii>> {
        match self {
            Self::Token(bearer) => Some(bearer.clone()),
            Self::Certificate(_) => None,
        }
    }

    /// Whether it is a certificate whose time is over.
    pub(super) fn expired_at(&self, now: SystemTime) -> Option<SystemTime> {
        let identity = self.identity()?;
        identity.has_expired(now).then_some(identity.expires_at)
    }
}

/// Shows the join token for a certificate, which is kept.
pub(super) async fn enrol(
    fleet: &Fleet,
    enrolment: &Enrolment,
    url: &Url,
    clock: &Clock,
) -> Result<Identity, Ended> {
    let source = enrolment.join_token.clone().ok_or(Ended::NoJoinToken)?;
    let join_token = blocking(move || token::read(&source)).await??;
    let key = NewKey::make(&fleet.node_id)?;
    let channel = connect::connect(fleet, url, None).await?;
    let request = proto::EnrolRequest {
        join_token: join_token.expose_secret().to_owned(),
        node_id: fleet.node_id.clone(),
        certificate_signing_request: key.request.clone(),
    };
    let mut client = EnrolmentServiceClient::new(channel);
    let answer = timeout(ANSWER_WAIT, client.enrol(request)).await;
    let answered = answer.map_err(|_| Ended::Silent)?;
    let proto::EnrolResponse {
        certificate_chain,
        expires_at,
    } = answered.map_err(Ended::not_enrolled)?.into_inner();
    let certified = certified(certificate_chain, expires_at, clock)?;
    let identity = Identity::new(fleet.node_id.clone(), key, certified);
    keep(enrolment.identity.clone(), identity).await
}

/// Shows the certificate for the next one, which is kept in its place.
pub(super) async fn renew(
    identity: Arc<Identity>,
    path: PathBuf,
    channel: Channel,
    clock: Arc<Clock>,
) -> Result<Identity, Ended> {
    let key = NewKey::make(&identity.node_id)?;
    let request = proto::RenewRequest {
        certificate_signing_request: key.request.clone(),
    };
    let mut client = EnrolmentServiceClient::new(channel);
    let answer = timeout(ANSWER_WAIT, client.renew(request)).await;
    let proto::RenewResponse {
        certificate_chain,
        expires_at,
    } = answer.map_err(|_| Ended::Silent)??.into_inner();
    let certified = certified(certificate_chain, expires_at, &clock)?;
    keep(path, identity.renewed(key, certified)).await
}

fn certified(
    chain: Vec<Vec<u8>>,
    expires_at: Option<prost_types::Timestamp>,
    clock: &Clock,
) -> Result<Certified, Ended> {
    let expires_at = expires_at.and_then(|at| SystemTime::try_from(at).ok());
    Certified::of(chain, clock.at(Instant::now()), expires_at).ok_or(Ended::BadCertificate)
}

async fn read(path: PathBuf) -> Result<Option<Identity>, Ended> {
    Ok(blocking(move || identity::read(&path)).await??)
}

async fn keep(path: PathBuf, identity: Identity) -> Result<Identity, Ended> {
    let kept = blocking(move || identity::write(&path, &identity).map(|()| identity));
    Ok(kept.await??)
}

async fn bearer(source: &TokenSource) -> Result<MetadataValue<Ascii>, Ended> {
    let source = source.clone();
    let token = blocking(move || token::read(&source)).await??;
    let text = format!("Bearer {}", token.expose_secret().trim());
    let mut value = MetadataValue::try_from(text).map_err(|_| Ended::BadToken)?;
    value.set_sensitive(true);
    Ok(value)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Ended> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Ended::Interrupted)
}
