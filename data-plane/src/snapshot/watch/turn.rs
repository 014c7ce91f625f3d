//! One turn of the subscription: a stream with what this node has to show, and what has to be
//! done about that: the first certificate, the next one, another one.

use std::{sync::Arc, time::Instant};

use tracing::{info, warn};
use url::Url;

use super::{
    Watcher,
    credential::{self, Credential},
    ended::Ended,
    link::Link,
    renewal::Renewal,
};
use crate::{clock::unix_ms, metrics::ResultLabel};

impl Watcher {
    /// One stream; if this node lacks a certificate for it, first that.
    pub(super) async fn take_turn(&self, url: &Url, subscribed: &mut Option<Instant>) -> Result<(), Ended> {
        let ended = self.follow(url, subscribed).await;
        let (Err(reason), Some(enrolment)) = (&ended, &self.fleet.enrolment) else {
            return ended;
        };
        if !reason.asks_to_enrol()
            || (enrolment.join_token.is_none() && !matches!(reason, Ended::NotEnrolled))
        {
            return ended;
        }
        warn!(
            control_plane = url.host_str(),
            "this node asks for a certificate: {reason}"
        );
        let enrolled = credential::enrol(&self.fleet, enrolment, url, &self.node.clock).await;
        self.count_certificate(&enrolled, "enrolled");
        let identity = enrolled?;
        info!(
            node.id = identity.node_id,
            expires_at = httpdate::fmt_http_date(identity.expires_at),
            "this node has enrolled"
        );
        Err(Ended::Renewed)
    }

    pub(super) fn count_certificate<T>(&self, done: &Result<T, Ended>, success: &'static str) {
        let result = if done.is_ok() { success } else { "failed" };
        let certificates = &self.node.metrics.config.certificates;
        certificates.get_or_create(&ResultLabel { result }).inc();
    }

    /// One stream, from connecting to its end, with what this node has to show.
    async fn follow(&self, url: &Url, subscribed: &mut Option<Instant>) -> Result<(), Ended> {
        let credential = Credential::load(&self.fleet).await?;
        let expires_at = credential.identity().map(|identity| identity.expires_at);
        let expires_s = expires_at.map_or(0, |at| unix_ms(at).max(0) as u64 / 1_000);
        self.node.metrics.config.certificate_expires.set(expires_s);
        let ended = self.follow_with(&credential, url, subscribed).await;
        // The other side may have said so in words of TLS, or not at all.
        match (ended, credential.expired_at(self.node.clock.at(Instant::now()))) {
            (Err(cause), Some(at)) if !matches!(cause, Ended::Renewed) => Err(Ended::Expired {
                at: httpdate::fmt_http_date(at),
                cause: cause.to_string(),
            }),
            (ended, _) => ended,
        }
    }

    pub(super) fn renewal(&self, credential: &Credential, link: &Link) -> Renewal {
        match (credential.identity(), &self.fleet.enrolment) {
            (Some(identity), Some(enrolment)) => Renewal::new(
                Arc::clone(identity),
                enrolment.identity.clone(),
                link.channel(),
                Arc::clone(&self.node.clock),
            ),
            (None, _) | (_, None) => Renewal::none(),
        }
    }
}
