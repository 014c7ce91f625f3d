//! What nodes report, and what is answered about it.

use bridge_proto::admin::v1::api_key_service_client::ApiKeyServiceClient;
use bridge_proto::admin::v1::settings_service_client::SettingsServiceClient;
use bridge_proto::admin::v1::stats_service_client::StatsServiceClient;
use bridge_proto::admin::v1::{self as admin, UsageGroup, UsageStep};
use bridge_proto::fleet::v1 as fleet;
use bridge_proto::fleet::v1::usage_service_client::UsageServiceClient;
use prost_types::FieldMask;
use tonic::service::interceptor::InterceptedService;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::{Bearer, Bridge, NODE_TOKEN, SignedIn};

const MINUTE: i64 = 60;

pub(super) async fn report(bridge: &Bridge, report: fleet::ReportRequest) -> Result<u64, Status> {
    let channel = bridge.channel(bridge.fleet).await;
    let mut client = UsageServiceClient::new(InterceptedService::new(channel, Bearer::new(NODE_TOKEN)));
    let answer = client.report(report).await?;
    Ok(answer.into_inner().counted_sequence)
}

fn now_s() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_secs().try_into().unwrap()
}

fn at(seconds: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds, nanos: 0 })
}

fn tokens() -> Option<fleet::TokenCounts> {
    Some(fleet::TokenCounts {
        input: 1_000,
        output: 500,
        cache_read: 0,
        cache_creation: 0,
    })
}

/// Two requests of a key, one of which failed.
pub(super) fn batch(sequence: u64, key_id: &str, model: &str) -> fleet::ReportRequest {
    let ms = |ms: i32| {
        Some(prost_types::Duration {
            seconds: 0,
            nanos: ms * 1_000_000,
        })
    };
    let entry = |name: &str, status: u32, error: &str| fleet::RequestLogEntry {
        request_id: format!("req_{name}_{sequence}"),
        started_at: at(now_s() - 1),
        key_id: key_id.to_owned(),
        model: "haiku".into(),
        http_status: status,
        error_type: error.into(),
        tokens: tokens(),
        latency: ms(70),
        first_token: ms(20),
        attempts: vec![fleet::AttemptLog {
            provider: "p".into(),
            upstream_model: model.into(),
            http_status: 200,
            outcome: "ok".into(),
            latency: ms(60),
        }],
        ..Default::default()
    };
    fleet::ReportRequest {
        node_id: "node-1".into(),
        boot_id: "boot-1".into(),
        sequence,
        rollups: vec![fleet::UsageRollup {
            minute: at(now_s() / MINUTE * MINUTE),
            key_id: key_id.to_owned(),
            provider: "p".into(),
            upstream_model: model.into(),
            requests: 2,
            errors: [("api_error".to_owned(), 1)].into(),
            tokens: tokens(),
            estimated_requests: 1,
            latency: Some(fleet::Histogram {
                buckets: vec![0, 0, 0, 0, 0, 0, 1, 1],
                sum: ms(150),
            }),
            first_token: None,
            answered_calls: 1,
            failed_calls: 1,
        }],
        requests: vec![entry("good", 200, ""), entry("bad", 502, "api_error")],
        dropped_rollups: 0,
        dropped_requests: 3,
    }
}

async fn key(client: SignedIn, name: &str) -> String {
    let limits = fleet::KeyLimits {
        requests_per_minute: Some(60),
        budgets: vec![fleet::Budget {
            period: fleet::BudgetPeriod::Month.into(),
            amount: Some(fleet::budget::Amount::CostMicros(1_000_000)),
            ..Default::default()
        }],
        ..Default::default()
    };
    let request = admin::CreateApiKeyRequest {
        name: name.into(),
        limits: Some(limits),
        ..Default::default()
    };
    let made = ApiKeyServiceClient::new(client).create_api_key(request).await;
    made.unwrap().into_inner().api_key.unwrap().id
}

async fn set_prices(bridge: &Bridge) {
    let settings = admin::Settings {
        prices: vec![fleet::ModelPrice {
            provider: "p".into(),
            model: "dear-*".into(),
            input: 2_000_000,
            output: 10_000_000,
            ..Default::default()
        }],
        currency: "EUR".into(),
        ..Default::default()
    };
    let request = admin::UpdateSettingsRequest {
        settings: Some(settings),
        update_mask: Some(FieldMask {
            paths: vec!["prices".into(), "currency".into()],
        }),
        revision: 0,
    };
    let mut client = SettingsServiceClient::new(bridge.admin().await);
    client.update_settings(request).await.unwrap();
}

#[tokio::test]
async fn what_is_reported_is_counted_once_priced_and_told() {
    let bridge = Bridge::start().await;
    set_prices(&bridge).await;
    let id = key(bridge.admin().await, "ci").await;
    assert_eq!(report(&bridge, batch(1, &id, "dear-1")).await.unwrap(), 1);
    assert_eq!(report(&bridge, batch(1, &id, "dear-1")).await.unwrap(), 1);
    assert_eq!(report(&bridge, batch(2, &id, "free-1")).await.unwrap(), 2);

    let mut stats = StatsServiceClient::new(bridge.admin().await);
    let summary = stats.get_summary(admin::GetSummaryRequest::default()).await;
    let summary = summary.unwrap().into_inner();
    assert_eq!((&*summary.currency, summary.dropped_reports), ("EUR", 6));
    let sums = summary.sums.unwrap();
    assert_eq!((sums.requests, sums.errors, sums.estimated_requests), (4, 2, 2));
    assert_eq!((sums.cost_micros, sums.unpriced_requests), (2_000 + 5_000, 1));
    assert_eq!(sums.latency.unwrap().p50.unwrap().nanos, 64_000_000);

    let asked = admin::GetTokenUsageRequest {
        group: UsageGroup::Model.into(),
        step: UsageStep::Minute.into(),
        ..Default::default()
    };
    let usage = stats.get_token_usage(asked).await.unwrap().into_inner();
    let groups: Vec<_> = usage.series.iter().map(|series| &*series.group).collect();
    assert_eq!(groups, ["dear-1", "free-1"]);
    assert_eq!(usage.series[0].points.len(), 1);

    let asked = admin::ListRequestsRequest {
        status: "5xx".into(),
        page_size: 1,
        ..Default::default()
    };
    let first = stats.list_requests(asked.clone()).await.unwrap().into_inner();
    assert_eq!((first.requests.len(), &*first.requests[0].key_name), (1, "ci"));
    let next = admin::ListRequestsRequest {
        page_token: first.next_page_token,
        ..asked
    };
    let second = stats.list_requests(next).await.unwrap().into_inner();
    let names: Vec<_> = [&first.requests[0], &second.requests[0]]
        .iter()
        .map(|record| record.entry.as_ref().unwrap().request_id.clone())
        .collect();
    assert_eq!(names, ["req_bad_2", "req_bad_1"]);
    assert_eq!(second.requests[0].cost_micros, Some(7_000));
    assert_eq!(first.requests[0].cost_micros, None, "there is no price");

    let asked = admin::GetRequestRequest {
        request_id: "req_good_1".into(),
    };
    let found = stats
        .get_request(asked)
        .await
        .unwrap()
        .into_inner()
        .request
        .unwrap();
    assert_eq!(found.node_id, "node-1");

    let mut keys = ApiKeyServiceClient::new(bridge.admin().await);
    let asked = admin::GetApiKeyRequest { id };
    let key = keys
        .get_api_key(asked)
        .await
        .unwrap()
        .into_inner()
        .api_key
        .unwrap();
    let last_used = key.last_used_at.unwrap().seconds;
    assert!(last_used % MINUTE == 0 && now_s() - last_used < 2 * MINUTE);
    let budget = &key.limits.unwrap().budgets[0];
    assert_eq!(budget.used, 7_000);
    assert!(budget.resets_at.unwrap().seconds > now_s());
}

#[tokio::test]
async fn a_user_sees_their_own_traffic_and_nobody_elses() {
    let bridge = Bridge::start().await;
    let ann = bridge.add_user("ann@example.com", admin::Role::User, false).await;
    let (hers, others) = (
        key(bridge.signed_in("ann@example.com").await, "hers").await,
        key(bridge.admin().await, "others").await,
    );
    report(&bridge, batch(1, &hers, "m")).await.unwrap();
    report(&bridge, batch(2, &others, "m")).await.unwrap();
    report(&bridge, batch(3, "", "m")).await.unwrap();

    let mut admin_stats = StatsServiceClient::new(bridge.admin().await);
    let mut stats = StatsServiceClient::new(bridge.signed_in("ann@example.com").await);
    let requests = |summary: admin::GetSummaryResponse| summary.sums.unwrap().requests;
    let all = admin_stats.get_summary(admin::GetSummaryRequest::default()).await;
    assert_eq!(requests(all.unwrap().into_inner()), 6);
    let own = stats.get_summary(admin::GetSummaryRequest::default()).await;
    assert_eq!(requests(own.unwrap().into_inner()), 2);
    for (filter, expected) in [
        (
            admin::StatsFilter {
                key_id: others.clone(),
                ..Default::default()
            },
            0,
        ),
        (
            admin::StatsFilter {
                owner_user_id: ann.id.clone(),
                ..Default::default()
            },
            2,
        ),
        (
            admin::StatsFilter {
                provider: "other".into(),
                ..Default::default()
            },
            0,
        ),
    ] {
        let asked = admin::GetSummaryRequest { filter: Some(filter) };
        let answer = stats.get_summary(asked).await.unwrap().into_inner();
        assert_eq!(requests(answer), expected);
    }
    let own = stats
        .list_requests(admin::ListRequestsRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(own.requests.len(), 2);
    assert!(own.requests.iter().all(|record| record.owner_user_id == ann.id));
    let request_id = "req_good_2".to_owned();
    let hidden = stats.get_request(admin::GetRequestRequest { request_id }).await;
    assert_eq!(hidden.unwrap_err().code(), Code::NotFound);
    let by_user = admin::GetTokenUsageRequest {
        group: UsageGroup::User.into(),
        ..Default::default()
    };
    let usage = admin_stats.get_token_usage(by_user).await.unwrap().into_inner();
    let shown: Vec<_> = usage.series.iter().map(|series| &*series.display_name).collect();
    assert!(
        shown.contains(&"ann@example.com") && shown.contains(&""),
        "{shown:?}"
    );
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_whole() {
    let bridge = Bridge::start().await;
    let mut wrong = batch(0, "no key", "m");
    wrong.node_id = "a\nb".into();
    wrong.rollups[0].minute = None;
    let status = report(&bridge, wrong).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let fields: Vec<_> = status
        .get_details_bad_request()
        .unwrap()
        .field_violations
        .into_iter()
        .map(|violation| violation.field)
        .collect();
    for field in [
        "node_id",
        "sequence",
        "rollups[0].minute",
        "rollups[0].key_id",
        "requests[1].key_id",
    ] {
        assert!(fields.iter().any(|found| found == field), "{field}: {fields:?}");
    }
    let mut stats = StatsServiceClient::new(bridge.admin().await);
    let wide = admin::GetTokenUsageRequest {
        filter: Some(admin::StatsFilter {
            since: at(now_s() - 30 * 86_400),
            ..Default::default()
        }),
        step: UsageStep::Minute.into(),
        ..Default::default()
    };
    let status = stats.get_token_usage(wide).await.unwrap_err();
    assert_eq!(
        status.get_details_bad_request().unwrap().field_violations[0].field,
        "step"
    );
}
