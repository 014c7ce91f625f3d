//! What a refusal is to us, with words that may be shown.

use std::{sync::Arc, time::Duration};

use bridge_translate::{
    error::{FaultKind, UpstreamFault},
    native::{self, Refusal},
};

use super::{
    change,
    mask::mask,
    outcome::{Class, Failure, Native},
};
use crate::routing::Candidate;

/// What the head of a refusal adds to its body.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Advice {
    pub(crate) wait: Option<Duration>,
    pub(crate) should_retry: Option<bool>,
}

/// A refusal by this candidate.
pub(crate) fn failure(candidate: &Candidate, refusal: Refusal, advice: Advice) -> Failure {
    let Refusal { fault, verbatim } = refusal;
    let refuses_thinking = native::refuses_thinking(&fault);
    let change = change::find(candidate, &fault).filter(|_| !candidate.is_native());
    let UpstreamFault {
        kind,
        message,
        retry_after,
        codes: _,
        remedy: _,
    } = fault;
    let provider = &candidate.provider;
    let is_renamed = kind == FaultKind::Overloaded && provider.traits.overload_is_503;
    let kind = if is_renamed { FaultKind::Unavailable } else { kind };
    let words = match kind {
        FaultKind::ContextOverflow(overflow) => {
            let window = candidate.context_window().map(u64::from);
            overflow.anthropic_message(window)
        }
        _ => mask(&message, &provider.endpoint.secrets),
    };
    let native = candidate.is_native().then(|| {
        Box::new(Native {
            verbatim: verbatim.filter(|_| !is_renamed),
            should_retry: advice.should_retry,
            refuses_thinking,
        })
    });
    Failure {
        words,
        retry_after: advice.wait.or(retry_after),
        native,
        change,
        ..Failure::new(Class::Said(kind), Arc::clone(&provider.name))
    }
}

/// What this candidate says in the middle of an answer.
pub(crate) fn said(candidate: &Candidate, fault: UpstreamFault) -> Failure {
    let refusal = Refusal {
        fault,
        verbatim: None,
    };
    failure(candidate, refusal, Advice::default())
}
