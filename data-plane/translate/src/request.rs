//! The way out: one client request to one upstream body, for one candidate.

mod media;
mod messages;
mod names;
mod params;
mod reasoning;
mod tools;
mod turn;

use std::collections::HashMap;

use crate::anthropic;
use crate::dialect::{Dialect, EmitThinking, Lossy};
use crate::error::BadRequest;
use crate::estimate;
use crate::loss::LossList;
use crate::openai;
use crate::reply::{Reply, Rules, Shared, UsedIds, signature};

use self::names::Names;

/// The candidate that a request is translated for.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The provider's name, for messages and signatures.
    pub provider: &'a str,
    /// The upstream's name of the model.
    pub model: &'a str,
    pub dialect: &'a Dialect,
    /// The global limits on `max_tokens`.
    pub token_limits: TokenLimits,
    /// The model's own limit, if it is known.
    pub max_output_tokens: Option<u32>,
}

/// Bounds that hold for every request, whatever the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenLimits {
    pub min: u32,
    pub max: u32,
}

/// What goes to the upstream, and what is needed when it answers.
#[derive(Debug)]
pub struct Outbound {
    pub body: Vec<u8>,
    pub losses: LossList,
    pub reply: Reply,
    /// The upstream will stream, whether the client asked for it or not.
    pub upstream_streams: bool,
}

/// State of one translation.
pub(crate) struct Context<'r> {
    pub(crate) target: &'r Target<'r>,
    pub(crate) losses: LossList,
    pub(crate) names: Names<'r>,
    /// Ids as the upstream knows them, where its format differs.
    pub(crate) tool_ids: HashMap<&'r str, String>,
    /// The start of the answer that the upstream is asked to continue.
    pub(crate) prefill: Option<String>,
}

impl<'r> Context<'r> {
    pub(crate) fn dialect(&self) -> &'r Dialect {
        self.target.dialect
    }
}

/// Translates a request for one candidate.
pub fn to_openai(request: &anthropic::Request<'_>, target: &Target<'_>) -> Result<Outbound, BadRequest> {
    let (upstream, context) = build(request, target)?;
    let Context {
        losses,
        names,
        prefill,
        ..
    } = context;
    if target.dialect.lossy == Lossy::Strict
        && let Some(loss) = losses.iter().next()
    {
        return Err(BadRequest::at(&loss.path, loss.reason));
    }
    let mut body = Vec::with_capacity(estimate::body_bytes(&upstream));
    serde_json::to_writer(&mut body, &upstream)
        .map_err(|error| BadRequest::new(format!("the request cannot be written as JSON: {error}")))?;
    let losses = if target.dialect.lossy == Lossy::Report {
        losses
    } else {
        LossList::default()
    };
    let reply = Reply::new(
        Shared {
            model: request.model.clone().into_owned(),
            signature: signature(target.provider),
            names: names.into_changed(),
            used_ids: used_ids(request),
            stop_sequences: request
                .sampling
                .stop_sequences
                .iter()
                .map(|stop| stop.clone().into_owned())
                .collect(),
            prefill,
            rules: Rules::new(
                target.dialect,
                shows_thinking(request, target.dialect),
                request.tools.disable_parallel,
            ),
        },
        estimate::rough_prompt(&upstream),
    );
    Ok(Outbound {
        body,
        losses,
        reply,
        upstream_streams: request.stream || target.dialect.force_stream,
    })
}

/// The upstream's request before it is written, which token counting reads as well.
pub(crate) fn build<'r>(
    request: &'r anthropic::Request<'r>,
    target: &'r Target<'r>,
) -> Result<(openai::request::Request<'r>, Context<'r>), BadRequest> {
    let mut context = Context {
        target,
        losses: LossList::default(),
        names: Names::default(),
        tool_ids: HashMap::new(),
        prefill: None,
    };
    let (tools, tool_choice) = tools::translate(request, &mut context)?;
    let messages = messages::translate(request, &mut context)?;
    let params = params::translate(request, !tools.is_empty(), &mut context)?;
    let upstream = openai::request::Request {
        model: target.model,
        messages,
        tools,
        tool_choice,
        params,
        extra: &target.dialect.extra_body,
    };
    Ok((upstream, context))
}

fn shows_thinking(request: &anthropic::Request<'_>, dialect: &Dialect) -> bool {
    match dialect.emit_thinking {
        EmitThinking::Always => true,
        EmitThinking::Never => false,
        EmitThinking::Auto => {
            request.wants_thinking() && !(dialect.honor_display && request.hides_thinking())
        }
    }
}

fn used_ids(request: &anthropic::Request<'_>) -> UsedIds {
    let blocks = request
        .messages
        .iter()
        .flat_map(|message| message.content.blocks());
    let ids = blocks.filter_map(|block| {
        let anthropic::Block::ToolUse { id, .. } = block else {
            return None;
        };
        Some(&**id)
    });
    ids.collect()
}
