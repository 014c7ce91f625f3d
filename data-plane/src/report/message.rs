//! Writes what ended as the contract has it.

use std::time::Duration;

use bridge_proto::fleet::v1 as proto;
use bridge_translate::{StopReason, usage::Usage};
use prost_types::Timestamp;

use crate::{
    clock::from_unix_ms,
    snapshot::KeyId,
    usage::{
        served::{Asked, Attempt, Seen, Served},
        sums::{Histogram, SumKey, Sums, Tokens},
    },
};

/// Longest name of a model that a client made up, in characters.
const MODEL_CHARS_MAX: usize = 200;
/// Paths of losses that are told of one request, and the characters of one.
const LOSSES_MAX: usize = 20;
const LOSS_CHARS_MAX: usize = 200;

pub(super) fn rollup((key, sums): (SumKey, Sums)) -> proto::UsageRollup {
    let minute = Timestamp::from(from_unix_ms(key.start_unix_ms()));
    let (provider, upstream_model) = key.place.as_ref().map_or_else(Default::default, |(name, model)| {
        (name.to_string(), model.to_string())
    });
    let Sums {
        requests,
        errors,
        tokens,
        estimated_requests,
        latency,
        first_token,
        answered_calls,
        failed_calls,
    } = sums;
    let Tokens {
        input,
        output,
        cache_read,
        cache_creation,
    } = tokens;
    proto::UsageRollup {
        minute: Some(minute),
        key_id: key_id(key.key),
        provider,
        upstream_model,
        requests,
        errors: errors
            .into_iter()
            .map(|(class, count)| (class.to_owned(), count))
            .collect(),
        tokens: Some(proto::TokenCounts {
            input,
            output,
            cache_read,
            cache_creation,
        }),
        estimated_requests,
        latency: Some(histogram(&latency)),
        first_token: Some(histogram(&first_token)),
        answered_calls,
        failed_calls,
    }
}

fn key_id(key: Option<KeyId>) -> String {
    key.map(|key| key.to_string()).unwrap_or_default()
}

/// Without the empty buckets at the end.
fn histogram(Histogram { buckets, sum }: &Histogram) -> proto::Histogram {
    let used = buckets
        .iter()
        .rposition(|count| *count > 0)
        .map_or(0, |last| last + 1);
    proto::Histogram {
        buckets: buckets.iter().take(used).copied().collect(),
        sum: duration(*sum),
    }
}

pub(super) fn entry(served: Served) -> proto::RequestLogEntry {
    let Served {
        id,
        asked: Asked {
            key,
            model,
            is_stream,
        },
        revision,
        seen:
            Seen {
                ended_unix_ms,
                latency,
                first_token,
                status,
                error,
                stop_reason,
            },
        attempts,
        losses,
        usage,
    } = served;
    let latency_ms = i64::try_from(latency.as_millis()).unwrap_or(i64::MAX);
    let started_at = from_unix_ms(ended_unix_ms.saturating_sub(latency_ms));
    proto::RequestLogEntry {
        request_id: id.as_str().to_owned(),
        started_at: Some(started_at.into()),
        key_id: key_id(key),
        model: cut(&model, MODEL_CHARS_MAX),
        is_stream,
        http_status: status.into(),
        error_type: error.unwrap_or_default().to_owned(),
        stop_reason: stop_reason.map(StopReason::as_str).unwrap_or_default().to_owned(),
        tokens: Some(tokens(&usage)),
        is_estimated: usage.is_estimated,
        latency: duration(latency),
        first_token: first_token.and_then(duration),
        attempts: attempts.into_iter().map(attempt).collect(),
        losses: losses
            .iter()
            .take(LOSSES_MAX)
            .map(|loss| cut(&loss.path, LOSS_CHARS_MAX))
            .collect(),
        config_revision: revision,
    }
}

fn tokens(usage: &Usage) -> proto::TokenCounts {
    proto::TokenCounts {
        input: usage.input_tokens,
        output: usage.output_tokens,
        cache_read: usage.cache_read_input_tokens,
        cache_creation: usage.cache_creation_input_tokens,
    }
}

fn attempt(attempt: Attempt) -> proto::AttemptLog {
    let Attempt {
        place: (provider, model),
        started: _,
        status,
        ended,
        shows: _,
    } = attempt;
    let (outcome, latency) = ended.unwrap_or_default();
    proto::AttemptLog {
        provider: provider.to_string(),
        upstream_model: model.to_string(),
        http_status: status.into(),
        outcome: outcome.to_owned(),
        latency: duration(latency),
    }
}

fn duration(duration: Duration) -> Option<prost_types::Duration> {
    duration.try_into().ok()
}

fn cut(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::recorder::{Recorder, tests};

    #[test]
    fn what_is_reported_is_what_was_recorded() {
        let recorder = Recorder::default();
        recorder.record(tests::served(Some(tests::key(1)), 5, 3));
        let mut taken = recorder.take(0);
        let rollup = rollup(taken.sums.remove(0));
        assert_eq!(rollup.minute.map(|minute| minute.seconds), Some(300));
        assert_eq!(
            (&*rollup.key_id, &*rollup.provider, &*rollup.upstream_model),
            ("key000000001", "p", "m")
        );
        assert_eq!(
            rollup.latency.map(|latency| latency.buckets),
            Some(vec![0, 0, 0, 0, 1])
        );
        let entry = entry(taken.entries.remove(0));
        assert_eq!(
            (entry.http_status, &*entry.model, entry.config_revision),
            (200, "haiku", 7)
        );
        assert_eq!(entry.tokens.map(|tokens| tokens.output), Some(3));
        assert_eq!(&*entry.attempts[0].outcome, "ok");
    }
}
