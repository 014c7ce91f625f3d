//! What is on disk of traffic: short names, since there are many rows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{KeyUsage, Spent};
use crate::{
    domain::{
        limits::Period,
        usage::{Attempt, Calls, Entry, Histogram, Logged, Sums, Tokens},
        user::UserId,
    },
    store::{
        Error,
        family::Family,
        record::{decode_row, encode_row},
    },
};

#[derive(Serialize, Deserialize)]
struct SumsRecord {
    n: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    errors: BTreeMap<String, u64>,
    /// Input, output, cache read, cache creation.
    tokens: [u64; 4],
    #[serde(default)]
    cost: u64,
    #[serde(default)]
    unpriced: u64,
    #[serde(default)]
    estimated: u64,
    latency: (u64, Vec<u64>),
    first_token: (u64, Vec<u64>),
    #[serde(default)]
    dropped: u64,
    /// Answered and failed.
    #[serde(default)]
    calls: (u64, u64),
}

#[derive(Serialize, Deserialize)]
struct EntryRecord {
    id: String,
    node: String,
    at_ms: u64,
    key: String,
    model: String,
    stream: bool,
    status: u32,
    error: String,
    stop: String,
    tokens: [u64; 4],
    estimated: bool,
    ms: u64,
    first_ms: Option<u64>,
    attempts: Vec<AttemptRecord>,
    losses: Vec<String>,
    revision: u64,
    cost: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct AttemptRecord {
    provider: String,
    model: String,
    status: u32,
    outcome: String,
    ms: u64,
}

/// Of a boot.
#[derive(Serialize, Deserialize)]
pub(super) struct BootRecord {
    pub(super) sequence: u64,
    pub(super) at_s: u64,
}

/// How long the request log is.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct LogRecord {
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

#[derive(Serialize, Deserialize)]
struct KeyUsageRecord {
    owner: Option<String>,
    last_used_s: u64,
    spent: BTreeMap<String, (u64, u64, u64)>,
}

fn from_tokens(tokens: Tokens) -> [u64; 4] {
    let Tokens {
        input,
        output,
        cache_read,
        cache_creation,
    } = tokens;
    [input, output, cache_read, cache_creation]
}

fn to_tokens([input, output, cache_read, cache_creation]: [u64; 4]) -> Tokens {
    Tokens {
        input,
        output,
        cache_read,
        cache_creation,
    }
}

pub(super) fn encode_sums(sums: &Sums, revision: u64) -> Result<Vec<u8>, Error> {
    let Sums {
        requests,
        errors,
        tokens,
        cost_micros,
        unpriced_requests,
        estimated_requests,
        latency,
        first_token,
        dropped,
        calls: Calls { answered, failed },
    } = sums;
    let histogram = |histogram: &Histogram| (histogram.sum_ms, histogram.counts().to_vec());
    let record = SumsRecord {
        n: *requests,
        errors: errors.clone(),
        tokens: from_tokens(*tokens),
        cost: *cost_micros,
        unpriced: *unpriced_requests,
        estimated: *estimated_requests,
        latency: histogram(latency),
        first_token: histogram(first_token),
        dropped: *dropped,
        calls: (*answered, *failed),
    };
    encode_row(Family::UsageSums, record, revision)
}

pub(super) fn sums(row: &[u8]) -> Result<Sums, Error> {
    let (record, _) = decode_row(Family::UsageSums, row)?;
    let SumsRecord {
        n,
        errors,
        tokens,
        cost,
        unpriced,
        estimated,
        latency,
        first_token,
        dropped,
        calls: (answered, failed),
    } = record;
    Ok(Sums {
        requests: n,
        errors,
        tokens: to_tokens(tokens),
        cost_micros: cost,
        unpriced_requests: unpriced,
        estimated_requests: estimated,
        latency: Histogram::of(&latency.1, latency.0),
        first_token: Histogram::of(&first_token.1, first_token.0),
        dropped,
        calls: Calls { answered, failed },
    })
}

pub(super) fn encode_entry(logged: &Logged, revision: u64) -> Result<Vec<u8>, Error> {
    let Logged {
        entry,
        node_id,
        cost_micros,
    } = logged.clone();
    let Entry {
        request_id,
        started_ms,
        key_id,
        model,
        is_stream,
        http_status,
        error_type,
        stop_reason,
        tokens,
        is_estimated,
        latency_ms,
        first_token_ms,
        attempts,
        losses,
        config_revision,
    } = entry;
    let record = EntryRecord {
        id: request_id,
        node: node_id,
        at_ms: started_ms,
        key: key_id,
        model,
        stream: is_stream,
        status: http_status,
        error: error_type,
        stop: stop_reason,
        tokens: from_tokens(tokens),
        estimated: is_estimated,
        ms: latency_ms,
        first_ms: first_token_ms,
        attempts: attempts.into_iter().map(AttemptRecord::of).collect(),
        losses,
        revision: config_revision,
        cost: cost_micros,
    };
    encode_row(Family::RequestLog, record, revision)
}

pub(super) fn entry(row: &[u8]) -> Result<Logged, Error> {
    let (record, _) = decode_row(Family::RequestLog, row)?;
    let EntryRecord {
        id,
        node,
        at_ms,
        key,
        model,
        stream,
        status,
        error,
        stop,
        tokens,
        estimated,
        ms,
        first_ms,
        attempts,
        losses,
        revision,
        cost,
    } = record;
    Ok(Logged {
        entry: Entry {
            request_id: id,
            started_ms: at_ms,
            key_id: key,
            model,
            is_stream: stream,
            http_status: status,
            error_type: error,
            stop_reason: stop,
            tokens: to_tokens(tokens),
            is_estimated: estimated,
            latency_ms: ms,
            first_token_ms: first_ms,
            attempts: attempts.into_iter().map(AttemptRecord::into_attempt).collect(),
            losses,
            config_revision: revision,
        },
        node_id: node,
        cost_micros: cost,
    })
}

impl AttemptRecord {
    fn of(attempt: Attempt) -> Self {
        let Attempt {
            provider,
            upstream_model,
            http_status,
            outcome,
            latency_ms,
        } = attempt;
        Self {
            provider,
            model: upstream_model,
            status: http_status,
            outcome,
            ms: latency_ms,
        }
    }

    fn into_attempt(self) -> Attempt {
        let Self {
            provider,
            model,
            status,
            outcome,
            ms,
        } = self;
        Attempt {
            provider,
            upstream_model: model,
            http_status: status,
            outcome,
            latency_ms: ms,
        }
    }
}

pub(super) fn encode_boot(boot: &BootRecord, revision: u64) -> Result<Vec<u8>, Error> {
    encode_row(Family::UsageMeta, boot, revision)
}

pub(super) fn boot(row: &[u8]) -> Result<BootRecord, Error> {
    Ok(decode_row(Family::UsageMeta, row)?.0)
}

pub(super) fn encode_log(log: LogRecord, revision: u64) -> Result<Vec<u8>, Error> {
    encode_row(Family::UsageMeta, log, revision)
}

pub(super) fn log(row: &[u8]) -> Result<LogRecord, Error> {
    Ok(decode_row(Family::UsageMeta, row)?.0)
}

pub(super) fn encode_key_usage(usage: &KeyUsage, revision: u64) -> Result<Vec<u8>, Error> {
    let KeyUsage {
        owner,
        last_used_s,
        spent,
    } = usage;
    let record = KeyUsageRecord {
        owner: owner.as_ref().map(UserId::to_string),
        last_used_s: *last_used_s,
        spent: spent
            .iter()
            .map(|(period, spent)| {
                let Spent {
                    start_s,
                    tokens,
                    cost_micros,
                } = *spent;
                (period.as_str().to_owned(), (start_s, tokens, cost_micros))
            })
            .collect(),
    };
    encode_row(Family::KeyUsage, record, revision)
}

pub(super) fn key_usage(row: &[u8]) -> Result<KeyUsage, Error> {
    let (record, _) = decode_row(Family::KeyUsage, row)?;
    let KeyUsageRecord {
        owner,
        last_used_s,
        spent,
    } = record;
    let spent = spent.into_iter().filter_map(|(period, spent)| {
        let (start_s, tokens, cost_micros) = spent;
        let spent = Spent {
            start_s,
            tokens,
            cost_micros,
        };
        Some((Period::parse(&period)?, spent))
    });
    Ok(KeyUsage {
        owner: owner.and_then(|owner| UserId::parse(&owner).ok()),
        last_used_s,
        spent: spent.collect(),
    })
}
