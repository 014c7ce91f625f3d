//! How an answer ends: what the upstream said about it, and what that means for the client.

use crate::anthropic::response::End;
use crate::error::{self, UpstreamFault};
use crate::openai::chunk::Choice;
use crate::reply::Reply;
use crate::stop_reason::{Finish, StopReason};

use super::slot::Closing;

/// What is kept of a refusal to be told once more at the end. All of it is text of the answer.
const REFUSAL_BYTES_MAX: usize = 16 * 1024;

/// The upstream's words about the end, latched: chunks may still come behind them.
#[derive(Debug, Default)]
pub(super) struct Ending {
    finish: Option<String>,
    matched_stop: Option<String>,
    refusal: Option<String>,
}

impl Ending {
    /// What a choice says about the end. A failure in the shape of a finish reason is one.
    pub(super) fn read(&mut self, choice: &Choice<'_>, reply: &Reply) -> Result<(), UpstreamFault> {
        let asked = &reply.shared().stop_sequences;
        let named = [&choice.stop_reason, &choice.matched_stop]
            .into_iter()
            .flatten()
            .find(|stop| asked.iter().any(|asked| asked == *stop));
        if let Some(stop) = named {
            self.matched_stop = Some(stop.clone().into_owned());
        }
        let said = choice.finish_reason.as_deref();
        let Some(reason) = said.filter(|reason| !reason.is_empty()) else {
            return Ok(());
        };
        if let Some(fault) = error::from_finish(reason) {
            return Err(fault);
        }
        let keeps_first = self.finish.as_deref() == Some("tool_calls") && reason == "stop";
        if !keeps_first {
            self.finish = Some(reason.to_owned());
        }
        Ok(())
    }

    /// The model refuses, in its own words.
    pub(super) fn refuse(&mut self, words: &str) {
        let refusal = self.refusal.get_or_insert_default();
        let room = REFUSAL_BYTES_MAX.saturating_sub(refusal.len());
        refusal.push_str(&words[..words.floor_char_boundary(room)]);
    }

    /// Whether a finish reason came.
    pub(super) fn is_named(&self) -> bool {
        self.finish.is_some()
    }

    /// Whether what is open was cut off by the output limit.
    pub(super) fn closing(&self) -> Closing {
        if self.finish() == Finish::Stop(StopReason::MaxTokens) {
            Closing::Truncated
        } else {
            Closing::Whole
        }
    }

    /// What the client is told.
    pub(super) fn tell(&mut self, has_tools: bool, reply: &Reply) -> End {
        let finish = self.finish();
        let matched = self
            .matched_stop
            .take()
            .or_else(|| only_stop(reply).filter(|_| finish == Finish::Stop(StopReason::StopSequence)));
        let refusal = self.refusal.take();
        let stop_reason = match finish {
            _ if refusal.is_some() => StopReason::Refusal,
            Finish::Stop(reason) => reason,
            Finish::ByContent | Finish::Failed | Finish::Overloaded => match (has_tools, &matched) {
                (true, _) => StopReason::ToolUse,
                (false, Some(_)) => StopReason::StopSequence,
                (false, None) => StopReason::EndTurn,
            },
        };
        End {
            stop_reason: Some(stop_reason),
            stop_sequence: matched.filter(|_| stop_reason == StopReason::StopSequence),
            refusal,
        }
    }

    fn finish(&self) -> Finish {
        self.finish.as_deref().map_or(Finish::ByContent, Finish::read)
    }
}

/// A server that does not say which stop matched leaves no doubt if there was only one.
fn only_stop(reply: &Reply) -> Option<String> {
    match reply.shared().stop_sequences.as_slice() {
        [only] => Some(only.clone()),
        [] | [_, _, ..] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_endless_refusal_the_beginning_is_kept() {
        let mut ending = Ending::default();
        (0..10_000).for_each(|_| ending.refuse("Nein, 不。"));
        let kept_bytes = ending.refusal.unwrap().len();
        assert!(
            (REFUSAL_BYTES_MAX - 3..=REFUSAL_BYTES_MAX).contains(&kept_bytes),
            "{kept_bytes}"
        );
    }
}
