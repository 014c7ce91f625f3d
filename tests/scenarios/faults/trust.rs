//! Row 5: upstreams that cannot prove who they are.

use std::time::{Duration, Instant};

use anyhow::Result;
use bridge_proto::admin::v1::Provider;
use bridge_tests::admin;
use bridge_tests::anthropic::ask;
use bridge_tests::bridge::Bridge;
use bridge_tests::faultd::tls::{Authority, Handshake};
use bridge_tests::faultd::{Faultd, Script};

/// Five seconds for a connection, and some for the machine.
const REFUSED_WITHIN: Duration = Duration::from_secs(8);

#[tokio::test]
async fn r05_only_whom_we_trust_is_called() -> Result<()> {
    let authority = Authority::new()?;
    let mut bridge = Bridge::start(0).await?;
    let file = bridge.folder().join("authority.pem");
    std::fs::write(&file, authority.pem())?;
    let trusted = vec![("UPSTREAM_CA_FILE", file.display().to_string())];
    bridge.add_node_with(trusted).await?;
    let admin = bridge.admin().await?;
    admin.set_breaker_enabled(false).await?;

    let handshakes = [
        Handshake::Good,
        Handshake::Expired,
        Handshake::WrongHost,
        Handshake::UnknownAuthority,
        Handshake::Stalls,
        Handshake::Closes,
        Handshake::PlainText,
    ];
    let mut upstreams = Vec::new();
    for handshake in handshakes {
        let name = format!("{handshake:?}").to_lowercase();
        let upstream = Faultd::start_behind(authority.front(handshake)?).await?;
        upstream.always(&name, Script::text("Trusted."));
        let provider = Provider {
            max_retries: Some(0),
            ..admin::provider(&name, &upstream.base_url(), &name)
        };
        admin.create_provider(provider).await?;
        upstreams.push((handshake, name, upstream));
    }
    let key = bridge.accepted_key(&admin).await?;
    let client = bridge.client(0, &key)?;
    for (handshake, name, upstream) in upstreams {
        let started = Instant::now();
        let answer = client.messages(&ask(&name, "Hi")).await?;
        let took = started.elapsed();
        if handshake == Handshake::Good {
            assert_eq!(answer.text(), "Trusted.", "{answer:?}");
            continue;
        }
        let told = (
            answer.status,
            answer.error_type(),
            answer.header("x-should-retry"),
        );
        assert_eq!(
            told,
            (502, "api_error", Some("false")),
            "{handshake:?}: {answer:?}"
        );
        assert!(took < REFUSED_WITHIN, "{handshake:?} took {took:?}");
        assert!(upstream.requests().is_empty(), "{handshake:?} was told something");
        let count = format!(r#"bridge_upstream_attempts_total{{provider="{name}",outcome="tls"}} 1"#);
        let metrics = bridge.node(0)?.metrics().await?;
        assert!(metrics.contains(&count), "{handshake:?}: no {count} in {metrics}");
    }
    Ok(())
}
