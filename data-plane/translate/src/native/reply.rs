//! What the way back needs of a request that went up as it was.

use std::sync::Arc;

use crate::anthropic::Request;
use crate::request::Target;

/// For estimates by length alone.
const BYTES_PER_TOKEN: usize = 4;

/// What the way back needs of the request: owned, cheap to clone.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The client's name of the model, where the provider was told another one.
    model: Option<Arc<str>>,
    estimate: u64,
}

impl Reply {
    pub(super) fn new(request: &Request<'_>, target: &Target<'_>, body_bytes: usize) -> Self {
        let is_renamed = target.dialect.restore_model && request.model != target.model;
        Reply {
            model: is_renamed.then(|| Arc::from(&*request.model)),
            estimate: (body_bytes / BYTES_PER_TOKEN).max(1) as u64,
        }
    }

    /// Input tokens, estimated.
    pub fn estimate(&self) -> u64 {
        self.estimate
    }

    pub(super) fn renamed(&self) -> Option<&str> {
        self.model.as_deref()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::Reply;

    /// A reply that shows the client this model, if any.
    pub(in crate::native) fn reply(renamed: Option<&str>) -> Reply {
        Reply {
            model: renamed.map(Into::into),
            estimate: 7,
        }
    }
}
