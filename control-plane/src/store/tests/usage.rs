//! What traffic was: counted once, kept as long as it is said, and apart from the rest.

use std::sync::Arc;

use super::{Home, api_key, commit, key_id, user};
use crate::{
    domain::{
        limits::Period,
        retention::Retention,
        usage::{Boot, Calls, Entry, Histogram, Logged, Report, Rollup, Step, Subject, Sums, Tokens},
    },
    store::{Change, Cursor, Expect, LogAsk, Store, UsageAsk},
};

const DAY: u64 = 86_400;
/// A Wednesday in the middle of a month: 2024-05-15 10:00.
const TODAY: u64 = 1_715_767_200;

fn report(sequence: u64, minute_s: u64) -> Report {
    let sums = Sums {
        requests: 2,
        errors: [("api_error".to_owned(), 1)].into(),
        tokens: Tokens {
            input: 10,
            output: 5,
            cache_read: 2,
            cache_creation: 1,
        },
        cost_micros: 7,
        latency: Histogram::of(&[0, 2], 3),
        calls: Calls {
            answered: 1,
            failed: 2,
        },
        ..Sums::default()
    };
    Report {
        boot: Boot {
            node_id: "n".into(),
            boot_id: "b".into(),
        },
        sequence,
        rollups: vec![Rollup {
            minute_s,
            subject: Subject {
                key_id: key_id(1).to_string(),
                provider: "p".into(),
                upstream_model: "m".into(),
            },
            sums,
        }],
        entries: vec![entry(&format!("req_{sequence}"), minute_s)],
        dropped: 0,
    }
}

fn entry(id: &str, at_s: u64) -> Logged {
    Logged {
        entry: Entry {
            request_id: id.into(),
            started_ms: at_s * 1_000,
            key_id: key_id(1).to_string(),
            model: "haiku".into(),
            is_stream: true,
            http_status: 200,
            error_type: String::new(),
            stop_reason: "end_turn".into(),
            tokens: Tokens::default(),
            is_estimated: false,
            latency_ms: 5,
            first_token_ms: Some(3),
            attempts: vec![],
            losses: vec!["top_k".into()],
            config_revision: 3,
        },
        node_id: "n".into(),
        cost_micros: Some(7),
    }
}

async fn rows(store: &Store, step: Step) -> Vec<(u64, u64)> {
    let ask = UsageAsk {
        step,
        from_s: 0,
        below_s: u64::MAX,
        keep: Arc::new(|_| true),
        rows_max: 10_000,
    };
    let add = |rows: &mut Vec<(u64, u64)>, start, _, sums: &Sums| rows.push((start, sums.requests));
    store.fold_usage(ask, Vec::new(), add).await.unwrap().unwrap()
}

async fn log(store: &Store) -> Vec<String> {
    let (mut names, mut before) = (Vec::new(), None);
    loop {
        let ask = LogAsk {
            from_ms: 0,
            below_ms: u64::MAX,
            before,
            keep: Arc::new(|_| true),
            size: 3,
            rows_max: 1_000,
        };
        let page = store.request_log(ask).await.unwrap();
        names.extend(page.entries.into_iter().map(|logged| logged.entry.request_id));
        before = page.before;
        if before.is_none() {
            return names;
        }
    }
}

#[tokio::test]
async fn a_report_counts_once_and_in_every_step() {
    let home = Home::new();
    let store = home.open();
    commit(
        &store,
        vec![
            Change::PutUser(user(1), Expect::Absent),
            Change::PutApiKey(api_key(1, 1), Expect::Absent),
        ],
    )
    .await
    .unwrap();
    let before = store.version();
    for sequence in [1, 1, 2, 1] {
        store.count_usage(report(sequence, TODAY), TODAY).await.unwrap();
    }
    assert_eq!(store.counted_sequence(&report(1, 0).boot).await.unwrap(), 2);
    for step in Step::ALL {
        assert_eq!(rows(&store, step).await, [(step.start(TODAY), 4)], "{step:?}");
    }
    let usage = &store.key_usage(vec![key_id(1)]).await.unwrap()[key_id(1).as_str()];
    assert_eq!((usage.last_used_s, usage.owner), (TODAY, Some(super::id(1))));
    for period in Period::ALL {
        let spent = usage.spent[&period];
        assert_eq!((spent.tokens, spent.cost_micros), (36, 14), "{period:?}");
    }
    assert_eq!(log(&store).await, ["req_2", "req_1"]);
    let logged = store.logged_request("req_1").await.unwrap();
    assert_eq!(logged, Some(entry("req_1", TODAY)));
    assert_eq!(store.logged_request("req_").await.unwrap(), None);
    assert_eq!(store.version(), before, "traffic is no change of configuration");
    store.close().await;
    drop(store);
    assert_eq!(rows(&home.open(), Step::Day).await.len(), 1, "it survives");
}

#[tokio::test]
async fn budgets_begin_anew_and_late_reports_do_not_bring_them_back() {
    let store = Home::new();
    let store = store.open();
    let spent = async |period| {
        let usage = store.key_usage(vec![key_id(1)]).await.unwrap();
        usage[key_id(1).as_str()].spent[&period].tokens
    };
    store.count_usage(report(1, TODAY), TODAY).await.unwrap();
    store
        .count_usage(report(2, TODAY + DAY), TODAY + DAY)
        .await
        .unwrap();
    assert_eq!((spent(Period::Day).await, spent(Period::Week).await), (18, 36));
    store.count_usage(report(3, TODAY), TODAY + DAY).await.unwrap();
    assert_eq!((spent(Period::Day).await, spent(Period::Week).await), (18, 54));
    store
        .count_usage(report(4, TODAY + 5 * DAY), TODAY + 5 * DAY)
        .await
        .unwrap();
    assert_eq!((spent(Period::Week).await, spent(Period::Month).await), (18, 72));
    store
        .count_usage(report(5, TODAY + 20 * DAY), TODAY + 20 * DAY)
        .await
        .unwrap();
    assert_eq!(spent(Period::Month).await, 18);
}

#[tokio::test]
async fn what_is_old_is_dropped_and_the_log_stays_within_its_bounds() {
    let home = Home::new();
    let store = home.open();
    let retention = Retention {
        minute_hours: 1,
        hour_days: 1,
        day_days: 2,
        request_hours: 2,
        request_entries: 4,
    };
    let old = TODAY - 3 * DAY;
    for (sequence, minute) in [(1, old), (2, TODAY - 2 * 3_600), (3, TODAY)] {
        store.count_usage(report(sequence, minute), TODAY).await.unwrap();
    }
    let sweep = async || {
        let swept = store
            .sweep_usage(TODAY, retention, Cursor::default())
            .await
            .unwrap();
        swept.rows
    };
    // The old minute, hour, day and entry; the minute that is two hours old; the key is gone
    // but was used just now.
    assert_eq!(sweep().await, 4 + 1);
    assert_eq!(sweep().await, 0);
    assert_eq!(rows(&store, Step::Minute).await, [(TODAY, 2)]);
    assert_eq!(rows(&store, Step::Hour).await.len(), 2);
    let mut many = report(4, TODAY);
    many.rollups.clear();
    many.entries = (0..10).map(|n| entry(&format!("many_{n}"), TODAY + n)).collect();
    store.count_usage(many, TODAY).await.unwrap();
    assert_eq!(sweep().await, 12 - 4);
    assert_eq!(log(&store).await, ["many_9", "many_8", "many_7", "many_6"]);
    let late = TODAY + 60 * DAY;
    let swept = store
        .sweep_usage(late, retention, Cursor::default())
        .await
        .unwrap();
    assert!(swept.rows > 4, "all of it, the key and the boot too: {swept:?}");
    assert_eq!(store.key_usages().await.unwrap().len(), 0);
    assert_eq!(store.counted_sequence(&report(1, 0).boot).await.unwrap(), 0);
}

#[tokio::test]
async fn more_than_may_be_looked_at_is_told() {
    let home = Home::new();
    let store = home.open();
    let mut wide = report(1, TODAY);
    wide.rollups = (0..20)
        .map(|n| Rollup {
            minute_s: TODAY + 60 * n,
            ..wide.rollups[0].clone()
        })
        .collect();
    store.count_usage(wide, TODAY).await.unwrap();
    let ask = |rows_max| UsageAsk {
        step: Step::Minute,
        from_s: 0,
        below_s: u64::MAX,
        keep: Arc::new(|_| true),
        rows_max,
    };
    let add = |count: &mut usize, _, _, _: &Sums| *count += 1;
    assert_eq!(store.fold_usage(ask(20), 0, add).await.unwrap(), Some(20));
    assert_eq!(store.fold_usage(ask(19), 0, add).await.unwrap(), None);
}
