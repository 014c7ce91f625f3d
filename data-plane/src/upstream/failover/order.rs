//! One request for the upstreams, and what is sent of it to each candidate.

use std::{sync::Arc, time::Instant};

use bridge_translate::{anthropic, loss::LossList, request::Outbound};
use bytes::Bytes;

use crate::{
    error::Error,
    off_reactor::off_reactor,
    routing::Candidate,
    snapshot::{ApiKey, LossPolicy, Snapshot},
    upstream::admission::Upstreams,
    usage::meter::Meter,
};

/// One request on its way over its plan.
#[derive(Clone, Copy)]
pub(crate) struct Order<'a> {
    pub(crate) upstreams: &'a Arc<Upstreams>,
    pub(crate) snapshot: &'a Arc<Snapshot>,
    pub(crate) key: &'a ApiKey,
    pub(crate) request: &'a anthropic::Request<'a>,
    pub(crate) body_bytes: usize,
    pub(crate) arrived: Instant,
}

/// The body for one candidate, and what it loses.
pub(super) struct Sent {
    pub(super) outbound: Outbound,
    pub(super) body: Bytes,
}

impl Order<'_> {
    pub(super) fn translate(&self, candidate: &Candidate, meter: &mut Meter) -> Result<Sent, Error> {
        let target = candidate.target(self.snapshot);
        let mut outbound = off_reactor(self.body_bytes, || {
            bridge_translate::request::to_openai(self.request, &target)
        })?;
        let policy = self.key.loss_policy.unwrap_or(self.snapshot.settings.loss_policy);
        report(policy, &outbound.losses, meter)?;
        let body = Bytes::from(std::mem::take(&mut outbound.body));
        Ok(Sent { outbound, body })
    }
}

fn report(policy: LossPolicy, losses: &LossList, meter: &mut Meter) -> Result<(), Error> {
    match (policy, losses.header()) {
        (_, None) | (LossPolicy::Silent, Some(_)) => {}
        (LossPolicy::Report, Some(header)) => meter.lost(header),
        (LossPolicy::Strict, Some(header)) => return Err(Error::Lossy(header)),
    }
    Ok(())
}
