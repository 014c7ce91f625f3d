//! One request for the upstreams, and what is sent of it to each candidate.

use std::{sync::Arc, time::Instant};

use bridge_translate::{loss::LossList, native::History};

use crate::{
    error::Error,
    off_reactor::off_reactor,
    routing::Candidate,
    snapshot::{ApiFormat, ApiKey, LossPolicy, Snapshot},
    upstream::{
        admission::Upstreams,
        client::{self, Accept},
        outcome::Failure,
        pass::{Asked, Passed, pass},
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

/// What goes to one candidate, and how its answer is to be read.
pub(super) struct Sent {
    pub(super) call: client::Request,
    pub(super) reply: Reply,
    /// What of earlier turns is in it.
    history: History,
}

impl Order<'_> {
    /// Makes the call for one candidate.
    pub(super) fn prepare(&self, candidate: &Candidate, meter: &mut Meter) -> Result<Sent, Error> {
        match candidate.provider.format {
            ApiFormat::Anthropic => self.pass(candidate, History::Signed, meter),
            ApiFormat::OpenAi | ApiFormat::Unknown => self.translate(candidate, meter),
        }
    }

    /// The call once more, if there is a way around what the candidate refused.
    pub(super) fn amend(
        &self,
        candidate: &Candidate,
        sent: &Sent,
        failure: &Failure,
        meter: &mut Meter,
    ) -> Option<Sent> {
        let refuses_thinking = failure
            .native
            .as_ref()
            .is_some_and(|native| native.refuses_thinking);
        if !refuses_thinking || sent.history == History::WithoutThinking {
            return None;
        }
        // A key that loses nothing silently gets the refusal instead.
        self.pass(candidate, History::WithoutThinking, meter).ok()
    }

    fn translate(&self, candidate: &Candidate, meter: &mut Meter) -> Result<Sent, Error> {
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
            history: History::Signed,
        })
    }

    /// The call for a provider that speaks the client's API.
    fn pass(&self, candidate: &Candidate, history: History, meter: &mut Meter) -> Result<Sent, Error> {
        let Passed { call, reply, losses } = pass(&self.asked, candidate, self.snapshot, history)?;
        self.report(&losses, meter)?;
        Ok(Sent {
            call,
            reply: Reply::Native(reply),
            history,
        })
    }

    /// An answer that is here already is not refused for what it lost.
    pub(super) fn report_answer(&self, losses: &LossList, meter: &mut Meter) {
        match (self.loss_policy(), losses.header()) {
            (_, None) | (LossPolicy::Silent, Some(_)) => {}
            (LossPolicy::Report | LossPolicy::Strict, Some(header)) => meter.lost_also(&header),
        }
    }

    fn loss_policy(&self) -> LossPolicy {
        self.key.loss_policy.unwrap_or(self.snapshot.settings.loss_policy)
    }

    fn report(&self, losses: &LossList, meter: &mut Meter) -> Result<(), Error> {
        match (self.loss_policy(), losses.header()) {
            (_, None) | (LossPolicy::Silent, Some(_)) => {}
            (LossPolicy::Report, Some(header)) => meter.lost(header),
            (LossPolicy::Strict, Some(header)) => return Err(Error::Lossy(header)),
        }
        Ok(())
    }
}
