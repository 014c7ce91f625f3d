//! `ConfigService`: how the configuration became what it is, and all of it as one file.

mod revisions;

use bridge_proto::admin::v1 as admin;
use bridge_proto::admin::v1::config_service_server::ConfigService;
use tonic::{Request, Response, Status};

use crate::configuration::compare::FieldChange;
use crate::configuration::{self, Action, Edit, Places, Shown, file, plan, plan::Plan, rollback};
use crate::document;
use crate::domain::audit::Summary;
use crate::domain::user::Role;
use crate::grpc::call::Call;
use crate::grpc::commits::{self, Commits, Created};
use crate::grpc::status::Error;
use crate::import;
use crate::secrets::Keyring;
use crate::snapshot::nodes::Nodes;
use crate::store::{Between, Configuration, Idempotency, Store};

/// What the audit log says was changed by a file.
const APPLIED: &str = "configuration";
/// Largest message, in bytes: a file of some 10,000 keys.
pub(crate) const REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024;

pub(crate) struct Config {
    pub(crate) store: Store,
    pub(crate) commits: Commits,
    pub(crate) keyring: Keyring,
    pub(crate) nodes: Nodes,
}

#[tonic::async_trait]
impl ConfigService for Config {
    async fn list_revisions(
        &self,
        request: Request<admin::ListRevisionsRequest>,
    ) -> Result<Response<admin::ListRevisionsResponse>, Status> {
        let page = revisions::page(&self.store, &self.nodes, request.into_inner()).await?;
        Ok(Response::new(page))
    }

    async fn diff(
        &self,
        request: Request<admin::DiffRequest>,
    ) -> Result<Response<admin::DiffResponse>, Status> {
        Ok(Response::new(self.difference(request.into_inner()).await?))
    }

    async fn rollback(
        &self,
        request: Request<admin::RollbackRequest>,
    ) -> Result<Response<admin::RollbackResponse>, Status> {
        let call = Call::of(&request)?;
        let request = request.into_inner();
        let done = commits::update_whole(request.revision, || self.roll_back(&call, request.clone())).await?;
        Ok(Response::new(done))
    }

    async fn export(
        &self,
        _: Request<admin::ExportRequest>,
    ) -> Result<Response<admin::ExportResponse>, Status> {
        let configuration = self.store.configuration().await.map_err(Error::from)?;
        Ok(Response::new(admin::ExportResponse {
            file: file::export(&configuration),
            revision: configuration.version.revision,
        }))
    }

    async fn plan(
        &self,
        request: Request<admin::PlanRequest>,
    ) -> Result<Response<admin::PlanResponse>, Status> {
        let call = Call::of(&request)?;
        let admin::PlanRequest { file, prune } = request.into_inner();
        let configuration = self.store.configuration().await.map_err(Error::from)?;
        let plan = self.plan_file(&file, prune, &configuration, &call)?;
        let shown = plan.edits.iter().filter_map(|edit| edit.shown(&plan.places));
        Ok(Response::new(admin::PlanResponse {
            changes: shown.map(change_to_proto).collect(),
            warnings: plan.warnings,
            revision: configuration.version.revision,
        }))
    }

    async fn apply(
        &self,
        request: Request<admin::ApplyRequest>,
    ) -> Result<Response<admin::ApplyResponse>, Status> {
        let call = Call::of(&request)?;
        let request = request.into_inner();
        let done =
            commits::update_whole(request.revision, || self.apply_file(&call, request.clone())).await?;
        Ok(Response::new(done))
    }
}

impl Config {
    async fn difference(&self, request: admin::DiffRequest) -> Result<admin::DiffResponse, Error> {
        let admin::DiffRequest {
            from_revision,
            to_revision,
        } = request;
        let to = (to_revision != 0).then_some(to_revision);
        let Between {
            current,
            changed,
            rules,
        } = match self.store.between(from_revision, to).await? {
            Some(between) => between,
            None => return Err(self.not_kept(from_revision, to_revision).await?),
        };
        let places = configuration::places(rules);
        let shown = changed
            .into_iter()
            .filter_map(|changed| Edit::from(changed).shown(&places));
        Ok(admin::DiffResponse {
            changes: shown.map(change_to_proto).collect(),
            from_revision,
            to_revision: to.unwrap_or(current),
        })
    }

    async fn roll_back(
        &self,
        call: &Call,
        request: admin::RollbackRequest,
    ) -> Result<admin::RollbackResponse, Error> {
        let admin::RollbackRequest {
            to_revision,
            targets,
            dry_run,
            revision: asked_revision,
        } = request;
        if to_revision == 0 {
            return Err(Error::invalid("to_revision", "must be at least 1"));
        }
        let configuration = self.store.configuration().await?;
        let between = match self.store.between(to_revision, None).await? {
            Some(between) => between,
            None => return Err(self.not_kept(to_revision, 0).await?),
        };
        let current = between.current;
        let is_based = asked_revision == 0 || asked_revision == current;
        if !is_based || current != configuration.version.revision {
            return Err(Error::Moved { current });
        }
        let [then, now] = configuration::places(between.rules.clone());
        let places = [now, then];
        let planned =
            rollback::plan(between, &configuration, &targets, call.now).map_err(|error| match error {
                rollback::Error::UnknownTarget(_) => Error::invalid("targets", error.to_string()),
                rollback::Error::TooManyRules => Error::Precondition(error.to_string()),
            })?;
        let rollback::Rollback { edits, notes } = planned;
        let target = format!("revision/{to_revision}");
        if dry_run {
            check_role(call, &edits)?;
            let shown = edits.iter().filter_map(|edit| edit.shown(&places));
            return Ok(admin::RollbackResponse {
                revision: current,
                changes: shown.map(change_to_proto).collect(),
                notes,
            });
        }
        let doing = Doing {
            call,
            target: &target,
            based_on: current,
            idempotency: None,
        };
        let (revision, changes) = self.carry_out(doing, edits, &places).await?;
        Ok(admin::RollbackResponse {
            revision,
            changes,
            notes,
        })
    }

    async fn apply_file(
        &self,
        call: &Call,
        request: admin::ApplyRequest,
    ) -> Result<admin::ApplyResponse, Error> {
        let admin::ApplyRequest {
            file,
            prune,
            revision: asked_revision,
            idempotency_key,
        } = request;
        let configuration = self.store.configuration().await?;
        let current = configuration.version.revision;
        let based_on = if asked_revision == 0 {
            current
        } else {
            asked_revision
        };
        // With a key, it may have been done before: whoever looks the key up decides.
        if based_on != current && idempotency_key.is_empty() {
            return Err(Error::Moved { current });
        }
        let plan = self.plan_file(&file, prune, &configuration, call)?;
        // Secrets are no part of the fingerprint: a weak one could be guessed from it.
        let fingerprinted = admin::ApplyRequest {
            file: import::without_secrets(&file),
            prune,
            revision: asked_revision,
            idempotency_key: String::new(),
        };
        let made = based_on.saturating_add(u64::from(!plan.edits.is_empty()));
        let idempotency = commits::idempotency(
            call.caller.user_id,
            &idempotency_key,
            &fingerprinted,
            &made.to_string(),
        )?;
        let doing = Doing {
            call,
            target: APPLIED,
            based_on,
            idempotency,
        };
        let (revision, changes) = self.carry_out(doing, plan.edits, &plan.places).await?;
        Ok(admin::ApplyResponse {
            revision,
            changes,
            warnings: plan.warnings,
        })
    }

    fn plan_file(
        &self,
        file: &str,
        prune: bool,
        configuration: &Configuration,
        call: &Call,
    ) -> Result<Plan, Error> {
        let imported = import::configuration_file(file).map_err(plan::Error::Invalid)?;
        Ok(plan::plan(
            imported,
            prune,
            configuration,
            &self.keyring,
            call.now,
        )?)
    }

    /// Does edits, if there are any; answers the revision and what is seen of them, which
    /// is nothing if they were done before.
    async fn carry_out(
        &self,
        doing: Doing<'_>,
        edits: Vec<Edit>,
        places: &Places,
    ) -> Result<(u64, Vec<admin::ConfigChange>), Error> {
        let Doing {
            call,
            target,
            based_on,
            idempotency,
        } = doing;
        check_role(call, &edits)?;
        if edits.is_empty() && idempotency.is_none() {
            return Ok((based_on, Vec::new()));
        }
        let shown: Vec<Shown> = edits.iter().filter_map(|edit| edit.shown(places)).collect();
        let audit = call.audit(target).with_summaries(None, Some(summary_of(&shown)));
        let changes = configuration::changes(edits, based_on);
        match self.commits.create(changes, audit, idempotency).await? {
            Created::New { revision } => Ok((revision, shown.into_iter().map(change_to_proto).collect())),
            Created::Before { id } => Ok((id.parse().map_err(Error::internal)?, Vec::new())),
        }
    }

    async fn not_kept(&self, from: u64, to: u64) -> Result<Error, Error> {
        let (oldest, newest) = self.store.kept_revisions().await?;
        let is_kept = |revision: u64| (oldest..=newest).contains(&revision);
        let field = if is_kept(from) && !is_kept(to) {
            "to_revision"
        } else {
            "from_revision"
        };
        let reason = format!("is not kept: the oldest revision is {oldest}, the newest {newest}");
        Ok(Error::invalid(field, reason))
    }
}

/// What is carried out, by whom and on what.
struct Doing<'a> {
    call: &'a Call,
    target: &'a str,
    based_on: u64,
    idempotency: Option<Idempotency>,
}

/// Nobody gets around the settings that only an admin may change.
fn check_role(call: &Call, edits: &[Edit]) -> Result<(), Error> {
    if configuration::touches_security(edits) && call.caller.role != Role::Admin {
        return Err(Error::RoleRefused {
            role: call.caller.role,
        });
    }
    Ok(())
}

/// What the audit log says: every thing and the names of its fields.
fn summary_of(shown: &[Shown]) -> Summary {
    let lines: Vec<String> = shown.iter().map(Shown::to_string).collect();
    document::summary(document::note(&lines.join("; ")))
}

fn change_to_proto(shown: Shown) -> admin::ConfigChange {
    let Shown {
        action,
        target,
        fields,
    } = shown;
    let action = match action {
        Action::Create => admin::ChangeAction::Create,
        Action::Update => admin::ChangeAction::Update,
        Action::Delete => admin::ChangeAction::Delete,
    };
    let field = |field: FieldChange| {
        let FieldChange { path, before, after } = field;
        let text =
            |value: Option<serde_json::Value>| value.map(|value| value.to_string()).unwrap_or_default();
        admin::FieldChange {
            path,
            before: text(before),
            after: text(after),
        }
    };
    admin::ConfigChange {
        action: action.into(),
        target,
        fields: fields.into_iter().map(field).collect(),
    }
}
