//! Everything in a request that is neither message nor tool.

use std::borrow::Cow;

use crate::anthropic::{Raw, Request};
use crate::dialect::{MaxTokensField, Param as Refused, PrefillFlag, StructuredOutput};
use crate::error::BadRequest;
use crate::openai::request::Param;
use crate::openai::schema::{Schema, takes_strict};

use super::context::Context;
use super::{reasoning, user_id};

type Params<'r> = Vec<(Cow<'r, str>, Param<'r>)>;

/// Fields that change what the answer means: leaving them out would answer another question.
const VITAL: &[&str] = &[
    "compaction",
    "thread",
    "container",
    "mcp_servers",
    "fallback_credit_token",
    "billing_policy",
];
/// The SDKs' loops over tools keep their conversation with the server where it can; told by this
/// code that it cannot, they send all of it and go on.
const NO_THREADS: &str = "thread_unsupported_request";
/// Fields whose absence changes nothing for the client.
const HARMLESS: &[&str] = &[
    "cache_control",
    "diagnostics",
    "inference_geo",
    "user_profile_id",
    "workspace_id",
];

/// The fields beside the conversation, in a fixed order.
pub(super) fn translate<'r>(
    request: &'r Request<'r>,
    has_tools: bool,
    cx: &mut Context<'r>,
) -> Result<Params<'r>, BadRequest> {
    let mut params = Params::new();
    max_tokens(request, cx, &mut params);
    sampling(request, cx, &mut params);
    let dialect = cx.dialect();
    if has_tools && request.tools.disable_parallel && dialect.parallel_tool_calls {
        params.push((Cow::Borrowed("parallel_tool_calls"), Param::Bool(false)));
    }
    reasoning::translate(cx, has_tools, &mut params);
    answer_schema(request, cx, &mut params);
    user_id::translate(request, dialect, &mut params);
    if let Some(tier) = request
        .options
        .service_tier
        .as_deref()
        .filter(|_| dialect.service_tier)
    {
        let tier = if tier == "standard_only" {
            "default"
        } else {
            "auto"
        };
        params.push((Cow::Borrowed("service_tier"), Param::word(tier)));
    }
    if cx.prefill.is_some() && dialect.prefill_flag == PrefillFlag::Template {
        params.push((Cow::Borrowed("continue_final_message"), Param::Bool(true)));
        params.push((Cow::Borrowed("add_generation_prompt"), Param::Bool(false)));
    }
    if request.stream || dialect.force_stream {
        params.push((Cow::Borrowed("stream"), Param::Bool(true)));
        if dialect.stream_usage {
            let options = Param::Object(vec![("include_usage", Param::Bool(true))]);
            params.push((Cow::Borrowed("stream_options"), options));
        }
    }
    if cx.searches {
        let fields = dialect.web_search_body.iter();
        params.extend(fields.map(|(name, value)| (Cow::Borrowed(name.as_str()), Param::Value(value))));
    }
    other_fields(request, cx, &mut params)?;
    Ok(params)
}

fn max_tokens<'r>(request: &Request<'_>, cx: &Context<'r>, params: &mut Params<'r>) {
    let Some(wanted) = request
        .sampling
        .max_tokens
        .filter(|_| !cx.drops(Refused::MaxTokens))
    else {
        return;
    };
    let limits = cx.target.token_limits;
    let clamped = wanted.max(limits.min.into()).min(limits.max.into());
    let clamped = cx
        .target
        .max_output_tokens
        .map_or(clamped, |most| clamped.min(most.into()));
    let name = match cx.dialect().max_tokens_field {
        MaxTokensField::MaxTokens => "max_tokens",
        MaxTokensField::MaxCompletionTokens => "max_completion_tokens",
    };
    params.push((Cow::Borrowed(name), Param::Number(clamped)));
}

fn sampling<'r>(request: &'r Request<'r>, cx: &mut Context<'r>, params: &mut Params<'r>) {
    let dialect = cx.dialect();
    let sampling = &request.sampling;
    if let Some(raw) = sampling.temperature.filter(|_| !cx.drops(Refused::Temperature)) {
        params.push((
            Cow::Borrowed("temperature"),
            temperature(raw, dialect.temperature_max),
        ));
    }
    if let Some(raw) = sampling.top_p.filter(|_| !cx.drops(Refused::TopP)) {
        params.push((Cow::Borrowed("top_p"), Param::Raw(raw)));
    }
    if let Some(raw) = sampling.top_k {
        if dialect.top_k {
            params.push((Cow::Borrowed("top_k"), Param::Raw(raw)));
        } else {
            cx.losses.add("top_k", "not supported by the provider");
        }
    }
    let mut stops: Vec<&str> = sampling
        .stop_sequences
        .iter()
        .map(|stop| &**stop)
        .filter(|stop| !stop.trim().is_empty())
        .collect();
    if stops.is_empty() {
        return;
    }
    if cx.drops(Refused::Stop) {
        cx.losses.add("stop_sequences", "not supported by the provider");
        return;
    }
    if let Some(max) = dialect
        .max_stop
        .map(|max| max as usize)
        .filter(|max| stops.len() > *max)
    {
        cx.losses
            .add(format!("stop_sequences.{max}"), "more than the provider takes");
        stops.truncate(max);
    }
    params.push((Cow::Borrowed("stop"), Param::Texts(stops)));
}

fn temperature(raw: Raw<'_>, max: Option<f64>) -> Param<'_> {
    match (raw.get().parse::<f64>(), max) {
        (Ok(wanted), Some(max)) if wanted > max => Param::Float(max),
        (_, _) => Param::Raw(raw),
    }
}

fn answer_schema<'r>(request: &'r Request<'r>, cx: &mut Context<'r>, params: &mut Params<'r>) {
    let Some(schema) = request.options.answer_schema else {
        return;
    };
    let dialect = cx.dialect();
    let is_refused = cx.drops(Refused::ResponseFormat) || dialect.structured_output == StructuredOutput::Off;
    if is_refused {
        cx.losses
            .add("output_config.format", "not supported by the provider");
        return;
    }
    let name = Cow::Borrowed("response_format");
    match dialect.structured_output {
        StructuredOutput::JsonSchema => {
            let is_strict = dialect.strict_schema && takes_strict(schema);
            let schema = Schema::of_answer(schema, dialect.schema_level, &mut cx.schema_budget);
            params.push((name, Param::AnswerSchema { schema, is_strict }));
        }
        StructuredOutput::JsonObject => {
            params.push((name, Param::Object(vec![("type", Param::word("json_object"))])))
        }
        // `prompt` puts the schema into the system text; `off` was reported above.
        StructuredOutput::Prompt | StructuredOutput::Off => {}
    }
}

fn other_fields<'r>(
    request: &'r Request<'r>,
    cx: &mut Context<'r>,
    params: &mut Params<'r>,
) -> Result<(), BadRequest> {
    for (name, value) in &request.options.other {
        let name = &**name;
        if cx
            .dialect()
            .extra_body_passthrough
            .iter()
            .any(|allowed| allowed == name)
        {
            // A field that translation sets itself is not set twice.
            if !params.iter().any(|(set, _)| set == name) {
                params.push((Cow::Borrowed(name), Param::Raw(*value)));
            }
            continue;
        }
        if value.get() == "null" || HARMLESS.contains(&name) {
            continue;
        }
        if VITAL.contains(&name) {
            let code = (name == "thread").then_some(NO_THREADS);
            return Err(BadRequest::at(name, "not supported by this provider").with_code(code));
        }
        match name {
            "context_management" => context_edits(*value, cx),
            "speed" if value.get() != "\"fast\"" => {}
            _ => cx.losses.add(name, "has no equivalent"),
        }
    }
    Ok(())
}

/// Clearing old thinking is what happens anyway; other edits would have shortened the prompt.
fn context_edits(value: Raw<'_>, cx: &mut Context<'_>) {
    #[derive(serde::Deserialize)]
    struct Edits<'a> {
        #[serde(borrow, default)]
        edits: Vec<Edit<'a>>,
    }
    #[derive(serde::Deserialize)]
    struct Edit<'a> {
        #[serde(borrow, rename = "type")]
        kind: Cow<'a, str>,
    }
    let Ok(Edits { edits }) = serde_json::from_str::<Edits<'_>>(value.get()) else {
        return cx.losses.add("context_management", "has no equivalent");
    };
    for edit in edits
        .iter()
        .filter(|edit| !edit.kind.starts_with("clear_thinking"))
    {
        cx.losses
            .add(format!("context_management.{}", edit.kind), "has no equivalent");
    }
}
