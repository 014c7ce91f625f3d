//! `ConfigService`: how the configuration became what it is, and all of it as one file.

mod revisions;

use bridge_proto::admin::v1 as admin;
use bridge_proto::admin::v1::config_service_server::ConfigService;
use tonic::{Request, Response, Status};

use crate::configuration::compare::FieldChange;
use crate::configuration::{self, Action, Edit, Places, Shown, rollback};
use crate::document;
use crate::domain::audit::Summary;
use crate::domain::user::Role;
use crate::grpc::call::Call;
use crate::grpc::commits::{self, Commits};
use crate::grpc::status::Error;
use crate::snapshot::nodes::Nodes;
use crate::store::{Between, Store};

pub(crate) struct Config {
    pub(crate) store: Store,
    pub(crate) commits: Commits,
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
        let done = commits::update(request.revision, || self.roll_back(&call, request.clone())).await?;
        Ok(Response::new(done))
    }

    async fn export(
        &self,
        _request: Request<admin::ExportRequest>,
    ) -> Result<Response<admin::ExportResponse>, Status> {
        Err(Status::unimplemented("not offered"))
    }

    async fn plan(
        &self,
        _request: Request<admin::PlanRequest>,
    ) -> Result<Response<admin::PlanResponse>, Status> {
        Err(Status::unimplemented("not offered"))
    }

    async fn apply(
        &self,
        _request: Request<admin::ApplyRequest>,
    ) -> Result<Response<admin::ApplyResponse>, Status> {
        Err(Status::unimplemented("not offered"))
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
        let done = Doing {
            call,
            target: &target,
            current,
            is_dry: dry_run,
        };
        let (revision, changes) = self.carry_out(done, edits, &places).await?;
        Ok(admin::RollbackResponse {
            revision,
            changes,
            notes,
        })
    }

    /// Does edits, if there are any; answers the revision and what is seen of them.
    async fn carry_out(
        &self,
        doing: Doing<'_>,
        edits: Vec<Edit>,
        places: &Places,
    ) -> Result<(u64, Vec<admin::ConfigChange>), Error> {
        let Doing {
            call,
            target,
            current,
            is_dry,
        } = doing;
        if configuration::touches_security(&edits) && call.caller.role != Role::Admin {
            return Err(Error::RoleRefused {
                role: call.caller.role,
            });
        }
        let shown: Vec<Shown> = edits.iter().filter_map(|edit| edit.shown(places)).collect();
        let audit = call.audit(target).with_summaries(None, Some(summary_of(&shown)));
        let revision = if is_dry || edits.is_empty() {
            current
        } else {
            let changes = configuration::changes(edits, current);
            self.commits.commit(changes, audit).await?
        };
        Ok((revision, shown.into_iter().map(change_to_proto).collect()))
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
    current: u64,
    is_dry: bool,
}

/// What the audit log says: every thing and the names of its fields.
fn summary_of(shown: &[Shown]) -> Summary {
    let line = |shown: &Shown| {
        let action = match shown.action {
            Action::Create => "create",
            Action::Update => "update",
            Action::Delete => return format!("delete {}", shown.target),
        };
        let fields: Vec<&str> = shown.fields.iter().map(|field| field.path.as_str()).collect();
        format!("{action} {}: {}", shown.target, fields.join(" "))
    };
    let lines: Vec<String> = shown.iter().map(line).collect();
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
