//! One request for the upstreams, and what is sent of it to each candidate.

use std::{sync::Arc, time::Instant};

use bridge_translate::{anthropic, loss::LossList};
use bytes::Bytes;

use crate::{
    error::Error,
    off_reactor::off_reactor,
    routing::Candidate,
    snapshot::{ApiKey, LossPolicy, Snapshot},
    upstream::{
        admission::Upstreams,
        client::{self, Accept},
        way_back::Reply,
    },
    usage::meter::Meter,
};

/// One request on its way over its plan.
#[derive(Clone, Copy)]
pub(crate) struct Order<'a> {
    pub(crate) upstreams: &'a Arc<Upstreams>,
    pub(crate) snapshot: &'a Arc<Snapshot>,
    pub(crate) key: &'a ApiKey,
    pub(crate) asked: Asked<'a>,
    pub(crate) arrived: Instant,
}

/// What the client sent.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) request: &'a anthropic::Request<'a>,
    pub(crate) body: &'a Bytes,
}

/// What goes to one candidate, and how its answer is to be read.
pub(super) struct Sent {
    pub(super) call: client::Request,
    pub(super) reply: Reply,
}

impl Order<'_> {
    /// Makes the call for one candidate.
    pub(super) fn prepare(&self, candidate: &Candidate, meter: &mut Meter) -> Result<Sent, Error> {
        let target = candidate.target(self.snapshot);
        let outbound = off_reactor(self.asked.body.len(), || {
            bridge_translate::request::to_openai(self.asked.request, &target)
        })?;
        self.report(&outbound.losses, meter)?;
        let accept = if outbound.upstream_streams {
            Accept::Events
        } else {
            Accept::Json
        };
        let endpoint = &candidate.provider.endpoint;
        Ok(Sent {
            call: client::Request {
                url: endpoint.url.clone(),
                headers: endpoint.headers.clone(),
                accept,
                body: outbound.body.into(),
            },
            reply: Reply::Translated(outbound.reply),
        })
    }

    fn report(&self, losses: &LossList, meter: &mut Meter) -> Result<(), Error> {
        let policy = self.key.loss_policy.unwrap_or(self.snapshot.settings.loss_policy);
        match (policy, losses.header()) {
            (_, None) | (LossPolicy::Silent, Some(_)) => {}
            (LossPolicy::Report, Some(header)) => meter.lost(header),
            (LossPolicy::Strict, Some(header)) => return Err(Error::Lossy(header)),
        }
        Ok(())
    }
}
