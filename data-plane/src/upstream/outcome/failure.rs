//! A failed attempt, with words that may be shown, and which of several a client is told.

use std::{sync::Arc, time::Duration};

use bridge_translate::{error::FaultKind, native::Verbatim};

use super::Class;
use crate::upstream::change::Change;

/// A failed attempt, with words that may be shown.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) class: Class,
    pub(crate) provider: Arc<str>,
    /// Masked; empty if the upstream said nothing.
    pub(crate) words: String,
    pub(crate) retry_after: Option<Duration>,
    /// Set by a provider that speaks the client's API.
    pub(crate) native: Option<Box<Native>>,
    /// With what change the same candidate may take the request.
    pub(crate) change: Option<Change>,
}

/// How a provider that speaks the client's API said it.
#[derive(Debug, Clone)]
pub(crate) struct Native {
    /// What the client may see of it as it is.
    pub(crate) verbatim: Option<Verbatim>,
    pub(crate) should_retry: Option<bool>,
    /// It refuses the thinking of earlier turns; without it the request may pass.
    pub(crate) refuses_thinking: bool,
}

impl Failure {
    /// At which the upstream said nothing.
    pub(crate) fn new(class: Class, provider: Arc<str>) -> Self {
        Self {
            class,
            provider,
            words: String::new(),
            retry_after: None,
            native: None,
            change: None,
        }
    }

    /// What the client may see as the provider said it.
    pub(crate) fn verbatim(&self) -> Option<&Verbatim> {
        self.native.as_ref()?.verbatim.as_ref()
    }

    /// Whether another round may help.
    pub(crate) fn may_pass(&self) -> bool {
        self.class.verdict().told.should_retry != Some(false)
    }

    /// The provider's name and the words, as a client may read them.
    pub(crate) fn message(&self) -> String {
        match self.class {
            // Clients act on exactly these words.
            Class::Said(FaultKind::ContextOverflow(_)) => self.words.clone(),
            // The status tells already that it is not we who speak.
            _ if self.verbatim().is_some() && !self.words.is_empty() => self.words.clone(),
            _ if self.words.is_empty() => format!("{}: {}", self.provider, self.class.text()),
            _ => format!("{}: {}", self.provider, self.words),
        }
    }
}

/// Of all that went wrong the client is told what is most worth knowing: something
/// that may pass rather than something that will not, and of these the latest; with
/// the shortest wait that anybody named.
pub(crate) fn worth_telling(failures: Vec<Failure>) -> Option<Failure> {
    let wait = failures.iter().filter_map(|failure| failure.retry_after).min();
    let told = failures
        .iter()
        .rposition(Failure::may_pass)
        .or(failures.len().checked_sub(1))?;
    failures.into_iter().nth(told).map(|failure| Failure {
        retry_after: wait,
        ..failure
    })
}
