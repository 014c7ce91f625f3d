//! How long commits take. It measures, so it runs only when it is asked for.

use std::time::Instant;

use super::*;

const COMMITS: usize = 1_000;

async fn measure(what: &str, home: &Home) {
    let store = home.open();
    commit(&store, vec![Change::PutUser(user(1), Expect::Absent)])
        .await
        .unwrap();
    let put = |n: usize| {
        let mut key = api_key(1, 1);
        key.id = KeyId::parse(&format!("key{n:09}")).unwrap();
        vec![Change::PutApiKey(key, Expect::Absent)]
    };
    let mut took = Vec::new();
    for n in 0..COMMITS {
        let started = Instant::now();
        commit(&store, put(n)).await.unwrap();
        took.push(started.elapsed());
    }
    took.sort();
    let started = Instant::now();
    let at_once = (0..COMMITS).map(|n| commit(&store, put(COMMITS + n)));
    futures_util::future::try_join_all(at_once).await.unwrap();
    let at_once = started.elapsed();
    store.close().await;
    drop(store);
    let started = Instant::now();
    assert_eq!(home.open().api_keys().await.unwrap().len(), 2 * COMMITS);
    println!(
        "figure: {what}: {COMMITS} keys one after the other p50 {:?}, p99 {:?}; {COMMITS} at once in {at_once:?}; \
         opened and {} keys read in {:?}",
        took[COMMITS / 2],
        took[COMMITS * 99 / 100],
        2 * COMMITS,
        started.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures"]
async fn commits_on_both_stores() {
    measure("sled", &Home::new()).await;
    if let Some(home) = Home::in_database() {
        measure("postgres", &home).await;
    }
}
