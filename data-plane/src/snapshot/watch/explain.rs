//! Answers a control plane's question where a request would go.

use std::sync::Arc;

use bridge_proto::fleet::v1 as proto;

use crate::{
    explain::{self, Answer, Question, Told},
    node::Node,
    routing::Skip,
    snapshot::Tier,
    upstream::{
        breaker,
        failover::{Call, Skipped, Step},
    },
};

/// Works it out beside the subscription, which has news to take meanwhile.
pub(super) async fn explain(node: Arc<Node>, question: proto::Explain) -> proto::Explained {
    let proto::Explain {
        explain_id,
        body,
        key_id,
    } = question;
    let question = Question {
        body: body.into(),
        key_id,
    };
    let work = tokio::task::spawn_blocking(move || explain::explain(&node, &question));
    // A panic in it leaves the question without an answer, and this node as it was.
    let explanation = work.await.ok().map(explanation);
    proto::Explained {
        explain_id,
        explanation,
    }
}

fn explanation(answer: Answer) -> proto::Explanation {
    let Answer {
        config_revision,
        model,
        rule,
        tier,
        steps,
        skipped,
        told,
        input_tokens,
    } = answer;
    let (http_status, error_type, message) = match told {
        Some(Told {
            status,
            error_type,
            message,
        }) => (status.into(), error_type.to_owned(), message),
        None => Default::default(),
    };
    let candidates = steps.into_iter().map(candidate);
    proto::Explanation {
        config_revision,
        model,
        model_rule_id: rule.unwrap_or_default(),
        tier: tier.map(tier_to_proto).unwrap_or_default().into(),
        candidates: candidates.chain(skipped.into_iter().map(passed_over)).collect(),
        http_status,
        error_type,
        message,
        input_tokens,
    }
}

fn candidate(step: Step) -> proto::Candidate {
    let Step {
        candidate,
        breaker,
        skipped,
        call,
    } = step;
    let (skipped, skipped_because) = match skipped {
        Some(Skipped { word, because }) => (word.to_owned(), because),
        None => Default::default(),
    };
    let (url, body, losses) = match call {
        Some(Call { url, body, losses }) => (url, body, losses),
        None => Default::default(),
    };
    proto::Candidate {
        provider: candidate.provider.name.to_string(),
        upstream_model: candidate.model.to_string(),
        breaker: breaker_to_proto(breaker).into(),
        skipped,
        skipped_because,
        url,
        body,
        losses: losses.iter().map(|loss| loss.path.clone()).collect(),
    }
}

fn passed_over(skip: Skip) -> proto::Candidate {
    let Skip { provider, reason } = skip;
    proto::Candidate {
        provider: provider.to_string(),
        skipped: reason.as_str().to_owned(),
        skipped_because: reason.to_string(),
        ..Default::default()
    }
}

fn breaker_to_proto(state: Option<breaker::State>) -> proto::BreakerState {
    match state {
        None | Some(breaker::State::Closed { .. }) => proto::BreakerState::Closed,
        Some(breaker::State::Open { .. }) => proto::BreakerState::Open,
        Some(breaker::State::HalfOpen { .. }) => proto::BreakerState::HalfOpen,
    }
}

fn tier_to_proto(tier: Tier) -> proto::Tier {
    match tier {
        Tier::Small => proto::Tier::Small,
        Tier::Middle => proto::Tier::Middle,
        Tier::Big => proto::Tier::Big,
    }
}
