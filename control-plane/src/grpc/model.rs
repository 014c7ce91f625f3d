//! `ModelService`: the rules that say where the names of models lead, and what comes
//! of them.
//!
//! The contract counts a rule's place in the list; the store keeps positions with room
//! between them. The place is worked out from the list whenever a rule is answered.

use bridge_proto::admin::v1 as admin;
use bridge_proto::admin::v1::model_service_server::ModelService;
use tonic::{Request, Response, Status};

use crate::domain::model::{Draft, ModelRule, RULES_MAX, RuleId, Target};
use crate::domain::reach::{Destination, Reach, Reachable, Source};
use crate::domain::{FieldViolation, Invalid, Violations};
use crate::grpc::call::Call;
use crate::grpc::commits::{self, Commits, Created};
use crate::grpc::mask::{self, UnknownPath};
use crate::grpc::page::{Ask, matches_query, place_of_number};
use crate::grpc::status::Error;
use crate::grpc::{convert, summary};
use crate::store::{Change, Expect, Kind, Store, Stored};

const RULE_ORDERS: [&str; 1] = ["position"];
const MODEL_ORDERS: [&str; 1] = ["name"];

pub(crate) struct Models {
    pub(crate) store: Store,
    pub(crate) commits: Commits,
}

/// A rule and its place in the list, from 1.
struct Placed {
    place: u32,
    rule: Stored<ModelRule>,
}

#[tonic::async_trait]
impl ModelService for Models {
    async fn list_model_rules(
        &self,
        request: Request<admin::ListModelRulesRequest>,
    ) -> Result<Response<admin::ListModelRulesResponse>, Status> {
        let request = request.into_inner();
        let ask = Ask::parse(request.page_size, &request.page_token, "", &RULE_ORDERS)?;
        let mut rules = self.rules().await?;
        rules.retain(|placed| is_asked_for(&placed.rule.value, &request));
        let page = ask.cut(rules, |Placed { rule, place: _ }| {
            let position = i32::try_from(rule.value.position).unwrap_or(i32::MAX);
            (place_of_number(position), rule.value.id.as_str().to_owned())
        });
        Ok(Response::new(admin::ListModelRulesResponse {
            rules: page.items.into_iter().map(rule_to_proto).collect(),
            next_page_token: page.next_page_token,
            total_size: page.total_size,
        }))
    }

    async fn get_model_rule(
        &self,
        request: Request<admin::GetModelRuleRequest>,
    ) -> Result<Response<admin::GetModelRuleResponse>, Status> {
        let placed = self.placed(&request.into_inner().id).await?;
        Ok(Response::new(admin::GetModelRuleResponse {
            rule: Some(rule_to_proto(placed)),
        }))
    }

    async fn create_model_rule(
        &self,
        request: Request<admin::CreateModelRuleRequest>,
    ) -> Result<Response<admin::CreateModelRuleResponse>, Status> {
        let call = Call::of(&request)?;
        let placed = self.create(&call, request.into_inner()).await?;
        Ok(Response::new(admin::CreateModelRuleResponse {
            rule: Some(rule_to_proto(placed)),
        }))
    }

    async fn update_model_rule(
        &self,
        request: Request<admin::UpdateModelRuleRequest>,
    ) -> Result<Response<admin::UpdateModelRuleResponse>, Status> {
        let call = Call::of(&request)?;
        let request = request.into_inner();
        let placed = commits::update(request.revision, || self.update(&call, request.clone())).await?;
        Ok(Response::new(admin::UpdateModelRuleResponse {
            rule: Some(rule_to_proto(placed)),
        }))
    }

    async fn delete_model_rule(
        &self,
        request: Request<admin::DeleteModelRuleRequest>,
    ) -> Result<Response<admin::DeleteModelRuleResponse>, Status> {
        let call = Call::of(&request)?;
        let admin::DeleteModelRuleRequest { id, revision } = request.into_inner();
        let rule = self.placed(&id).await?.rule.value;
        let audit = call
            .audit(&target(&rule.id))
            .with_summaries(Some(summary::model_rule(&rule)), None);
        let change = Change::DeleteModelRule(rule.id, commits::expect_any(revision));
        self.commits.commit(vec![change], audit).await?;
        Ok(Response::new(admin::DeleteModelRuleResponse {}))
    }

    async fn list_models(
        &self,
        request: Request<admin::ListModelsRequest>,
    ) -> Result<Response<admin::ListModelsResponse>, Status> {
        let request = request.into_inner();
        let ask = Ask::parse(request.page_size, &request.page_token, "", &MODEL_ORDERS)?;
        let configuration = self.store.configuration().await.map_err(Error::from)?;
        let rules: Vec<_> = configuration
            .model_rules
            .into_iter()
            .map(|rule| rule.value)
            .collect();
        let providers = configuration.providers.into_iter();
        let providers: Vec<_> = providers.map(|provider| provider.value.spec).collect();
        let reach = Reach::new(&rules, &providers);
        let mut names = reach.names();
        names.retain(|name| matches_query(&request.query, &[name]));
        // Only what is shown is resolved.
        let page = ask.cut(names, |name| (name.to_lowercase(), (*name).to_owned()));
        let models = page.items.into_iter().filter_map(|name| reach.lead(name));
        Ok(Response::new(admin::ListModelsResponse {
            models: models.map(|model| model_to_proto(&model)).collect(),
            next_page_token: page.next_page_token,
            total_size: page.total_size,
        }))
    }
}

impl Models {
    /// All rules, in the order in which they are tried.
    async fn rules(&self) -> Result<Vec<Placed>, Error> {
        let rules = (1_u32..).zip(self.store.model_rules().await?);
        Ok(rules.map(|(place, rule)| Placed { place, rule }).collect())
    }

    async fn placed(&self, id: &str) -> Result<Placed, Error> {
        let id = RuleId::parse(id).map_err(|reason| Error::invalid("id", reason.to_string()))?;
        let rules = self.rules().await?;
        let placed = rules.into_iter().find(|placed| placed.rule.value.id == id);
        placed.ok_or_else(|| Error::NotFound {
            kind: Kind::ModelRule,
            id: id.to_string(),
        })
    }

    async fn create(&self, call: &Call, mut request: admin::CreateModelRuleRequest) -> Result<Placed, Error> {
        let idempotency_key = std::mem::take(&mut request.idempotency_key);
        let id = RuleId::mint(rand::random());
        let idempotency = commits::idempotency(call.caller.user_id, &idempotency_key, &request, id.as_str())?;
        let wire = request.rule.unwrap_or_default();
        let mut draft = Draft {
            pattern: wire.r#match.clone(),
            ..Draft::default()
        };
        let mut violations = Violations::default();
        set_target(&mut draft, &wire, &mut violations);
        violations.finish(Some(()))?;
        let rule = self.checked(id, 0, &draft).await?;
        if self.store.model_rules().await?.len() >= RULES_MAX {
            return Err(Error::Precondition(format!(
                "there are {RULES_MAX} rules already"
            )));
        }
        let audit = call
            .audit(&target(&rule.id))
            .with_summaries(None, Some(summary::model_rule(&rule)));
        let id = rule.id.clone();
        let index = match wire.position {
            0 => usize::MAX,
            place => index(place),
        };
        let changes = vec![
            Change::PutModelRule(rule, Expect::Absent),
            Change::PlaceModelRule(id.clone(), index),
        ];
        match self.commits.create(changes, audit, idempotency).await? {
            Created::New { revision: _ } => self.placed(id.as_str()).await,
            Created::Before { id } => self.placed(&id).await,
        }
    }

    async fn update(&self, call: &Call, request: admin::UpdateModelRuleRequest) -> Result<Placed, Error> {
        let admin::UpdateModelRuleRequest {
            rule,
            update_mask,
            revision,
        } = request;
        let wire = rule.unwrap_or_default();
        let Placed {
            place: _,
            rule: before,
        } = self.placed(&wire.id).await?;
        let mut draft = before.value.to_draft();
        let mut position = None;
        let mut violations = Violations::default();
        mask::apply(update_mask, |path| {
            match path {
                "match" => draft.pattern.clone_from(&wire.r#match),
                "tier" | "upstream" => set_named_target(&mut draft, path, &wire, &mut violations),
                "position" => position = Some(wire.position),
                _ => return Err(UnknownPath),
            }
            Ok(())
        })?;
        if position == Some(0) {
            violations.add("rule.position", "must be at least 1");
        }
        violations.finish(Some(()))?;
        let id = &before.value.id;
        let after = self.checked(id.clone(), before.value.position, &draft).await?;
        let audit = call.audit(&target(id)).with_summaries(
            Some(summary::model_rule(&before.value)),
            Some(summary::model_rule(&after)),
        );
        let mut changes = vec![Change::PutModelRule(
            after,
            commits::expect(revision, before.revision),
        )];
        changes.extend(position.map(|place| Change::PlaceModelRule(id.clone(), index(place))));
        self.commits.commit(changes, audit).await?;
        self.placed(id.as_str()).await
    }

    /// The rule, if it is valid and the provider that it names is there.
    async fn checked(&self, id: RuleId, position: u32, draft: &Draft) -> Result<ModelRule, Error> {
        let (pattern, target) = draft.check().map_err(violations_of_rule)?;
        let rule = ModelRule {
            id,
            position,
            pattern,
            target,
        };
        if let Some(provider) = rule.provider()
            && self.store.provider(provider).await?.is_none()
        {
            return Err(Error::invalid("rule.upstream.provider", "is not a provider"));
        }
        Ok(rule)
    }
}

/// The index of a place that counts from 1.
fn index(place: u32) -> usize {
    usize::try_from(place.saturating_sub(1)).unwrap_or(usize::MAX)
}

fn target(id: &RuleId) -> String {
    format!("{}/{id}", Kind::ModelRule)
}

fn is_asked_for(rule: &ModelRule, request: &admin::ListModelRulesRequest) -> bool {
    let Draft {
        pattern,
        tier: _,
        provider,
        model,
    } = rule.to_draft();
    let (provider, model) = (provider.unwrap_or_default(), model.unwrap_or_default());
    matches_query(&request.query, &[&pattern, &provider, &model])
        && (request.provider.is_empty() || request.provider == provider)
}

/// Takes the target over, of either kind, and with it the other kind away.
fn set_target(draft: &mut Draft, wire: &admin::ModelRule, violations: &mut Violations) {
    (draft.tier, draft.provider, draft.model) = match &wire.target {
        Some(admin::model_rule::Target::Tier(tier)) => {
            let tier = convert::tier(*tier)
                .and_then(|tier| tier.ok_or_else(|| Invalid::new("must be small, middle or big")));
            let tier = violations.check("rule.tier", tier);
            (tier.map(|tier| tier.as_str().to_owned()), None, None)
        }
        Some(admin::model_rule::Target::Upstream(admin::UpstreamModel { provider, model })) => {
            (None, Some(provider.clone()), Some(model.clone()))
        }
        None => (None, None, None),
    };
}

/// Takes the target over if it is of the kind that the path names.
fn set_named_target(draft: &mut Draft, path: &str, wire: &admin::ModelRule, violations: &mut Violations) {
    let given = match &wire.target {
        Some(admin::model_rule::Target::Tier(_)) => "tier",
        Some(admin::model_rule::Target::Upstream(_)) => "upstream",
        None => "",
    };
    if given == path {
        set_target(draft, wire, violations);
    } else {
        violations.add(format!("rule.{path}"), "must be set");
    }
}

/// The domain names fields as files write them; here a provider and its model are one.
fn violations_of_rule(violations: Vec<FieldViolation>) -> Error {
    let renamed = violations.into_iter().map(|violation| {
        let field = match violation.field.as_str() {
            "provider" => "upstream.provider".to_owned(),
            "model" => "upstream.model".to_owned(),
            _ => violation.field,
        };
        FieldViolation { field, ..violation }
    });
    Error::nested("rule", renamed.collect())
}

fn rule_to_proto(placed: Placed) -> admin::ModelRule {
    let Placed {
        place,
        rule:
            Stored {
                value:
                    ModelRule {
                        id,
                        position: _,
                        pattern,
                        target,
                    },
                revision,
            },
    } = placed;
    let target = match target {
        Target::Tier(tier) => admin::model_rule::Target::Tier(convert::tier_to_proto(tier).into()),
        Target::Upstream { provider, model } => admin::model_rule::Target::Upstream(admin::UpstreamModel {
            provider: provider.to_string(),
            model: model.as_str().to_owned(),
        }),
    };
    admin::ModelRule {
        id: id.to_string(),
        position: place,
        r#match: pattern.as_str().to_owned(),
        target: Some(target),
        revision,
    }
}

fn model_to_proto(model: &Reachable<'_>) -> admin::Model {
    let Reachable {
        name,
        source,
        destinations,
    } = model;
    let source = match source {
        Source::Rule(id) => admin::model::Source::RuleId(id.to_string()),
        Source::Listed => admin::model::Source::IsListed(true),
        Source::Tier(tier) => admin::model::Source::Tier(convert::tier_to_proto(*tier).into()),
    };
    let destination = |to: &Destination<'_>| admin::Destination {
        provider: to.provider().to_string(),
        model: to.model.to_owned(),
    };
    admin::Model {
        name: (*name).to_owned(),
        source: Some(source),
        destinations: destinations.iter().map(destination).collect(),
        context_window: model.context_window(),
        max_output_tokens: model.max_output_tokens(),
    }
}
