//! Providers that are reached through a company's proxy, and no other way.

use anyhow::Result;
use bridge_tests::admin;
use bridge_tests::anthropic::ask;
use bridge_tests::bridge::Bridge;
use bridge_tests::faultd::tls::{Authority, Handshake};
use bridge_tests::faultd::{Faultd, Script};
use bridge_tests::forward_proxy::{ForwardProxy, Kind};

/// `USER:PASSWORD` of the proxy as its header has it, in lower case.
const CREDENTIAL: &str = "proxy-authorization: basic ynjpzgdlonmzy3jlda==";

#[tokio::test]
async fn a_provider_behind_a_proxy_is_reached_through_it() -> Result<()> {
    for kind in [Kind::Http, Kind::Socks] {
        let authority = Authority::new()?;
        let proxy = ForwardProxy::start(kind).await?;
        let mut bridge = Bridge::start(0).await?;
        let file = bridge.folder().join("authority.pem");
        std::fs::write(&file, authority.pem())?;
        let variables = vec![
            ("UPSTREAM_PROXY", proxy.url()),
            ("UPSTREAM_CA_FILE", file.display().to_string()),
        ];
        bridge.add_node_with(variables).await?;
        let admin = bridge.admin().await?;
        let secure = Faultd::start_behind(authority.front(Handshake::Good)?).await?;
        let plain = Faultd::start().await?;
        for (name, upstream) in [("secure", &secure), ("plain", &plain)] {
            upstream.always(name, Script::text("From outside."));
            let provider = admin::provider(name, &upstream.base_url(), name);
            admin.create_provider(provider).await?;
        }
        let key = bridge.accepted_key(&admin).await?;
        let client = bridge.client(0, &key)?;
        for name in ["secure", "plain"] {
            let whole = client.messages(&ask(name, "Hi")).await?;
            assert_eq!(whole.text(), "From outside.", "{kind:?} {name}: {whole:?}");
            let streamed = client.stream_to_end(&ask(name, "Hi")).await?;
            assert_eq!(streamed.text(), "From outside.", "{kind:?} {name}");
        }
        let asked = proxy.asked();
        let to = |upstream: &Faultd| {
            let place = upstream.address().to_string();
            asked.iter().filter(move |asked| asked.target.contains(&place))
        };
        assert!(
            to(&secure).count() > 0 && to(&plain).count() > 0,
            "{kind:?}: {asked:?}"
        );
        assert_eq!(to(&secure).count() + to(&plain).count(), asked.len(), "{asked:?}");
        if kind == Kind::Http {
            for call in &asked {
                assert!(call.lines.iter().any(|line| line == CREDENTIAL), "{call:?}");
            }
        }
        // What is encrypted tells the proxy where it goes and nothing else.
        for call in to(&secure) {
            assert_eq!(call.target, secure.address().to_string());
            assert!(
                !call.lines.iter().any(|line| line.starts_with("authorization")),
                "{call:?}"
            );
        }
        assert!(secure.requests().len() == 2 && plain.requests().len() == 2);

        // Without the proxy nobody is reached, although everybody could be.
        drop(proxy);
        let lost = client.messages(&ask("plain", "Hi")).await?;
        assert!(matches!(lost.status, 502 | 503), "{kind:?}: {lost:?}");
        assert_eq!(plain.requests().len(), 2);
    }
    Ok(())
}
