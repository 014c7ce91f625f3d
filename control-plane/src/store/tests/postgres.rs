//! What only a database can do: several stores on it, connections that are lost, and
//! a server that crashes.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use bridge_throwaway_postgres::Server;
use futures_util::future::join_all;
use tokio::task::JoinSet;

use super::*;

const DEADLINE: Duration = Duration::from_secs(30);

fn put_user(n: u8) -> Vec<Change> {
    vec![Change::PutUser(user(n), Expect::Absent)]
}

async fn wait_for_revision(store: &Store, revision: u64) {
    let mut told = store.revisions();
    let reached = told.wait_for(|told| *told >= revision);
    tokio::time::timeout(DEADLINE, reached).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_of_one_database_write_side_by_side() {
    const EACH: u64 = 150;
    let Some(home) = Home::in_database() else { return };
    let stores = [home.open(), home.open()];
    assert_eq!(stores[0].version(), stores[1].version());
    let commits = (0..2 * EACH).map(|n| {
        let store = stores[(n % 2) as usize].clone();
        async move {
            let changes = vec![Change::PutSettings(settings(1 + (n % 20) as u32), Expect::Any)];
            commit(&store, changes).await.unwrap().revision
        }
    });
    let mut revisions = join_all(commits).await;
    revisions.sort_unstable();
    assert!(
        revisions.into_iter().eq(1..=2 * EACH),
        "each has a revision of its own"
    );
    for store in &stores {
        wait_for_revision(store, 2 * EACH).await;
        assert_eq!(store.audit(0, 1_000).await.unwrap().len() as u64, 2 * EACH);
    }
    let changed = commit(&stores[0], put_user(1)).await.unwrap().revision;
    let conflict = vec![Change::PutUser(user(1), Expect::Revision(changed - 1))];
    assert!(matches!(
        commit(&stores[1], conflict).await,
        Err(CommitError::Conflict { current, .. }) if current == changed
    ));
    // It is verified when it is opened.
    assert_eq!(home.open().version().revision, changed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_is_lost_misses_nothing() {
    let Some(home) = Home::in_database() else { return };
    let Home::Database(database) = &home else {
        return;
    };
    let (listening, writing) = (home.open(), home.open());
    commit(&writing, put_user(1)).await.unwrap();
    wait_for_revision(&listening, 1).await;
    for n in 2..=5 {
        database
            .sql(
                "select pg_terminate_backend(pid) from pg_stat_activity
                where datname = current_database() and query ilike 'listen%'",
            )
            .unwrap();
        commit(&writing, put_user(n)).await.unwrap();
        wait_for_revision(&listening, u64::from(n)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_crash_of_the_server() {
    const ROUNDS: u8 = 4;
    const PER_ROUND: u8 = 20;
    let Some(mut server) = Server::start().unwrap() else {
        return;
    };
    let url = server.new_database().unwrap();
    let store = on_a_thread(|| Store::connect(&url.as_str().into())).unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..ROUNDS {
        let mut writing = JoinSet::new();
        for n in 0..PER_ROUND {
            let (store, n) = (store.clone(), round * PER_ROUND + n);
            writing.spawn(async move { (n, commit(&store, put_user(n)).await) });
        }
        // Somewhere among them.
        let target = store.version().revision + u64::from(round);
        wait_for_revision(&store, target).await;
        on_a_thread(|| server.restart()).unwrap();
        for (n, result) in writing.join_all().await {
            match result {
                Ok(Committed { revision }) => acknowledged.push((n, revision)),
                Err(CommitError::Unavailable | CommitError::Unknown) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
    let survivor = on_a_thread(|| Store::connect(&url.as_str().into())).unwrap();
    let users = survivor.users().await.unwrap();
    for (n, revision) in &acknowledged {
        assert!(
            users
                .iter()
                .any(|user| user.value.id == id(*n) && user.revision == *revision)
        );
    }
    let revision = survivor.version().revision;
    assert_eq!(
        users.len() as u64,
        revision,
        "each is there whole, with its revision"
    );
    assert_eq!(survivor.audit(0, 1_000).await.unwrap().len() as u64, revision);
    println!("{} acknowledged of {}", acknowledged.len(), ROUNDS * PER_ROUND);
    assert!(!acknowledged.is_empty());
}

const OFF: u8 = 0;
/// Cuts the connection in place of the next `commit`.
const BEFORE: u8 = 1;
/// Lets the next `commit` through and cuts the connection before its answer.
const AFTER: u8 = 2;

/// A way to the server that is cut at a commit, once each time it is told to.
struct Cutter {
    port: u16,
    mode: Arc<AtomicU8>,
}

impl Cutter {
    fn start(database: &Database) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, mode) = (
            listener.local_addr().unwrap().port(),
            Arc::new(AtomicU8::new(OFF)),
        );
        let (socket, shared) = (database.socket().to_owned(), Arc::clone(&mode));
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, mode) = (client.unwrap(), Arc::clone(&shared));
                let Ok(server) = UnixStream::connect(&socket) else {
                    continue;
                };
                thread::spawn(move || forward(client, server, &mode));
            }
        });
        Self { port, mode }
    }

    fn arm(&self, mode: u8) {
        self.mode.store(mode, Ordering::SeqCst);
    }

    fn is_spent(&self) -> bool {
        self.mode.load(Ordering::SeqCst) == OFF
    }
}

fn forward(mut client: TcpStream, mut server: UnixStream, mode: &AtomicU8) {
    const COMMIT: &[u8] = b"commit\0";
    let (mut back_from, mut back_to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let answers = thread::spawn(move || std::io::copy(&mut back_from, &mut back_to));
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = client.read(&mut bytes) {
        let sent = &bytes[..read];
        let cut = if sent.windows(COMMIT.len()).any(|window| window == COMMIT) {
            mode.swap(OFF, Ordering::SeqCst)
        } else {
            OFF
        };
        if cut == AFTER {
            client.shutdown(Shutdown::Both).unwrap();
        }
        if cut == BEFORE || server.write_all(sent).is_err() || cut == AFTER {
            break;
        }
    }
    // The other end may be gone already.
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Write);
    let _ = answers.join();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_lost_at_the_commit_neither_loses_nor_doubles_it() {
    let Some(home) = Home::in_database() else { return };
    let Home::Database(database) = &home else {
        return;
    };
    let cutter = Cutter::start(database);
    let cut_url = database.url_by(cutter.port);
    let store = on_a_thread(|| Store::connect(&cut_url.as_str().into())).unwrap();
    for (n, mode) in [(1, BEFORE), (2, AFTER), (3, BEFORE), (4, AFTER)] {
        cutter.arm(mode);
        let committed = commit(&store, put_user(n)).await.unwrap();
        assert!(cutter.is_spent());
        assert_eq!(committed.revision, u64::from(n), "mode {mode}");
        assert_eq!(store.audit(0, 100).await.unwrap().len(), usize::from(n));
    }
    assert_eq!(home.open().users().await.unwrap().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_does_not_add_up_is_refused_and_left_alone() {
    let Some(home) = Home::in_database() else { return };
    let Home::Database(database) = &home else {
        return;
    };
    let store = home.open();
    for n in 1..=3 {
        commit(&store, put_user(n)).await.unwrap();
    }
    store.close().await;
    drop(store);
    let sql = |statement: &str| database.sql(statement).unwrap();
    sql("create table aside as select * from bridge_rows");
    for damage in [
        "delete from bridge_rows where family = 'users' and get_byte(key, 0) = 2",
        "update bridge_rows set value = '{}' where family = 'users' and get_byte(key, 0) = 2",
        "delete from bridge_rows where family = 'change_log'",
        "delete from bridge_rows where family = 'audit' and get_byte(key, 7) = 2",
        "delete from bridge_rows where family = 'meta' and key = 'head'",
        "delete from bridge_rows where family = 'meta'",
    ] {
        sql(damage);
        let found = sql("select md5(string_agg(r::text, '|' order by r::text)) from bridge_rows r");
        let refused = home.try_open().err().unwrap();
        assert!(
            matches!(refused, OpenError::Damaged { .. }),
            "{damage}: {refused}"
        );
        assert_eq!(
            sql("select md5(string_agg(r::text, '|' order by r::text)) from bridge_rows r"),
            found
        );
        sql("truncate bridge_rows; insert into bridge_rows select * from aside");
    }
    sql("update bridge_rows set value = '\\x00000002' where family = 'meta' and key = 'schema'");
    assert!(matches!(
        home.try_open().err().unwrap(),
        OpenError::NewerSchema {
            found: 2,
            known: 1,
            ..
        }
    ));
    sql("truncate bridge_rows; insert into bridge_rows select * from aside");
    assert_eq!(home.open().version().revision, 3);
}
