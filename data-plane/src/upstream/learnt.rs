//! What this process has learnt about upstreams from their answers: fields that they
//! refuse, and how far estimates of their tokens are off.
//!
//! Kept by provider and model for the life of the process. A provider that moves to another
//! address is a stranger again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bridge_translate::{error::Remedy, tokens::Calibration};
use url::Url;

use crate::routing::Candidate;

/// Upstreams that are remembered. Names of models may come from clients, so there is a limit,
/// and beyond it whoever has answered least is forgotten.
const UPSTREAMS_MAX: usize = 1000;
/// Remedies for one upstream.
const REMEDIES_MAX: usize = 16;
/// This often a request is counted with the tokenizer to learn from its usage: at first
/// always, then now and then. A count takes a hundred times as long as a translation.
const SAMPLES_AT_FIRST: u32 = 8;
const SAMPLE_EVERY: u32 = 256;
/// How long an upstream that did not count a prompt is not asked to.
const TOKENIZER_PAUSE: Duration = Duration::from_secs(30);

/// Token counts of one prompt, as made before it was sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Estimates {
    /// By its length.
    pub(crate) rough: u64,
    /// With the tokenizer, if this request is a sample.
    pub(crate) counted: Option<u64>,
}

type Lessons = HashMap<Arc<str>, HashMap<Arc<str>, Lesson>>;

#[derive(Debug, Default)]
pub(crate) struct Learnt(Mutex<Lessons>);

/// What is known about one upstream.
#[derive(Debug, Clone)]
struct Lesson {
    url: Url,
    remedies: Vec<Remedy>,
    rough: Calibration,
    counted: Calibration,
    /// To prompts that are long enough to learn from, whether or not they told their usage.
    answers: u32,
    /// How many of them there were when a prompt was last counted.
    sampled_after: Option<u32>,
    tokenizes_from: Option<Instant>,
}

impl Learnt {
    /// What to change in every request for the candidate.
    pub(crate) fn remedies(&self, candidate: &Candidate) -> Vec<Remedy> {
        self.read(candidate, |lesson| lesson.remedies.clone())
            .unwrap_or_default()
    }

    /// A changed request was answered.
    pub(crate) fn remember(&self, candidate: &Candidate, remedies: &[Remedy]) {
        self.write(candidate, |lesson| {
            if remedies.len() <= REMEDIES_MAX {
                lesson.remedies = remedies.to_vec();
            }
        });
    }

    /// Whether a prompt should be counted with the tokenizer. `rough` is its estimate by length.
    pub(crate) fn wants_sample(&self, candidate: &Candidate, rough: u64) -> bool {
        if !teaches(rough) {
            return false;
        }
        let mut is_wanted = false;
        self.write(candidate, |lesson| {
            let is_due = lesson.answers < SAMPLES_AT_FIRST || lesson.answers.is_multiple_of(SAMPLE_EVERY);
            // Hundreds may come before one is answered.
            is_wanted = is_due && lesson.sampled_after.replace(lesson.answers) != Some(lesson.answers);
        });
        is_wanted
    }

    /// The upstream has answered, and may have told how long the prompt was.
    pub(crate) fn observe(&self, candidate: &Candidate, estimates: Estimates, prompt_tokens: Option<u64>) {
        let Estimates { rough, counted } = estimates;
        if !teaches(rough) {
            return;
        }
        self.write(candidate, |lesson| {
            lesson.answers = lesson.answers.saturating_add(1);
            let Some(prompt_tokens) = prompt_tokens else {
                return;
            };
            lesson.rough.observe(rough, prompt_tokens);
            if let Some(counted) = counted {
                lesson.counted.observe(counted, prompt_tokens);
            }
        });
    }

    /// An estimate by length, corrected.
    pub(crate) fn correct_rough(&self, candidate: &Candidate, estimate: u64) -> u64 {
        self.read(candidate, |lesson| lesson.rough.apply(estimate))
            .unwrap_or(estimate)
    }

    /// A count of the tokenizer, corrected.
    pub(crate) fn correct_counted(&self, candidate: &Candidate, count: u64) -> u64 {
        self.read(candidate, |lesson| lesson.counted.apply(count))
            .unwrap_or(count)
    }

    /// Whether the upstream may be asked to count.
    pub(crate) fn may_tokenize(&self, candidate: &Candidate, now: Instant) -> bool {
        self.read(candidate, |lesson| {
            lesson.tokenizes_from.is_none_or(|from| from <= now)
        })
        .unwrap_or(true)
    }

    /// It was asked to count, and could not.
    pub(crate) fn cannot_tokenize(&self, candidate: &Candidate, now: Instant) {
        self.write(candidate, |lesson| {
            lesson.tokenizes_from = Some(now + TOKENIZER_PAUSE);
        });
    }

    fn read<T>(&self, candidate: &Candidate, read: impl FnOnce(&Lesson) -> T) -> Option<T> {
        let Candidate { provider, model } = candidate;
        let lessons = self.lock();
        let lesson = lessons.get(&provider.name)?.get(model)?;
        (lesson.url == provider.endpoint.url).then(|| read(lesson))
    }

    fn write(&self, candidate: &Candidate, write: impl FnOnce(&mut Lesson)) {
        let Candidate { provider, model } = candidate;
        let mut lessons = self.lock();
        let is_known = lessons
            .get(&provider.name)
            .is_some_and(|models| models.contains_key(model));
        if !is_known && lessons.values().map(HashMap::len).sum::<usize>() >= UPSTREAMS_MAX {
            forget_one(&mut lessons);
        }
        let lesson = lessons
            .entry(Arc::clone(&provider.name))
            .or_default()
            .entry(Arc::clone(model))
            .or_insert_with(|| Lesson::new(&provider.endpoint.url));
        if lesson.url != provider.endpoint.url {
            *lesson = Lesson::new(&provider.endpoint.url);
        }
        write(lesson);
    }

    /// A panic elsewhere leaves at worst one lesson half learnt.
    fn lock(&self) -> MutexGuard<'_, Lessons> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one that has answered least: a name that somebody made up answers once, or never.
fn forget_one(lessons: &mut Lessons) {
    let all = lessons.iter().flat_map(|(provider, models)| {
        let of_provider =
            |(model, lesson): (&Arc<str>, &Lesson)| (lesson.answers, provider.clone(), model.clone());
        models.iter().map(of_provider)
    });
    let Some((_, provider, model)) = all.min_by_key(|(answers, ..)| *answers) else {
        return;
    };
    if let Some(models) = lessons.get_mut(&provider) {
        models.remove(&model);
        if models.is_empty() {
            lessons.remove(&provider);
        }
    }
}

fn teaches(rough: u64) -> bool {
    rough >= Calibration::PROMPT_TOKENS_MIN
}

impl Lesson {
    fn new(url: &Url) -> Self {
        Self {
            url: url.clone(),
            remedies: Vec::new(),
            rough: Calibration::default(),
            counted: Calibration::default(),
            answers: 0,
            sampled_after: None,
            tokenizes_from: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use bridge_translate::dialect::Field;

    use super::*;
    use crate::snapshot::decode::tests::provider;

    const PROMPT: Estimates = Estimates {
        rough: 1000,
        counted: None,
    };

    fn candidate(name: &str, model: &str) -> Candidate {
        Candidate {
            provider: provider(name, 1, &[model], &[]).into(),
            model: model.into(),
        }
    }

    #[test]
    fn lessons_belong_to_one_model_at_one_address() {
        let learnt = Learnt::default();
        let one = candidate("p", "m");
        let remedies = [Remedy::Without(Field::StreamOptions)];
        learnt.remember(&one, &remedies);
        assert_eq!(learnt.remedies(&one), remedies);
        assert_eq!(learnt.remedies(&candidate("p", "n")), []);
        assert_eq!(learnt.remedies(&candidate("q", "m")), []);

        let mut moved = provider("p", 1, &["m"], &[]);
        moved.endpoint.url.set_path("/elsewhere");
        let moved = Candidate {
            provider: moved.into(),
            ..one.clone()
        };
        assert_eq!(learnt.remedies(&moved), []);
        learnt.remember(&moved, &[]);
        assert_eq!(learnt.remedies(&one), [], "it is a stranger again");
    }

    #[test]
    fn estimates_are_corrected_each_by_its_own_error() {
        let learnt = Learnt::default();
        let one = candidate("p", "m");
        assert_eq!(
            (learnt.correct_rough(&one, 900), learnt.correct_counted(&one, 900)),
            (900, 900)
        );
        let estimates = Estimates {
            rough: 1000,
            counted: Some(2000),
        };
        learnt.observe(&one, estimates, Some(3000));
        assert_eq!(learnt.correct_rough(&one, 1000), 3000);
        assert_eq!(learnt.correct_counted(&one, 1000), 1500);
    }

    #[test]
    fn samples_grow_rare_also_where_nobody_tells_usage() {
        let one = candidate("p", "m");
        for prompt_tokens in [Some(1000), None] {
            let learnt = Learnt::default();
            let mut samples = 0;
            for _ in 0..SAMPLE_EVERY * 3 {
                samples += u32::from(learnt.wants_sample(&one, PROMPT.rough));
                learnt.observe(&one, PROMPT, prompt_tokens);
            }
            assert_eq!(samples, SAMPLES_AT_FIRST + 2, "{prompt_tokens:?}");
        }
    }

    #[test]
    fn of_prompts_that_come_together_one_is_counted() {
        let (learnt, one) = (Learnt::default(), candidate("p", "m"));
        let samples = |prompts: u32| {
            let wanted = (0..prompts).filter(|_| learnt.wants_sample(&one, PROMPT.rough));
            wanted.count()
        };
        assert_eq!(samples(100), 1);
        learnt.observe(&one, PROMPT, None);
        assert_eq!(samples(100), 1);
    }

    #[test]
    fn a_short_prompt_neither_teaches_nor_counts() {
        let learnt = Learnt::default();
        let one = candidate("p", "m");
        let short = Estimates {
            rough: Calibration::PROMPT_TOKENS_MIN - 1,
            counted: None,
        };
        assert!(!learnt.wants_sample(&one, short.rough));
        learnt.observe(&one, short, Some(1000));
        assert!(learnt.lock().is_empty());
    }

    #[test]
    fn a_missing_tokenizer_is_left_alone_for_a_while() {
        let learnt = Learnt::default();
        let (one, now) = (candidate("p", "m"), Instant::now());
        assert!(learnt.may_tokenize(&one, now));
        learnt.cannot_tokenize(&one, now);
        assert!(!learnt.may_tokenize(&one, now));
        assert!(learnt.may_tokenize(&one, now + TOKENIZER_PAUSE));
    }

    #[test]
    fn names_that_are_made_up_do_not_drive_out_what_is_used() {
        let learnt = Learnt::default();
        let (used, new) = (candidate("p", "used"), candidate("q", "new"));
        let remedies = [Remedy::Without(Field::StreamOptions)];
        learnt.remember(&used, &remedies);
        learnt.observe(&used, PROMPT, None);
        for n in 0..UPSTREAMS_MAX + 10 {
            learnt.wants_sample(&candidate("p", &format!("m{n}")), PROMPT.rough);
        }
        assert_eq!(learnt.remedies(&used), remedies);
        learnt.remember(&new, &remedies);
        assert_eq!(learnt.remedies(&new), remedies, "there is room for it");
    }

    #[test]
    fn the_table_is_bounded() {
        let learnt = Learnt::default();
        for n in 0..UPSTREAMS_MAX + 10 {
            learnt.observe(&candidate("p", &format!("m{n}")), PROMPT, None);
        }
        let known: usize = learnt.lock().values().map(HashMap::len).sum();
        assert_eq!(known, UPSTREAMS_MAX);
    }
}
