//! The same rules, told as a diary: every step looks at all that happened.

use super::*;

#[derive(Default)]
struct Reference {
    /// When, and whether it went well, since requests flow.
    diary: Vec<(u64, bool)>,
    failures_in_a_row: u32,
    opened_until: Option<u64>,
    /// Since when.
    probe_is_out: Option<u64>,
    last_resort: Option<u64>,
}

const WINDOW_S: u64 = 10;

impl Reference {
    fn admit(&mut self, now: u64) -> Option<Permit> {
        match self.opened_until {
            None => Some(Permit::Normal),
            Some(_) if self.probe_is_out.is_some() => None,
            Some(until) if now < until => None,
            Some(_) => {
                self.probe_is_out = Some(now);
                self.last_resort = None;
                Some(Permit::Probe)
            }
        }
    }

    fn last_resort(&mut self, now: u64) -> Option<Permit> {
        let is_rare = self.last_resort.is_none_or(|asked| now > asked);
        let is_patient = self.probe_is_out.is_some_and(|since| now < since + 5);
        let may = self.opened_until.is_some() && !is_patient && is_rare;
        may.then(|| {
            self.last_resort = Some(now);
            Permit::LastResort
        })
    }

    fn open(&mut self, now: u64) {
        let recovery = SETTINGS.recovery_timeout.as_secs();
        *self = Self {
            opened_until: Some(now + recovery),
            ..Self::default()
        };
    }

    fn record(&mut self, permit: Permit, outcome: Outcome, now: u64) {
        let was_out = permit == Permit::Probe && self.probe_is_out.take().is_some();
        if self.opened_until.is_none() {
            return self.count(outcome, now);
        }
        match (permit, outcome) {
            (Permit::Probe, _) if !was_out => {}
            (Permit::Probe, Outcome::Success) => *self = Self::default(),
            (Permit::LastResort, Outcome::Success) => *self = Self::default(),
            (Permit::Probe, Outcome::HardFailure | Outcome::SoftFailure) => self.open(now),
            (Permit::Probe, Outcome::Nothing) => {
                self.open(now);
                self.opened_until = Some(now);
            }
            (Permit::Normal | Permit::LastResort, _) => {}
        }
    }

    fn count(&mut self, outcome: Outcome, now: u64) {
        match outcome {
            Outcome::Nothing => return,
            Outcome::Success => {
                self.diary.push((now, true));
                self.failures_in_a_row = 0;
                return;
            }
            Outcome::HardFailure => {
                self.diary.push((now, false));
                self.failures_in_a_row += 1;
            }
            Outcome::SoftFailure => self.diary.push((now, false)),
        }
        let recent = self.diary.iter().filter(|(when, _)| when + WINDOW_S > now);
        let recent: Vec<_> = recent.collect();
        let successes = recent.iter().filter(|(_, went_well)| *went_well).count();
        let is_failing = recent.len() >= 20 && successes * 2 < recent.len();
        if self.failures_in_a_row >= SETTINGS.failure_threshold || is_failing {
            self.open(now);
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Admit,
    LastResort,
    /// Ends one of the running attempts.
    Finish(prop::sample::Index, Outcome),
    Pass(u64),
}

/// How often attempts succeed decides which rule opens the breaker.
fn step(successes: u32) -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![
        successes => Just(Outcome::Success),
        5 => Just(Outcome::HardFailure),
        3 => Just(Outcome::SoftFailure),
        1 => Just(Outcome::Nothing),
    ];
    prop_oneof![
        8 => Just(Step::Admit),
        1 => Just(Step::LastResort),
        8 => (any::<prop::sample::Index>(), outcome).prop_map(|(index, outcome)| Step::Finish(index, outcome)),
        1 => (0_u64..3).prop_map(Step::Pass),
        1 => (0_u64..70).prop_map(Step::Pass),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    (1_u32..20).prop_flat_map(|successes| prop::collection::vec(step(successes), 1..STEPS_MAX))
}

/// Of one case; a million steps are `PROPTEST_CASES=4000`.
const STEPS_MAX: usize = 500;

proptest! {
    #[test]
    fn it_does_what_the_reference_does(steps in steps()) {
        let start = Instant::now();
        let mut breakers = Breakers::default();
        let (mut reference, mut running, mut now) = (Reference::default(), Vec::new(), 0_u64);
        let mut is_overtaken = false;
        for step in steps {
            let terms = at(start + Duration::from_secs(now));
            match step {
                Step::Admit => {
                    let admitted = breakers.admit("p", "m", terms).ok();
                    prop_assert_eq!(admitted, reference.admit(now));
                    running.extend(admitted);
                }
                Step::LastResort => {
                    let resort = breakers.last_resort(std::iter::once(("p", "m")), terms.now);
                    let resort = resort.map(|_| Permit::LastResort);
                    prop_assert_eq!(resort, reference.last_resort(now));
                    running.extend(resort);
                }
                Step::Finish(index, outcome) if !running.is_empty() => {
                    let permit = running.swap_remove(index.index(running.len()));
                    breakers.record("p", "m", (permit, outcome), terms);
                    reference.record(permit, outcome, now);
                    let probes = running.iter().filter(|permit| **permit == Permit::Probe).count();
                    // A last resort was faster; the probe is late now, and others may follow.
                    is_overtaken |= probes > 0 && reference.opened_until.is_none();
                    prop_assert!(is_overtaken || probes <= 1, "{} probes at once", probes);
                }
                Step::Finish(..) => {}
                Step::Pass(seconds) => now += seconds,
            }
        }
    }
}
