//! The way out: one client request to one upstream body, for one candidate.

mod assistant;
mod cache;
mod call_ids;
mod context;
mod luggage;
mod media;
mod messages;
mod names;
mod offered;
mod params;
mod reasoning;
mod run;
mod system;
mod target;
mod tool_choice;
mod tools;
mod user;
mod user_id;

use crate::anthropic;
use crate::dialect::{Dialect, EmitThinking, Lossy};
use crate::error::BadRequest;
use crate::estimate;
use crate::loss::LossList;
use crate::openai;
use crate::reply::{Reply, Rules, Shared, UsedIds};
use crate::signature::Signer;

use self::context::Context;
use self::luggage::Extras;
pub use self::target::{Target, TokenLimits};

/// What goes to the upstream, and what is needed when it answers.
#[derive(Debug)]
pub struct Outbound {
    pub body: Vec<u8>,
    pub losses: LossList,
    pub reply: Reply,
    /// The upstream will stream, whether the client asked for it or not.
    pub upstream_streams: bool,
}

/// Translates a request for one candidate.
pub fn to_openai(request: &anthropic::Request<'_>, target: &Target<'_>) -> Result<Outbound, BadRequest> {
    let (upstream, context) = build(request, target)?;
    let Context {
        losses,
        names,
        prefill,
        target: _,
        call_ids: _,
        thinking: _,
        extras: _,
        schema_budget: _,
        searches,
    } = context;
    if target.dialect.lossy == Lossy::Strict
        && let Some(loss) = losses.iter().next()
    {
        return Err(BadRequest::at(&loss.path, loss.reason));
    }
    let mut body = Vec::with_capacity(estimate::body_bytes(&upstream));
    upstream.write(&mut body);
    let losses = if target.dialect.lossy == Lossy::Report {
        losses
    } else {
        LossList::default()
    };
    let reply = Reply::new(
        Shared {
            model: request.model.clone().into_owned(),
            signer: Signer::new(target.provider, target.model),
            names: names.into_changed(),
            used_ids: used_ids(request),
            stop_sequences: request
                .sampling
                .stop_sequences
                .iter()
                .map(|stop| stop.clone().into_owned())
                .collect(),
            prefill,
            searches,
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
    let mut context = Context::new(target, reasoning::wish(request, target.dialect));
    context.extras = Extras::read(request, target);
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
