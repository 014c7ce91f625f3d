//! One request for the upstreams, and what is sent of it to each candidate.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bridge_translate::{loss::LossList, native::History, request::Target};
use tracing::info;

use crate::{
    error::Error,
    off_reactor::Room,
    overload::Shortage,
    routing::Candidate,
    snapshot::{ApiFormat, ApiKey, LossPolicy, Snapshot},
    upstream::{
        admission::Upstreams,
        change::{Change, Changes},
        client::{self, Accept},
        outcome::Failure,
        pass::{Asked, Passed, pass},
        way_back::Reply,
    },
    usage::meter::Meter,
};

/// A cool-down that ends within this is waited for, if nobody else is left to ask.
const COOL_DOWN_PATIENCE: Duration = Duration::from_secs(2);

/// One request on its way over its plan.
#[derive(Clone, Copy)]
pub(crate) struct Order<'a> {
    pub(crate) upstreams: &'a Arc<Upstreams>,
    pub(crate) snapshot: &'a Arc<Snapshot>,
    pub(crate) key: &'a ApiKey,
    pub(crate) asked: Asked<'a>,
    pub(crate) arrived: Instant,
    /// Whether there is time for what nobody waits for.
    pub(crate) has_leisure: bool,
}

/// What goes to one candidate, and how its answer is to be read.
pub(super) struct Sent {
    pub(super) call: client::Request,
    pub(super) reply: Reply,
    /// What of earlier turns is in it.
    history: History,
    /// What is different from what the dialect says.
    pub(super) changes: Changes,
    /// Tokens of the prompt, by its length.
    pub(super) rough_tokens: u64,
}

impl Order<'_> {
    /// The candidate that will have cooled down first, if that is worth waiting for.
    pub(super) fn soon_cool<'c>(
        &self,
        candidates: &'c [Candidate],
        now: Instant,
    ) -> Option<(Instant, &'c Candidate)> {
        candidates
            .iter()
            .filter_map(|candidate| {
                let until = self.upstreams.cools_until(self.snapshot, candidate, now)?;
                Some((until, candidate))
            })
            .min_by_key(|(until, _)| *until)
            .filter(|(until, _)| *until <= now + COOL_DOWN_PATIENCE)
    }

    /// Makes the call for one candidate.
    pub(super) async fn prepare(&self, candidate: &Candidate, meter: &mut Meter) -> Result<Sent, Error> {
        let room = self.room().await.map_err(Error::Overloaded)?;
        let (sent, losses) = self.make(candidate, room)?;
        self.report(losses, meter)?;
        Ok(sent)
    }

    /// The call as it would be made, and what is lost on the way; nobody is told.
    pub(super) fn make(&self, candidate: &Candidate, room: Room) -> Result<(Sent, LossList), Error> {
        match candidate.provider.format {
            ApiFormat::Anthropic => self.pass(candidate, History::Signed, room),
            ApiFormat::OpenAi | ApiFormat::Unknown => {
                let known = self.upstreams.learnt.remedies(candidate);
                self.translate(candidate, Changes::known(known), room)
            }
        }
    }

    /// The call once more, if there is a way around what the candidate refused.
    pub(super) async fn amend(
        &self,
        candidate: &Candidate,
        sent: &Sent,
        failure: &Failure,
        meter: &mut Meter,
    ) -> Option<Sent> {
        // A key that loses nothing silently gets the refusal instead.
        let refuses_thinking = failure
            .native
            .as_ref()
            .is_some_and(|native| native.refuses_thinking);
        if refuses_thinking && sent.history == History::Signed {
            let room = self.room().await.ok()?;
            let (amended, losses) = self.pass(candidate, History::WithoutThinking, room).ok()?;
            return self.report(losses, meter).is_ok().then_some(amended);
        }
        let change = failure.change?;
        let mut changes = sent.changes.clone();
        if !changes.make(change) {
            return None;
        }
        let room = self.room().await.ok()?;
        let (amended, losses) = self.translate(candidate, changes, room).ok()?;
        self.report(losses, meter).ok()?;
        if change != Change::Again && amended.call.body == sent.call.body {
            return None;
        }
        info!(
            request.id = %meter.id(), provider = %candidate.provider.name, model = %candidate.model,
            %change, "asking once more"
        );
        Some(amended)
    }

    async fn room(&self) -> Result<Room, Shortage> {
        Room::soon(self.asked.body.len()).await
    }

    fn translate(
        &self,
        candidate: &Candidate,
        changes: Changes,
        room: Room,
    ) -> Result<(Sent, LossList), Error> {
        let target = candidate.target(self.snapshot);
        let target = Target {
            dialect: &changes.apply(target.dialect),
            max_output_tokens: target
                .max_output_tokens
                .into_iter()
                .chain(changes.output_max())
                .min(),
            ..target
        };
        let outbound = room.run(|| bridge_translate::request::to_openai(self.asked.request, &target))?;
        let rough_tokens = outbound.reply.estimate();
        let learnt = &self.upstreams.learnt;
        let reply = outbound
            .reply
            .with_estimate(learnt.correct_rough(candidate, rough_tokens));
        let accept = if outbound.upstream_streams {
            Accept::Events
        } else {
            Accept::Json
        };
        let endpoint = &candidate.provider.endpoint;
        let sent = Sent {
            call: client::Request {
                url: endpoint.url_of(&candidate.model),
                headers: endpoint.headers.clone(),
                accept,
                body: outbound.body.into(),
            },
            reply: Reply::Translated(reply),
            history: History::Signed,
            changes,
            rough_tokens,
        };
        Ok((sent, outbound.losses))
    }

    /// The call for a provider that speaks the client's API.
    fn pass(&self, candidate: &Candidate, history: History, room: Room) -> Result<(Sent, LossList), Error> {
        let Passed { call, reply, losses } = pass(&self.asked, candidate, self.snapshot, history, room)?;
        let sent = Sent {
            call,
            reply: Reply::Native(reply),
            history,
            changes: Changes::default(),
            // Whoever counts its own tokens needs no estimate.
            rough_tokens: 0,
        };
        Ok((sent, losses))
    }

    /// An answer that is here already is not refused for what it lost.
    pub(super) fn report_answer(&self, losses: LossList, meter: &mut Meter) {
        meter.lost_also(losses);
        if self.loss_policy() != LossPolicy::Silent {
            meter.tells_losses();
        }
    }

    fn loss_policy(&self) -> LossPolicy {
        self.key.loss_policy.unwrap_or(self.snapshot.settings.loss_policy)
    }

    /// Tells the client what it does not get, as its key wants it told.
    pub(crate) fn report(&self, losses: LossList, meter: &mut Meter) -> Result<(), Error> {
        self.tolerates(&losses)?;
        meter.lost(losses);
        match self.loss_policy() {
            LossPolicy::Strict | LossPolicy::Report => meter.tells_losses(),
            LossPolicy::Silent => {}
        }
        Ok(())
    }

    /// Whether the key lets this be lost.
    pub(super) fn tolerates(&self, losses: &LossList) -> Result<(), Error> {
        match (self.loss_policy(), losses.header()) {
            (LossPolicy::Strict, Some(header)) => Err(Error::Lossy(header)),
            (LossPolicy::Strict | LossPolicy::Report | LossPolicy::Silent, _) => Ok(()),
        }
    }
}
