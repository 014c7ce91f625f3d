//! A control plane that is not told what another one has changed: what lies between it
//! and the database loses connections, swallows bytes or knows no notices. Its nodes
//! still learn in time that a key is dead.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bridge_proto::admin::v1::{RevokeApiKeyRequest, RevokeApiKeyResponse};
use bridge_tests::admin::Admin;
use bridge_tests::anthropic::Client;
use bridge_tests::bridge::Bridge;
use bridge_tests::hush::Hush;
use bridge_tests::wait;

/// For how long a key may work that another control plane has revoked.
const REVOKED_WITHIN: Duration = Duration::from_secs(2);
/// The moment between two looks at the database at which it happens is another one each time.
const ROUNDS: u32 = 5;
const ASK_EVERY: Duration = Duration::from_millis(5);

/// `node-0` is at the first control plane, `node-1` at the second, whose way to the database
/// is ours.
struct Pair {
    bridge: Bridge,
    way: Hush,
    admin: Admin,
}

impl Pair {
    async fn start() -> Result<Option<Self>> {
        let Some(mut bridge) = Bridge::start_on_postgres(1).await? else {
            return Ok(None);
        };
        let database = bridge.database().context("it is on PostgreSQL")?;
        let way = Hush::before_socket(database.socket().to_owned()).await?;
        let url = database.url_by(way.port());
        let second = bridge.add_replica_with(vec![("DATABASE_URL", url)]).await?;
        let fleet = format!("http://{}", second.fleet_address());
        bridge.add_node_with(vec![("CONTROL_PLANE_URL", fleet)]).await?;
        let admin = bridge.admin().await?;
        Ok(Some(Self { bridge, way, admin }))
    }

    fn sql(&self, statement: &str) -> Result<String> {
        let database = self.bridge.database().context("it is on PostgreSQL")?;
        database.sql(statement)
    }

    /// How long a key still worked at the second one's node after the first one was told to revoke it,
    /// and something happened just before.
    async fn revoked_after(&self, happens: impl AsyncFnOnce() -> Result<()>) -> Result<Duration> {
        let (key, record) = self.admin.create_key("to be revoked").await?;
        self.bridge.wait_until_accepted(&key).await?;
        let there = self.bridge.client(1, &key)?;
        happens().await?;
        let asked = Instant::now();
        let (answer, refused) = tokio::join!(revoke(&self.admin, record.id), until_refused(&there, asked));
        let answer = answer?;
        let mut named: Vec<_> = answer
            .acknowledged_nodes
            .iter()
            .chain(&answer.pending_nodes)
            .collect();
        named.sort();
        assert_eq!(named, ["node-0", "node-1"], "each is told of");
        refused
    }
}

async fn revoke(admin: &Admin, id: String) -> Result<RevokeApiKeyResponse> {
    let request = RevokeApiKeyRequest {
        id,
        timeout: None,
        terminate_streams: false,
    };
    Ok(admin.keys().revoke_api_key(request).await?.into_inner())
}

async fn until_refused(client: &Client, asked: Instant) -> Result<Duration> {
    while client.try_key().await?.status != 401 {
        assert!(asked.elapsed() < wait::DEADLINE, "it never heard of it");
        tokio::time::sleep(ASK_EVERY).await;
    }
    Ok(asked.elapsed())
}

fn judge(what: &str, mut took: Vec<Duration>) {
    took.sort();
    let (Some(median), Some(longest)) = (took.get(took.len() / 2), took.last()) else {
        return;
    };
    eprintln!(
        "figure: {what}, {} times: a revoked key is refused at the other control plane's node after p50 {} ms, max {} ms",
        took.len(),
        median.as_millis(),
        longest.as_millis()
    );
    assert!(*longest <= REVOKED_WITHIN, "{took:?}");
}

#[tokio::test]
async fn a_listener_that_is_cut_off_delays_no_revocation() -> Result<()> {
    let Some(pair) = Pair::start().await? else {
        return Ok(());
    };
    let mut took = Vec::new();
    for _ in 0..ROUNDS {
        let cut = async || {
            let cut = pair.sql(
                "select count(pg_terminate_backend(pid)) from pg_stat_activity
                where datname = current_database() and application_name = 'bridge-control-plane' and state = 'idle'",
            )?;
            assert!(cut.parse::<u32>()? >= 2, "there are listeners");
            Ok(())
        };
        took.push(pair.revoked_after(cut).await?);
    }
    judge("connections cut off", took);
    Ok(())
}

#[tokio::test]
async fn connections_that_fall_silent_delay_no_revocation() -> Result<()> {
    let Some(pair) = Pair::start().await? else {
        return Ok(());
    };
    let mut took = Vec::new();
    for _ in 0..ROUNDS {
        let before = pair.way.connections();
        let hush = async || {
            pair.way.hush_those_there();
            Ok(())
        };
        took.push(pair.revoked_after(hush).await?);
        assert!(pair.way.connections() > before, "it has made new ones");
    }
    judge("connections fallen silent", took);
    Ok(())
}

#[tokio::test]
async fn without_any_notice_no_revocation_is_late() -> Result<()> {
    let Some(mut pair) = Pair::start().await? else {
        return Ok(());
    };
    // Whoever connects from here on has another `pg_notify`, which tells nobody.
    pair.sql("create function public.pg_notify(text, text) returns void language sql as ''")?;
    let name = pair
        .bridge
        .database()
        .context("it is on PostgreSQL")?
        .name()
        .to_owned();
    pair.sql(&format!(
        "alter database {name} set search_path = public, pg_catalog"
    ))?;
    pair.bridge.control().kill()?;
    pair.bridge.control().start().await?;
    let second = pair.bridge.replica(0)?;
    second.kill()?;
    second.start().await?;
    pair.admin = pair.bridge.admin().await?;
    let mut took = Vec::new();
    for _ in 0..ROUNDS {
        took.push(pair.revoked_after(async || Ok(())).await?);
    }
    judge("no notices", took);
    Ok(())
}
