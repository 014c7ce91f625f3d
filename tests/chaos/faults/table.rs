//! The table of failures, written down a second time: what a client has to see, by what each
//! provider that can be asked will do. It knows nothing of the data plane's own code.

use bridge_tests::faultd::fault::{Fault, FirstError, Wait};
use bridge_tests::faultd::script::{After, End};

/// A longer wait is told as this, up to the next limit.
const WAIT_PATIENT_S: u64 = 60;
/// From here on the truth is told, and not to wait for it.
const WAIT_POINTLESS_S: u64 = 300;

/// A call that will be made if it is this provider's turn.
pub(super) struct Call {
    pub(super) provider: &'static str,
    pub(super) is_native: bool,
    pub(super) streamed: bool,
    pub(super) fault: Option<Fault>,
    /// Of the same request if it comes again.
    pub(super) faults_again: Vec<Option<Fault>>,
}

/// Why a client may see what it sees where failures are remembered.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cause {
    /// Something that a provider said, now or when it was asked again.
    Said,
    /// Nobody may be asked: every breaker is open, all are limited, or no credential is good.
    Open,
    Cooling,
    Quarantined,
}

/// What the client sees in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Whole {
        provider: String,
    },
    /// A stream that ends in an error of this type.
    Broken {
        kind: String,
    },
    Refused {
        status: u16,
        kind: String,
        is_final: bool,
        wait_s: Option<u64>,
    },
    /// The node has no processor to spare, and says when to come again.
    Shed,
    /// Bytes of a provider that speaks the client's API pass as they are, sense or not.
    AsItIs,
}

/// What one call comes to.
enum Meaning {
    Answer,
    Break(&'static str),
    AsItIs,
    Fail(Failure),
}

#[derive(Clone)]
struct Failure {
    status: u16,
    kind: &'static str,
    /// Another round cannot help.
    is_final: bool,
    falls_over: bool,
    wait_s: Option<u64>,
}

/// All that the client may see, each with the number of candidates that were asked. It is one thing
/// unless a connection ends without a byte: if it was used before, the call is made once more.
pub(super) fn told(calls: &[Call]) -> Vec<(Told, usize)> {
    let mut found = Vec::new();
    walk(calls, 0, &mut Vec::new(), &mut found);
    found
}

fn walk(calls: &[Call], asked: usize, failures: &mut Vec<Failure>, found: &mut Vec<(Told, usize)>) {
    let Some(call) = calls.get(asked) else {
        let shortest = failures.iter().filter_map(|failure| failure.wait_s).min();
        // Something that may pass rather than something that will not, and of these the latest.
        let may_pass = failures.iter().rev().find(|failure| !failure.is_final);
        let told = may_pass.or(failures.last());
        found.extend(told.map(|failure| (refused(failure, shortest), asked)));
        return;
    };
    let asked = asked + 1;
    for meaning in call.meanings() {
        match meaning {
            Meaning::Answer => {
                let provider = call.provider.to_owned();
                found.push((Told::Whole { provider }, asked));
            }
            Meaning::Break(kind) => found.push((
                Told::Broken {
                    kind: kind.to_owned(),
                },
                asked,
            )),
            Meaning::AsItIs => found.push((Told::AsItIs, asked)),
            Meaning::Fail(failure) if failure.falls_over => {
                failures.push(failure);
                walk(calls, asked, failures, found);
                failures.pop();
            }
            Meaning::Fail(failure) => found.push((refused(&failure, failure.wait_s), asked)),
        }
    }
}

/// What is behind it, if any of these calls may have been left out or made again.
pub(super) fn cause(told: &Told, calls: &[Call]) -> Option<Cause> {
    let said = match told {
        Told::Whole { provider } => calls
            .iter()
            .filter(|call| call.provider == provider)
            .any(|call| call.may_come_to(|meaning| matches!(meaning, Meaning::Answer))),
        Told::Broken { kind } => calls
            .iter()
            .any(|call| call.may_come_to(|meaning| matches!(meaning, Meaning::Break(it) if it == kind))),
        Told::Refused { status, kind, .. } => calls.iter().any(|call| {
            call.may_come_to(
                |meaning| matches!(meaning, Meaning::Fail(it) if (it.status, it.kind) == (*status, kind)),
            )
        }),
        Told::Shed | Told::AsItIs => false,
    };
    if said {
        return Some(Cause::Said);
    }
    let Told::Refused {
        status,
        kind,
        is_final,
        wait_s,
    } = told
    else {
        return None;
    };
    match (status, &**kind, is_final, wait_s) {
        (503, "api_error", false, Some(1..=WAIT_PATIENT_S)) => Some(Cause::Open),
        (429, "rate_limit_error", false, Some(1..=WAIT_PATIENT_S)) => Some(Cause::Cooling),
        (502, "api_error", true, None) => Some(Cause::Quarantined),
        _ => None,
    }
}

fn refused(failure: &Failure, wait_s: Option<u64>) -> Told {
    let wait_s = wait_s.filter(|_| [429, 503, 529].contains(&failure.status));
    let is_pointless = wait_s.is_some_and(|wait| wait > WAIT_POINTLESS_S);
    Told::Refused {
        status: failure.status,
        kind: failure.kind.to_owned(),
        is_final: failure.is_final || is_pointless,
        wait_s: wait_s.map(|wait| {
            if is_pointless {
                wait
            } else {
                wait.clamp(1, WAIT_PATIENT_S)
            }
        }),
    }
}

// === impl Call ===

impl Call {
    /// Whether bytes that nobody has read may be what the client gets, now or later.
    pub(super) fn may_pass_as_it_is(&self) -> bool {
        self.may_come_to(|meaning| matches!(meaning, Meaning::AsItIs))
    }

    /// The call, or one of those after it.
    fn may_come_to(&self, is_it: impl Fn(&Meaning) -> bool) -> bool {
        let faults = std::iter::once(&self.fault).chain(&self.faults_again);
        faults
            .into_iter()
            .any(|fault| is_it(&self.meaning(fault.as_ref())))
    }

    fn meanings(&self) -> Vec<Meaning> {
        let mut meanings = vec![self.meaning(self.fault.as_ref())];
        if let Some(Fault::Ends(After::Nothing, End::Fin | End::Reset)) = self.fault {
            let again = self.faults_again.first().and_then(Option::as_ref);
            meanings.push(self.meaning(again));
        }
        meanings
    }

    fn meaning(&self, fault: Option<&Fault>) -> Meaning {
        let Some(fault) = fault else {
            return Meaning::Answer;
        };
        match fault {
            Fault::BadLineAt { .. } | Fault::BrokenStructureAt { .. } | Fault::BrokenText
                if self.is_native =>
            {
                Meaning::AsItIs
            }
            Fault::Drip { .. } | Fault::Split | Fault::Noise | Fault::BrokenText => Meaning::Answer,
            Fault::Ends(after, end) => self.ends(*after, *end),
            Fault::Status(status, wait) => self.status(*status, wait.as_ref()),
            Fault::Quota | Fault::First(FirstError::Quota) => fail(FINAL),
            Fault::Redirect { .. } => fail(FINAL),
            Fault::First(FirstError::Overloaded) => fail(Failure {
                status: 529,
                kind: "overloaded_error",
                ..NONSENSE
            }),
            Fault::First(FirstError::Fire)
            | Fault::ErrorInBody
            | Fault::Html
            | Fault::Garbage
            | Fault::Empty
            | Fault::Gzip
            | Fault::GzipBomb
            | Fault::HugeLine
            | Fault::EndlessBody
            | Fault::EndlessHead => fail(NONSENSE),
            // A document has no second event.
            Fault::ErrorAt { .. } | Fault::BadLineAt { .. } | Fault::BrokenStructureAt { .. }
                if !self.streamed =>
            {
                Meaning::Answer
            }
            Fault::ErrorAt { event } | Fault::BadLineAt { event } | Fault::BrokenStructureAt { event } => {
                by_place(*event, Meaning::Break("api_error"), fail(NONSENSE))
            }
        }
    }

    fn ends(&self, after: After, end: End) -> Meaning {
        let before = match end {
            End::Stall => fail(SILENT),
            End::Fin | End::Reset | End::Early => fail(NONSENSE),
            End::Whole | End::WholeThenFin | End::WholeThenStale => return Meaning::Answer,
        };
        let behind = match end {
            End::Stall => Meaning::Break("timeout_error"),
            _ => Meaning::Break("api_error"),
        };
        match after {
            After::Events(events) if self.streamed => by_place(events, behind, before),
            // Nothing of a document counts before its end, and plans cut few bytes.
            After::Nothing | After::Bytes(_) | After::Events(_) => before,
        }
    }

    fn status(&self, status: u16, wait: Option<&Wait>) -> Meaning {
        let wait_s = match wait {
            Some(Wait::Text(text)) => text.parse().ok(),
            Some(Wait::DateIn { seconds }) => Some(*seconds),
            None => None,
        };
        let failure = match status {
            400 | 422 => Failure {
                status: 400,
                kind: "invalid_request_error",
                falls_over: false,
                ..NONSENSE
            },
            413 => Failure {
                status: 413,
                kind: "request_too_large",
                falls_over: false,
                ..FINAL
            },
            401..=404 => FINAL,
            429 => Failure {
                status: 429,
                kind: "rate_limit_error",
                ..NONSENSE
            },
            503 => Failure {
                status: 503,
                ..NONSENSE
            },
            504 => SILENT,
            529 => Failure {
                status: 529,
                kind: "overloaded_error",
                ..NONSENSE
            },
            _ => NONSENSE,
        };
        // A provider of the client's own API says it itself, where it is the client's affair.
        let is_verbatim = self.is_native && !failure.is_final;
        fail(Failure {
            status: if is_verbatim { status } else { failure.status },
            wait_s,
            ..failure
        })
    }
}

const NONSENSE: Failure = Failure {
    status: 502,
    kind: "api_error",
    is_final: false,
    falls_over: true,
    wait_s: None,
};
const FINAL: Failure = Failure {
    is_final: true,
    ..NONSENSE
};
const SILENT: Failure = Failure {
    status: 504,
    kind: "timeout_error",
    ..NONSENSE
};

/// Plans break streams in their first event or two, or in a later one, behind the first content.
fn by_place(event: usize, behind: Meaning, before: Meaning) -> Meaning {
    if event < 2 { before } else { behind }
}

fn fail(failure: Failure) -> Meaning {
    Meaning::Fail(failure)
}
