//! Requests one after another, with all guards on: who is asked depends on what came of the
//! requests before. The model remembers that in its own words.
//!
//! Time stands still in the model: pauses are longer, and windows not shorter, than a case takes.
//! What chance and the clock decide, who of several is the last resort and whether a second is
//! over, the model takes from what happened, and only that.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::*;

const CASES: u64 = 24;
const REQUESTS: usize = 60;
/// Counts of the last ten seconds must not leave while a case runs.
const CASE_MAX: Duration = Duration::from_secs(8);
const LAST_RESORT_PAUSE: Duration = Duration::from_secs(1);
const QUARANTINED: Row = Row {
    same: false,
    next: true,
    status: 502,
    may_pass: false,
};
const COOLING: Row = Row {
    status: 429,
    may_pass: true,
    ..QUARANTINED
};

/// How often each guard decided, so that none is tried by name only.
#[derive(Debug, Default, Clone, Copy)]
struct Decided {
    open: u32,
    cooling: u32,
    quarantined: u32,
    no_retry: u32,
    last_resort: u32,
}

/// What is known of one model of one provider.
#[derive(Debug, Default, Clone)]
struct Known {
    in_a_row: u32,
    successes: u32,
    failures: u32,
    is_open: bool,
    cools: bool,
    /// Between these it was the last resort.
    resorted: Option<(Instant, Instant)>,
}

#[derive(Debug, Default, Clone)]
struct Account {
    is_refused: bool,
    strikes: u32,
    requests: u32,
    retries: u32,
}

/// One request as it happened.
struct Seen<'a> {
    calls: &'a [(String, String)],
    began: Instant,
    ended: Instant,
}

struct Reference<'a> {
    case: &'a Case,
    threshold: u32,
    known: Vec<Known>,
    played: Vec<usize>,
    accounts: HashMap<&'a str, Account>,
    decided: Decided,
}

/// One request in the model.
#[derive(Default)]
struct Told {
    calls: Vec<(String, String)>,
    failures: Vec<(String, Row)>,
    somebody_is_open: bool,
}

impl<'a> Reference<'a> {
    fn new(case: &'a Case, threshold: u32) -> Self {
        Self {
            case,
            threshold,
            known: vec![Known::default(); case.candidates.len()],
            played: vec![0; case.candidates.len()],
            accounts: HashMap::new(),
            decided: Decided::default(),
        }
    }

    fn account(&mut self, place: usize) -> &mut Account {
        let provider = self.case.candidates[place].provider.as_str();
        self.accounts.entry(provider).or_default()
    }

    fn request(&mut self, seen: &Seen<'_>) -> (Vec<(String, String)>, End) {
        let mut told = Told::default();
        for place in 0..self.case.candidates.len() {
            if self.is_refused(place, &mut told) {
                continue;
            }
            let retries = self.case.candidates[place].retries;
            if let Some(end) = self.call(place, retries, false, &mut told) {
                return (told.calls, end);
            }
        }
        if told.calls.is_empty()
            && let Some(place) = self.last_resort(seen)
        {
            self.decided.last_resort += 1;
            self.known[place].resorted = Some((seen.began, seen.ended));
            if let Some(end) = self.call(place, 0, true, &mut told) {
                return (told.calls, end);
            }
        }
        let end = match worth_telling(&told.failures) {
            Some((_, false)) | None if told.somebody_is_open => End::AllOpen,
            Some((end, _)) => end,
            None => panic!("nobody was asked and nobody was refused"),
        };
        (told.calls, end)
    }

    fn is_refused(&mut self, place: usize, told: &mut Told) -> bool {
        let provider = self.case.candidates[place].provider.clone();
        let known = self.known[place].clone();
        if self.account(place).is_refused {
            self.decided.quarantined += 1;
            told.failures.push((provider, QUARANTINED));
        } else if known.cools {
            self.decided.cooling += 1;
            told.failures.push((provider, COOLING));
        } else if known.is_open {
            self.decided.open += 1;
            told.somebody_is_open = true;
        } else {
            return false;
        }
        true
    }

    /// How the request ends, if it ends here.
    fn call(&mut self, place: usize, mut retries: u32, is_resort: bool, told: &mut Told) -> Option<End> {
        let candidate = &self.case.candidates[place];
        let max_attempts = self.case.max_attempts as usize;
        self.account(place).requests += 1;
        loop {
            if told.calls.len() == max_attempts {
                return worth_telling(&told.failures).map(|(end, _)| end);
            }
            told.calls
                .push((candidate.provider.clone(), candidate.model.clone()));
            let act = candidate.act(self.played[place]);
            self.played[place] += 1;
            let Some(row) = row(act, self.case.is_stream) else {
                let is_whole = act == Act::Answers;
                self.begins(place, is_resort);
                if is_whole {
                    self.succeeds(place, is_resort);
                } else {
                    self.fails(place, true);
                }
                return Some(if is_whole { End::Answered } else { End::Broken });
            };
            self.remember(place, act, is_resort);
            let provider = candidate.provider.clone();
            if !row.next {
                return Some(End::Told(provider, row.status));
            }
            told.failures.push((provider, row));
            if !row.same || retries == 0 {
                return None;
            }
            retries -= 1;
            if self.is_refused(place, told) || told.calls.len() == max_attempts {
                return None;
            }
            let account = self.account(place);
            if account.retries >= account.requests / 10 + 3 {
                self.decided.no_retry += 1;
                return None;
            }
            account.retries += 1;
        }
    }

    /// What a failure before content leaves behind.
    fn remember(&mut self, place: usize, act: Act, is_resort: bool) {
        let threshold = self.threshold;
        match act {
            Act::Refuses(401 | 402) | Act::Admits("insufficient_quota") => {
                self.account(place).is_refused = true;
            }
            Act::Refuses(403) => {
                let account = self.account(place);
                account.strikes += 1;
                account.is_refused = account.strikes >= threshold;
            }
            Act::Refuses(429) => {
                self.known[place].cools = true;
                if !is_resort {
                    self.fails(place, false);
                }
            }
            Act::Refuses(400 | 404 | 409 | 413) | Act::Redirects => {}
            _ if is_resort => {}
            _ => self.fails(place, true),
        }
    }

    /// First content: whoever was given up is back.
    fn begins(&mut self, place: usize, is_resort: bool) {
        if is_resort && self.case.is_stream {
            self.known[place] = Known::default();
            self.account(place).strikes = 0;
        }
    }

    fn succeeds(&mut self, place: usize, is_resort: bool) {
        self.account(place).strikes = 0;
        if is_resort && !self.case.is_stream {
            self.known[place] = Known::default();
            return;
        }
        let known = &mut self.known[place];
        known.in_a_row = 0;
        known.successes += 1;
    }

    fn fails(&mut self, place: usize, is_hard: bool) {
        let threshold = self.threshold;
        let known = &mut self.known[place];
        known.failures += 1;
        known.in_a_row += u32::from(is_hard);
        let asked = known.successes + known.failures;
        let is_failing = asked >= 20 && 2 * known.successes < asked;
        known.is_open = is_failing || (is_hard && known.in_a_row >= threshold);
    }

    fn last_resort(&mut self, seen: &Seen<'_>) -> Option<usize> {
        let places = 0..self.case.candidates.len();
        let open: Vec<usize> = places
            .filter(|place| {
                let known = &self.known[*place];
                let is_free = known.is_open && !known.cools;
                is_free && !self.account(*place).is_refused
            })
            .collect();
        let happened = seen.calls.first().and_then(|(provider, model)| {
            let is_called = |place: &&usize| {
                let candidate = &self.case.candidates[**place];
                (&candidate.provider, &candidate.model) == (provider, model)
            };
            open.iter().find(is_called).copied()
        });
        let resorted = || open.iter().filter_map(|place| self.known[*place].resorted);
        let is_surely_soon = resorted().any(|(began, _)| seen.ended - began < LAST_RESORT_PAUSE);
        let is_surely_over = resorted().all(|(_, ended)| seen.began - ended >= LAST_RESORT_PAUSE);
        match (is_surely_soon, is_surely_over) {
            (true, _) => None,
            // Whoever it is: somebody has to be asked.
            (false, true) => happened.or(open.first().copied()),
            (false, false) => happened,
        }
    }
}

/// Mostly good or mostly bad, so that breakers open and are not all that happens.
fn guarded(dice: &mut SmallRng) -> Case {
    const BAD: &[Act] = &[
        Act::Refuses(500),
        Act::Refuses(503),
        Act::CutsBeforeHead,
        Act::CutsAfterContent,
        Act::TalksNonsense,
    ];
    let mut case = case(dice);
    for candidate in &mut case.candidates {
        let goodness = *[0.0, 0.4, 0.8].choose(dice).unwrap();
        let acts = (0..REQUESTS).map(|_| {
            if dice.random_bool(goodness) {
                Act::Answers
            } else if dice.random_bool(0.9) {
                *BAD.choose(dice).unwrap()
            } else {
                *POSSIBLE.choose(dice).unwrap()
            }
        });
        candidate.acts = acts.collect();
    }
    case
}

async fn check(seed: u64, client: Client) -> Decided {
    let dice = &mut SmallRng::seed_from_u64(seed);
    let case = guarded(dice);
    // With the last one, only the rate of success opens breakers.
    let threshold = *[2, 4, 1_000].choose(dice).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut snapshot = snapshot(&case, listener.local_addr().unwrap());
    snapshot.settings.breaker.enabled = true;
    snapshot.settings.breaker.failure_threshold = threshold;
    snapshot.settings.breaker.recovery_timeout = Duration::from_secs(3600);
    let (snapshot, upstreams) = (Arc::new(snapshot), upstreams(client));
    let calls = Calls::default();
    let mut reference = Reference::new(&case, threshold);
    let began = Instant::now();
    let walks = async {
        let mut past = 0;
        for nth in 0..REQUESTS {
            let started = Instant::now();
            let (end, _) = walk(&case, &snapshot, &upstreams).await;
            let ended = Instant::now();
            if ended - began > CASE_MAX {
                break;
            }
            let all = calls.lock().unwrap().clone();
            let seen = Seen {
                calls: &all[past..],
                began: started,
                ended,
            };
            let expected = reference.request(&seen);
            let happened = (all[past..].to_vec(), end);
            assert_eq!(
                happened, expected,
                "case {seed}, request {nth}, threshold {threshold}: {case:?}"
            );
            past = all.len();
        }
    };
    tokio::select! {
        () = serve(listener, &case, &calls) => panic!("upstreams serve for ever"),
        () = walks => {}
    }
    reference.decided
}

/// `WALKS` lengthens it as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_walk_among_guards_goes_as_their_rules_say() {
    let cases = std::env::var(CASES_VARIABLE).map_or(CASES, |text| text.parse().unwrap());
    let client = Client::plain();
    let mut all = Decided::default();
    for first in (0..cases).step_by(CASES as usize) {
        let mut running: JoinSet<Decided> = JoinSet::new();
        for seed in first..(first + CASES).min(cases) {
            running.spawn(check(seed, client.clone()));
        }
        for decided in running.join_all().await {
            all.open += decided.open;
            all.cooling += decided.cooling;
            all.quarantined += decided.quarantined;
            all.no_retry += decided.no_retry;
            all.last_resort += decided.last_resort;
        }
    }
    let counts = [
        all.open,
        all.cooling,
        all.quarantined,
        all.no_retry,
        all.last_resort,
    ];
    assert!(
        counts.iter().all(|count| *count >= 3),
        "a guard that is hardly tried: {all:?}"
    );
}
