//! Rows 3 and 4: name servers that are down, names that move, and where they may not move to.

use std::future::Future;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use bridge_proto::admin::v1::Provider;
use bridge_tests::admin;
use bridge_tests::anthropic::{Answer, Client, ask};
use bridge_tests::bridge::Bridge;
use bridge_tests::faultd::script::End;
use bridge_tests::faultd::{Faultd, Script};
use bridge_tests::name_server::{NameServer, Says};
use bridge_tests::ports::free_port;

const NAME: &str = "model.scripted.example";
const MODEL: &str = "m";
const HERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const THERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
/// How soon a change of a name must be seen.
const SEEN_WITHIN: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(100);
const STALE: &str = "bridge_upstream_stale_addresses_total";

struct Bed {
    bridge: Bridge,
    names: NameServer,
    here: Faultd,
    there: Faultd,
    client: Client,
}

impl Bed {
    async fn start() -> Result<Option<Self>> {
        let Some(names) = NameServer::start(Says::Address(HERE)).await? else {
            return Ok(None);
        };
        let port = free_port()?;
        let here = Faultd::bind(&format!("{HERE}:{port}")).await?;
        let there = Faultd::bind(&format!("{THERE}:{port}")).await?;
        let mut bridge = Bridge::start(0).await?;
        let prefix = names.prefix(bridge.folder())?;
        bridge.add_node_by(prefix).await?;
        let admin = bridge.admin().await?;
        admin.set_breaker_enabled(false).await?;
        let provider = Provider {
            max_retries: Some(0),
            ..admin::provider("named", &format!("http://{NAME}:{port}/v1"), MODEL)
        };
        admin.create_provider(provider).await?;
        let key = bridge.accepted_key(&admin).await?;
        let client = bridge.client(0, &key)?;
        Ok(Some(Self {
            bridge,
            names,
            here,
            there,
            client,
        }))
    }

    /// Both answer, and keep a connection or close it.
    fn answer(&self, end: End) {
        self.here.always(MODEL, Script::text("here").ending(end));
        self.there.always(MODEL, Script::text("there").ending(end));
    }

    async fn ask(&self) -> Result<Answer> {
        self.client.messages(&ask(MODEL, "Hi")).await
    }

    /// Asks again and again until an answer is as wanted; every other must be `meanwhile`.
    async fn ask_until<F>(
        &mut self,
        meanwhile: &str,
        mut is_done: impl FnMut(String, f64) -> F,
    ) -> Result<Duration>
    where
        F: Future<Output = bool>,
    {
        let started = Instant::now();
        loop {
            let answer = self.ask().await?;
            let stale = self.bridge.node(0)?.metric(STALE).await?;
            if is_done(answer.text(), stale).await {
                return Ok(started.elapsed());
            }
            ensure!(answer.text() == meanwhile, "{answer:?}");
            if started.elapsed() > SEEN_WITHIN {
                bail!("nothing has changed for {SEEN_WITHIN:?}");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

#[tokio::test]
async fn r03_names_outlive_their_servers_and_follow_their_changes() -> Result<()> {
    let Some(mut bed) = Bed::start().await? else {
        return Ok(());
    };
    // Every request needs a connection, and so an address.
    bed.answer(End::WholeThenFin);
    for silence in [Says::Nothing, Says::Failure, Says::NoSuchName] {
        bed.names.says(Says::Address(HERE));
        bed.ask().await?;
        let before = bed.bridge.node(0)?.metric(STALE).await?;
        bed.names.says(silence.clone());
        let took = bed
            .ask_until("here", |text, stale| async move {
                text == "here" && stale >= before + 3.0
            })
            .await?;
        println!("figure: {silence:?}: served from memory after {took:?}");
    }
    bed.names.says(Says::Address(THERE));
    let took = bed
        .ask_until("here", |text, _| async move { text == "there" })
        .await?;
    println!("figure: a change after an outage is seen after {took:?}");

    // A connection that is in use all the time does not hide a change either.
    bed.answer(End::Whole);
    bed.ask().await?;
    bed.names.says(Says::Address(HERE));
    let took = bed
        .ask_until("there", |text, _| async move { text == "here" })
        .await?;
    println!("figure: a change under load is seen after {took:?}");
    assert!(bed.names.asked() > 0);
    Ok(())
}

#[tokio::test]
async fn r04_a_name_that_moves_to_metadata_is_refused() -> Result<()> {
    let Some(bed) = Bed::start().await? else {
        return Ok(());
    };
    bed.answer(End::WholeThenFin);
    assert_eq!(bed.ask().await?.text(), "here");
    bed.names.says(Says::Address(METADATA));
    let started = Instant::now();
    let answer = loop {
        let answer = bed.ask().await?;
        if answer.status != 200 {
            break answer;
        }
        ensure!(started.elapsed() < SEEN_WITHIN, "it is still called");
        tokio::time::sleep(PAUSE).await;
    };
    let told = (
        answer.status,
        answer.error_type(),
        answer.header("x-should-retry"),
    );
    assert_eq!(told, (502, "api_error", Some("false")), "{answer:?}");
    assert!(!answer.error_message().contains("169.254"), "{answer:?}");
    let count = r#"bridge_upstream_attempts_total{provider="named",outcome="denied_address"} 1"#;
    let mut bridge = bed.bridge;
    let metrics = bridge.node(0)?.metrics().await?;
    assert!(metrics.contains(count), "{metrics}");
    Ok(())
}
