//! What a node reports, as far as it makes sense.

use super::{Subject, Sums, Tokens};

/// A batch of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub boot: Boot,
    pub sequence: u64,
    pub rollups: Vec<Rollup>,
    pub entries: Vec<Logged>,
    /// What was dropped since the last one.
    pub dropped: u64,
}

/// One start of a node: whose sequences these are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    pub node_id: String,
    pub boot_id: String,
}

/// What requests of one minute came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollup {
    /// Start of the minute, in seconds since 1970.
    pub minute_s: u64,
    pub subject: Subject,
    pub sums: Sums,
}

/// An entry of the request log, with what is known of it here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    pub entry: Entry,
    pub node_id: String,
    /// `None`: no price was known.
    pub cost_micros: Option<u64>,
}

/// One request. Milliseconds throughout; points in time since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub request_id: String,
    pub started_ms: u64,
    pub key_id: String,
    /// The name that the client asked for.
    pub model: String,
    pub is_stream: bool,
    pub http_status: u32,
    pub error_type: String,
    pub stop_reason: String,
    pub tokens: Tokens,
    pub is_estimated: bool,
    pub latency_ms: u64,
    pub first_token_ms: Option<u64>,
    pub attempts: Vec<Attempt>,
    pub losses: Vec<String>,
    pub config_revision: u64,
}

/// One call to an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    pub provider: String,
    pub upstream_model: String,
    /// Zero: it did not answer.
    pub http_status: u32,
    pub outcome: String,
    pub latency_ms: u64,
}
