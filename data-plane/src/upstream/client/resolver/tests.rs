use std::{
    collections::VecDeque,
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
};

use super::*;

fn addresses(text: &str) -> Vec<IpAddr> {
    text.split(' ').map(|address| address.parse().unwrap()).collect()
}

/// Answers one after the other; the last one again and again.
fn scripted(answers: &[&str]) -> Resolver {
    let answers: Mutex<VecDeque<String>> = Mutex::new(answers.iter().map(|text| (*text).into()).collect());
    let look_up = move |_: &str| {
        let mut answers = answers.lock().unwrap();
        let answer = if answers.len() > 1 {
            answers.pop_front()
        } else {
            answers.front().cloned()
        };
        match answer.as_deref() {
            None | Some("") => Err(io::Error::other("no such name")),
            Some(text) => Ok(addresses(text)),
        }
    };
    Resolver::new(Box::new(look_up), Rules::default(), Counter::default())
}

/// As if so much time had passed since the last answer.
fn age(resolver: &Resolver, name: &str, by: Duration) {
    let mut table = resolver.table();
    let (addresses, _) = table.best(name, Instant::now()).unwrap();
    let then = Instant::now().checked_sub(by).unwrap();
    table.found(name, addresses, then);
}

#[tokio::test]
async fn a_name_that_moves_to_where_nobody_may_be_is_refused() {
    let resolver = scripted(&["192.0.2.1", "169.254.169.254"]);
    assert!(resolver.addresses_allowed("model").await.is_ok());
    age(&resolver, "model", Duration::from_secs(11));
    assert_eq!(resolver.addresses_allowed("model").await, Err(Refusal::Denied));
    // Also when nothing better is known.
    age(&resolver, "model", Duration::from_secs(2));
    assert_eq!(resolver.addresses_allowed("model").await, Err(Refusal::Denied));
}

#[tokio::test]
async fn of_several_addresses_only_those_allowed_are_called() {
    let resolver = scripted(&["169.254.169.254 192.0.2.1 ::ffff:169.254.169.254 fe80::1"]);
    assert_eq!(
        resolver.addresses_allowed("model").await.unwrap(),
        ["192.0.2.1:0".parse().unwrap()]
    );
}

#[tokio::test]
async fn what_is_known_serves_while_name_servers_are_down() {
    let resolver = scripted(&["192.0.2.1", ""]);
    resolver.addresses_allowed("model").await.unwrap();
    age(&resolver, "model", Duration::from_secs(299));
    assert_eq!(
        resolver.addresses_allowed("model").await.unwrap(),
        ["192.0.2.1:0".parse().unwrap()]
    );
    assert_eq!(resolver.0.stale.get(), 1);
    age(&resolver, "model", Duration::from_secs(301));
    assert_eq!(resolver.addresses_allowed("model").await, Err(Refusal::NotFound));
}

/// Holds every question back until it is let go.
fn held() -> (Resolver, mpsc::Sender<()>, Arc<AtomicUsize>) {
    let (let_go, gate) = mpsc::channel();
    let gate = Mutex::new(gate);
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let look_up = move |_: &str| {
        count.fetch_add(1, Ordering::SeqCst);
        gate.lock().unwrap().recv().ok();
        Ok(addresses("192.0.2.1"))
    };
    let resolver = Resolver::new(Box::new(look_up), Rules::default(), Counter::default());
    (resolver, let_go, asked)
}

#[tokio::test]
async fn a_name_is_asked_for_once_however_many_wait() {
    let (resolver, let_go, asked) = held();
    let waiting: Vec<_> = (0..50).map(|_| resolver.addresses_allowed("model")).collect();
    let all = futures_util::future::join_all(waiting);
    let answers = async {
        tokio::task::yield_now().await;
        let_go.send(()).unwrap();
    };
    let (found, ()) = tokio::join!(all, answers);
    assert!(found.iter().all(Result::is_ok));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn no_more_questions_than_threads_for_them() {
    let (resolver, let_go, asked) = held();
    let names: Vec<String> = (0..LOOKUPS_MAX + 5)
        .map(|number| format!("name-{number}"))
        .collect();
    let waiting = names.iter().map(|name| resolver.addresses_allowed(name));
    let all = futures_util::future::join_all(waiting);
    let answers = async {
        while asked.load(Ordering::SeqCst) < LOOKUPS_MAX {
            tokio::task::yield_now().await;
        }
        drop(let_go);
    };
    let (found, ()) = tokio::join!(all, answers);
    let refused = found.iter().filter(|found| found.is_err()).count();
    assert_eq!((asked.load(Ordering::SeqCst), refused), (LOOKUPS_MAX, 5));
}

#[tokio::test]
async fn the_system_knows_this_machine() {
    let resolver = Resolver::system(Rules::default(), Counter::default());
    assert!(resolver.addresses_allowed("localhost").await.is_ok());
    assert_eq!(
        resolver.addresses_allowed("name.invalid").await,
        Err(Refusal::NotFound)
    );
}
