//! `StatsService`: what traffic was and what it cost. A `user` sees their own keys only.

mod group;
mod log;
mod owners;
mod series;
mod window;

use std::collections::BTreeSet;
use std::sync::Arc;

use bridge_proto::admin::v1 as admin;
use bridge_proto::admin::v1::stats_service_server::StatsService;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use self::group::Group;
use self::owners::Owners;
use self::series::Tally;
use self::window::Window;
use crate::domain::retention::Retention;
use crate::domain::usage::{Logged, Step, Subject};
use crate::grpc::call::Call;
use crate::grpc::page::page_size;
use crate::grpc::status::Error;
use crate::store::{LogAsk, Store, UsageAsk};

/// Sums that one answer may be made of.
const ROWS_MAX: usize = 100_000;
/// Entries that are looked at for one page: a rare one may be on the next.
const LOG_ROWS_MAX: usize = 20_000;
/// Answers that are worked out at the same time.
const AT_ONCE: usize = 2;

pub(crate) struct Stats {
    store: Store,
    turns: Arc<Semaphore>,
}

/// Whose traffic is asked for. `None` and empty: everybody's.
#[derive(Clone)]
struct Wanted {
    keys: Option<Arc<BTreeSet<String>>>,
    provider: String,
    upstream_model: String,
}

impl Wanted {
    fn covers(&self, key_id: &str, provider: &str, upstream_model: &str) -> bool {
        self.keys.as_ref().is_none_or(|keys| keys.contains(key_id))
            && (self.provider.is_empty() || self.provider == provider)
            && (self.upstream_model.is_empty() || self.upstream_model == upstream_model)
    }
}

impl Stats {
    pub(crate) fn new(store: Store) -> Self {
        Self {
            store,
            turns: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    async fn tally(
        &self,
        call: &Call,
        filter: &admin::StatsFilter,
        window: &Window,
        group: Group,
    ) -> Result<(Tally, Owners), Error> {
        let _turn = self.turns.acquire().await.map_err(Error::internal)?;
        let owners = Owners::read(&self.store, call, filter, group).await?;
        let wanted = self.wanted(call, filter, &owners);
        let tally = Tally::new(group, owners.by_key());
        let ask = UsageAsk {
            step: window.step,
            from_s: window.from_s,
            below_s: window.below_s,
            keep: Arc::new(move |subject: &Subject| {
                wanted.covers(&subject.key_id, &subject.provider, &subject.upstream_model)
            }),
            rows_max: ROWS_MAX,
        };
        let tally = self.store.fold_usage(ask, tally, Tally::add).await?;
        let too_wide = || {
            Error::invalid(
                "filter.since",
                format!(
                    "there are more than {ROWS_MAX} sums in this time; ask for a larger step or a shorter time"
                ),
            )
        };
        Ok((tally.ok_or_else(too_wide)?, owners))
    }

    fn wanted(&self, call: &Call, filter: &admin::StatsFilter, owners: &Owners) -> Wanted {
        Wanted {
            keys: owners.wanted(call, filter).map(Arc::new),
            provider: filter.provider.clone(),
            upstream_model: filter.upstream_model.clone(),
        }
    }

    async fn currency_and_retention(&self) -> Result<(String, Retention), Error> {
        let settings = self.store.settings().await?;
        let settings = settings.map(|stored| stored.value.to_draft()).unwrap_or_default();
        Ok((settings.currency, settings.retention))
    }

    async fn page(
        &self,
        call: &Call,
        request: admin::ListRequestsRequest,
    ) -> Result<admin::ListRequestsResponse, Error> {
        let filter = request.filter.clone().unwrap_or_default();
        let (from_ms, below_ms) = window::milliseconds(&filter, call.now)?;
        let status = log::Status::parse(&request.status)?;
        let size = page_size(request.page_size)?;
        let before = log::place(&request.page_token)?;
        let owners = Owners::read(&self.store, call, &filter, Group::All).await?;
        let wanted = self.wanted(call, &filter, &owners);
        let (request_id, model) = (request.request_id, request.model);
        let ask = LogAsk {
            from_ms,
            below_ms,
            before,
            keep: Arc::new(move |logged: &Logged| {
                let entry = &logged.entry;
                let (provider, upstream_model) = log::place_of(entry);
                wanted.covers(&entry.key_id, provider, upstream_model)
                    && status.covers(entry)
                    && entry.request_id.starts_with(&request_id)
                    && (model.is_empty() || entry.model == model)
            }),
            size,
            rows_max: LOG_ROWS_MAX,
        };
        let _turn = self.turns.acquire().await.map_err(Error::internal)?;
        let page = self.store.request_log(ask).await?;
        let names = owners::of_keys(
            &self.store,
            page.entries.iter().map(|logged| &*logged.entry.key_id),
        )
        .await?;
        Ok(admin::ListRequestsResponse {
            next_page_token: page.before.map(|key| log::token(&key)).unwrap_or_default(),
            requests: page
                .entries
                .into_iter()
                .map(|logged| log::record(logged, &names))
                .collect(),
        })
    }

    async fn one(&self, call: &Call, request_id: String) -> Result<admin::RequestRecord, Error> {
        let _turn = self.turns.acquire().await.map_err(Error::internal)?;
        let found = self.store.logged_request(&request_id).await?;
        let missing = || Error::NoSuchRequest { id: request_id };
        let Some(logged) = found else {
            return Err(missing());
        };
        let names = owners::of_keys(&self.store, [&*logged.entry.key_id].into_iter()).await?;
        if !names.reaches(call, &logged.entry.key_id) {
            return Err(missing());
        }
        Ok(log::record(logged, &names))
    }
}

#[tonic::async_trait]
impl StatsService for Stats {
    async fn get_summary(
        &self,
        request: Request<admin::GetSummaryRequest>,
    ) -> Result<Response<admin::GetSummaryResponse>, Status> {
        let call = Call::of(&request)?;
        let filter = request.into_inner().filter.unwrap_or_default();
        let (currency, retention) = self.currency_and_retention().await?;
        let window = Window::parse(&filter, None, call.now, &retention)?;
        let (tally, _) = self.tally(&call, &filter, &window, Group::All).await?;
        let sums = tally.total();
        Ok(Response::new(admin::GetSummaryResponse {
            dropped_reports: sums.dropped,
            sums: Some(series::sums(&sums)),
            currency,
            since: Some(window::timestamp(window.from_s)),
            until: Some(window::timestamp(window.below_s)),
        }))
    }

    async fn get_token_usage(
        &self,
        request: Request<admin::GetTokenUsageRequest>,
    ) -> Result<Response<admin::GetTokenUsageResponse>, Status> {
        let call = Call::of(&request)?;
        let request = request.into_inner();
        let filter = request.filter.clone().unwrap_or_default();
        let (group, step) = (Group::parse(request.group)?, window::step(request.step)?);
        let groups_max = series::groups_max(request.groups_max)?;
        let (currency, retention) = self.currency_and_retention().await?;
        let window = Window::parse(&filter, step, call.now, &retention)?;
        let (tally, owners) = self.tally(&call, &filter, &window, group).await?;
        let names = owners.display_names(&self.store, group).await?;
        Ok(Response::new(admin::GetTokenUsageResponse {
            series: tally.into_series(groups_max, &names),
            step: match window.step {
                Step::Minute => admin::UsageStep::Minute,
                Step::Hour => admin::UsageStep::Hour,
                Step::Day => admin::UsageStep::Day,
            }
            .into(),
            currency,
        }))
    }

    async fn list_requests(
        &self,
        request: Request<admin::ListRequestsRequest>,
    ) -> Result<Response<admin::ListRequestsResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(self.page(&call, request.into_inner()).await?))
    }

    async fn get_request(
        &self,
        request: Request<admin::GetRequestRequest>,
    ) -> Result<Response<admin::GetRequestResponse>, Status> {
        let call = Call::of(&request)?;
        let found = self.one(&call, request.into_inner().request_id).await?;
        Ok(Response::new(admin::GetRequestResponse { request: Some(found) }))
    }
}
