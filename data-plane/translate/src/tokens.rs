//! The answer to `count_tokens`.
//!
//! Counted is what the candidate would get, so that what translation drops costs nothing.

mod calibration;

use crate::anthropic;
use crate::error::BadRequest;
use crate::estimate;
use crate::request::{Target, build};

pub use self::calibration::Calibration;

/// Gets the tokenizer ready, so that the first count does not have to. Takes a while, once.
pub fn load() {
    estimate::load();
}

/// Input tokens of the request as this candidate would get it.
pub fn count(request: &anthropic::Request<'_>, target: &Target<'_>) -> Result<u64, BadRequest> {
    let (upstream, _) = build(request, target)?;
    Ok(estimate::prompt(&upstream, target.dialect))
}
