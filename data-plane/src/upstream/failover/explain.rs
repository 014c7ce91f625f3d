//! The walk over a plan without a step of it: who would be asked in which order, who would
//! not and why, and what each would be sent. It asks what the walk asks, and takes, calls
//! and remembers nothing.

use std::time::Instant;

use bridge_translate::LossList;

use super::{Order, Walk};
use crate::{
    error::Error,
    off_reactor::Room,
    routing::{Candidate, Plan},
    upstream::{breaker, guards::Refused},
};

/// Room for the bodies of all candidates together.
const BODIES_BYTES_MAX: usize = 3 << 20;

/// What would become of a request.
pub(crate) struct Explained {
    /// In the order in which they would be tried.
    pub(crate) steps: Vec<Step>,
    /// What the client would be answered, if nobody would be asked.
    pub(crate) refused: Option<Error>,
}

/// One candidate.
pub(crate) struct Step {
    pub(crate) candidate: Candidate,
    pub(crate) breaker: Option<breaker::State>,
    pub(crate) skipped: Option<Skipped>,
    /// None if no call can be made of the request.
    pub(crate) call: Option<Call>,
}

/// What a candidate would be sent.
pub(crate) struct Call {
    pub(crate) url: String,
    /// Cut, with a note at its end, where there is no room for it.
    pub(crate) body: String,
    pub(crate) losses: LossList,
}

/// Why a candidate would not be asked: a word for programs, a sentence for people.
pub(crate) struct Skipped {
    pub(crate) word: &'static str,
    pub(crate) because: String,
}

/// Says what [`super::run`] would do. Translates for every candidate, so that it does not
/// belong on the reactor.
pub(crate) fn explain(order: Order<'_>, plan: &Plan) -> Explained {
    let now = Instant::now();
    let mut walk = Walk::new(order);
    let mut room_bytes = BODIES_BYTES_MAX;
    let mut steps: Vec<Step> = plan
        .candidates
        .iter()
        .map(|candidate| walk.step(candidate, now, &mut room_bytes))
        .collect();
    if steps.iter().all(|step| step.skipped.is_some())
        && let Some(place) = walk.place_of_last_chance(&plan.candidates, now)
        && let Some(step) = steps.get_mut(place)
        && step
            .call
            .as_ref()
            .is_some_and(|call| order.tolerates(&call.losses).is_ok())
    {
        step.skipped = None;
    }
    let is_anybody_asked = steps.iter().any(|step| step.skipped.is_none());
    Explained {
        steps,
        refused: (!is_anybody_asked).then(|| walk.exhausted()),
    }
}

impl Walk<'_> {
    fn step(&mut self, candidate: &Candidate, now: Instant, room_bytes: &mut usize) -> Step {
        let Order {
            upstreams, snapshot, ..
        } = self.order;
        let (admitted, breaker) = upstreams.look(snapshot, candidate, now);
        let made = self.order.make(candidate, Room::OnReactor);
        let (call, unfit) = match made {
            Ok((sent, losses)) => {
                let unfit = self.order.tolerates(&losses).err();
                let call = Call {
                    url: sent.call.url.to_string(),
                    body: fitted(&sent.call.body, room_bytes),
                    losses,
                };
                (Some(call), unfit)
            }
            Err(error) => (None, Some(error)),
        };
        let skipped = match (admitted, unfit) {
            (Err(refused), _) => {
                self.refused(candidate, refused, now);
                Some(Skipped::of(refused, now))
            }
            (Ok(()), Some(error)) => {
                let because = error.to_string();
                self.unfit.get_or_insert(error);
                Some(Skipped {
                    word: "unfit",
                    because,
                })
            }
            (Ok(()), None) => None,
        };
        Step {
            candidate: candidate.clone(),
            breaker,
            skipped,
            call,
        }
    }

    /// Who would be asked although something stands in the way, because nobody else is left.
    fn place_of_last_chance(&self, candidates: &[Candidate], now: Instant) -> Option<usize> {
        let Order {
            upstreams, snapshot, ..
        } = self.order;
        if let Some((_, cool)) = self.order.soon_cool(candidates, now) {
            return candidates
                .iter()
                .position(|candidate| std::ptr::eq(candidate, cool));
        }
        upstreams.would_be_last_resort(snapshot, candidates, now)
    }
}

/// As much of a body as there is room for.
fn fitted(body: &[u8], room_bytes: &mut usize) -> String {
    let text = String::from_utf8_lossy(body);
    let shown = text.floor_char_boundary(*room_bytes);
    *room_bytes -= shown;
    match text.len() - shown {
        0 => text.into_owned(),
        more => format!("{} … and {more} bytes more", &text[..shown]),
    }
}

impl Skipped {
    pub(super) fn of(refused: Refused, now: Instant) -> Self {
        let seconds = |until: Instant| until.saturating_duration_since(now).as_secs_f64();
        let (word, because) = match refused {
            Refused::Open { probe_at } => {
                let because = format!(
                    "its breaker is open; a request finds out in {:.1} s",
                    seconds(probe_at)
                );
                ("breaker_open", because)
            }
            Refused::HeldOpen => ("held_open", "an admin holds its breaker open".to_owned()),
            Refused::Cooling { until } => {
                let because = format!("it asked to be left alone for {:.1} s more", seconds(until));
                ("cooling_down", because)
            }
            Refused::Quarantined { class } => {
                ("quarantined", format!("{}; change its credential", class.text()))
            }
        };
        Self { word, because }
    }
}
