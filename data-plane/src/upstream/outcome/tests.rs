use std::{fmt::Write, time::Duration};

use bridge_translate::error::Overflow;

use super::*;

const OVERFLOW: Overflow = Overflow {
    prompt_tokens: 9,
    limit: Some(4),
    completion_tokens: None,
};

/// Each class leads to the next one, so that a new class does not compile before it has a
/// place here.
fn after(class: Class) -> Option<Class> {
    use FaultKind as Kind;
    Some(match class {
        Class::Unreachable => Class::ConnectTimeout,
        Class::ConnectTimeout => Class::NameNotFound,
        Class::NameNotFound => Class::DeniedAddress,
        Class::DeniedAddress => Class::Tls,
        Class::Tls => Class::Silent,
        Class::Silent => Class::Said(Kind::Timeout),
        Class::Said(Kind::Timeout) => Class::OutOfTime,
        Class::OutOfTime => Class::Stalled,
        Class::Stalled => Class::Reset,
        Class::Reset => Class::Said(Kind::Cut),
        Class::Said(Kind::Cut) => Class::Said(Kind::Nonsense),
        Class::Said(Kind::Nonsense) => Class::TooBig,
        Class::TooBig => Class::NoMemory,
        Class::NoMemory => Class::Encoded,
        Class::Encoded => Class::Redirect,
        Class::Redirect => Class::Said(Kind::RateLimited),
        Class::Said(Kind::RateLimited) => Class::Said(Kind::Overloaded),
        Class::Said(Kind::Overloaded) => Class::Said(Kind::Unavailable),
        Class::Said(Kind::Unavailable) => Class::Said(Kind::Server),
        Class::Said(Kind::Server) => Class::Said(Kind::Credentials),
        Class::Said(Kind::Credentials) => Class::Said(Kind::Forbidden),
        Class::Said(Kind::Forbidden) => Class::Said(Kind::Quota),
        Class::Said(Kind::Quota) => Class::Said(Kind::BadRequest),
        Class::Said(Kind::BadRequest) => Class::Said(Kind::ContextOverflow(OVERFLOW)),
        Class::Said(Kind::ContextOverflow(_)) => Class::Said(Kind::TooLarge),
        Class::Said(Kind::TooLarge) => Class::Said(Kind::Conflict),
        Class::Said(Kind::Conflict) => Class::Said(Kind::ModelNotFound),
        Class::Said(Kind::ModelNotFound) => Class::Said(Kind::WrongAddress),
        Class::Said(Kind::WrongAddress) => return None,
    })
}

fn all() -> impl Iterator<Item = Class> {
    std::iter::successors(Some(Class::Unreachable), |class| after(*class))
}

fn line(verdict: Verdict) -> String {
    let Verdict {
        name,
        same,
        next,
        breaker,
        rest,
        is_alarm,
        told: Told {
            status,
            error_type,
            should_retry,
        },
    } = verdict;
    let breaker = match breaker {
        breaker::Outcome::Success => "success",
        breaker::Outcome::HardFailure => "failure",
        breaker::Outcome::SoftFailure => "rate only",
        breaker::Outcome::Nothing => "",
    };
    let rest = match rest {
        Rest::Nobody => "",
        Rest::CoolDown => "cool-down",
        Rest::Quarantine => "quarantine",
        Rest::Suspicion => "quarantine if repeated",
    };
    let [same, next, alarm] = [same, next, is_alarm].map(|is_so| if is_so { "yes" } else { "" });
    let retry = should_retry.map_or(String::new(), |should_retry| should_retry.to_string());
    let error_type = error_type.as_str();
    let told = format!("{status} `{error_type}`");
    let cells = [same, next, breaker, rest, &told, &retry, alarm];
    let filled = cells.map(|cell| {
        if cell.is_empty() {
            " |".to_owned()
        } else {
            format!(" {cell} |")
        }
    });
    format!("`{name}` |{}", filled.concat())
}

/// The lines of the first table below a heading, without its head.
fn table<'a>(heading: &str, text: &'a str) -> Vec<&'a str> {
    let section = text.split_once(heading).map_or("", |(_, section)| section);
    let lines = section.lines().skip_while(|line| !line.starts_with('|'));
    lines.take_while(|line| line.starts_with('|')).skip(2).collect()
}

const DOCUMENT: &str = include_str!("../../../FAILURES.md");

#[test]
fn the_document_holds_the_table() {
    let mut expected = String::new();
    for class in all() {
        writeln!(expected, "{}", line(class.verdict())).unwrap();
    }
    let told: String = table("## The table", DOCUMENT)
        .into_iter()
        // The first column is ours to word.
        .map(|row| {
            row.splitn(3, '|')
                .last()
                .unwrap_or_default()
                .trim_start()
                .to_owned()
                + "\n"
        })
        .collect();
    assert_eq!(told, expected, "the rows that FAILURES.md must hold:\n{expected}");
}

#[test]
fn every_numbered_failure_names_rows_that_exist() {
    let names: Vec<_> = all().map(|class| class.verdict().name).collect();
    let rows = table("## By number", DOCUMENT);
    let mut numbers = Vec::new();
    for row in rows {
        let mut cells = row.trim_matches('|').split('|').map(str::trim);
        numbers.push(cells.next().unwrap().parse::<u32>().unwrap());
        let named = cells.nth(1).unwrap().split('`').skip(1).step_by(2);
        for name in named {
            assert!(names.contains(&name) || OUTSIDE.contains(&name), "{row}: {name}");
        }
    }
    assert_eq!(numbers, (1..=27).collect::<Vec<_>>());
}

/// What is decided before or without an attempt.
const OUTSIDE: [&str; 2] = ["AllOpen", "NoCandidate"];

#[test]
fn names_are_unique() {
    let mut names: Vec<_> = all().map(|class| class.verdict().name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn no_fault_of_a_provider_looks_like_a_bad_key_or_an_unknown_model() {
    for class in all() {
        let status = class.verdict().told.status;
        assert!(
            ![401, 403, 404].contains(&status),
            "{class:?} is told as {status}"
        );
    }
}

#[test]
fn the_requests_own_fault_stops_the_walk_and_blames_nobody() {
    for class in all() {
        let verdict = class.verdict();
        if matches!(verdict.told.status, 400 | 413) {
            assert!(!verdict.next && !verdict.same, "{class:?}");
            assert_eq!(verdict.breaker, breaker::Outcome::Nothing, "{class:?}");
            assert_eq!(verdict.rest, Rest::Nobody, "{class:?}");
        }
    }
}

#[test]
fn what_an_admin_has_to_mend_no_client_is_to_try_again() {
    for class in all() {
        let verdict = class.verdict();
        if verdict.is_alarm {
            assert!(verdict.next, "{class:?}: somebody else may be in order");
            assert_eq!(
                (verdict.told.status, verdict.told.should_retry),
                (502, Some(false)),
                "{class:?}"
            );
        }
    }
}

#[test]
fn what_is_said_of_a_callers_own_credential_is_remembered_of_nobody() {
    for class in all() {
        let (verdict, about_caller) = (class.verdict(), class.verdict().about(Credential::Callers));
        assert_eq!(verdict.about(Credential::Configured), verdict);
        assert_eq!(about_caller.rest, Rest::Nobody, "{class:?}");
        assert_eq!(about_caller.told, verdict.told, "{class:?}");
        if verdict.rest == Rest::Nobody {
            assert_eq!(about_caller, verdict);
        } else {
            assert_eq!(about_caller.breaker, breaker::Outcome::Nothing, "{class:?}");
            assert!(!about_caller.is_alarm, "{class:?}");
        }
    }
}

fn failure(class: Class, wait_s: Option<u64>) -> Failure {
    let retry_after = wait_s.map(Duration::from_secs);
    Failure {
        retry_after,
        ..Failure::new(class, "p".into())
    }
}

#[test]
fn what_may_pass_is_told_before_what_will_not() {
    let credentials = failure(Class::Said(FaultKind::Credentials), None);
    let limited = failure(Class::RATE_LIMITED, Some(30));
    let other = failure(Class::RATE_LIMITED, Some(7));
    let told = worth_telling(vec![other, limited, credentials.clone()]).unwrap();
    assert_eq!(told.class, Class::RATE_LIMITED);
    assert_eq!(told.retry_after, Some(Duration::from_secs(7)));
    assert_eq!(
        worth_telling(vec![credentials]).unwrap().class,
        Class::Said(FaultKind::Credentials)
    );
    assert!(worth_telling(Vec::new()).is_none());
}

#[test]
fn a_message_names_the_provider_unless_clients_act_on_the_words() {
    assert_eq!(
        failure(Class::Unreachable, None).message(),
        "p: could not connect"
    );
    let words = OVERFLOW.anthropic_message(None);
    let class = Class::Said(FaultKind::ContextOverflow(OVERFLOW));
    let failure = Failure {
        words: words.clone(),
        ..failure(class, None)
    };
    assert_eq!(failure.message(), words);
}
