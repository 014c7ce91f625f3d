//! Rows 8–11 over HTTP/2, which says more than a connection that breaks: who goes, what was not
//! looked at, and how many streams there may be.

use anyhow::Result;
use bridge_proto::admin::v1::Provider;
use bridge_tests::admin;
use bridge_tests::anthropic::{Client, ask};
use bridge_tests::bridge::Bridge;
use bridge_tests::faultd::Gate;
use bridge_tests::faultd::http2::{Deed, INTERNAL_ERROR, TEXT, Upstream};
use bridge_tests::faultd::tls::Authority;
use futures_util::future::try_join_all;

const MODEL: &str = "m";
const TIMEOUT_S: u32 = 3;
/// What servers commonly allow, and none may well go below.
const STREAMS_MAX: u32 = 100;

struct Bed {
    bridge: Bridge,
    upstream: Upstream,
    client: Client,
}

impl Bed {
    /// One provider, which is asked again `retries` times.
    async fn start(retries: u32, streams_max: Option<u32>) -> Result<Self> {
        let authority = Authority::new()?;
        let mut bridge = Bridge::start(0).await?;
        let file = bridge.folder().join("authority.pem");
        std::fs::write(&file, authority.pem())?;
        let trusted = vec![("UPSTREAM_CA_FILE", file.display().to_string())];
        bridge.add_node_with(trusted).await?;
        let admin = bridge.admin().await?;
        admin.set_breaker_enabled(false).await?;
        let upstream = Upstream::start(&authority, streams_max).await?;
        let provider = Provider {
            max_retries: Some(retries),
            timeout: TIMEOUT_S,
            ..admin::provider("modern", &upstream.base_url(), MODEL)
        };
        admin.create_provider(provider).await?;
        let key = bridge.accepted_key(&admin).await?;
        let client = bridge.client(0, &key)?;
        Ok(Self {
            bridge,
            upstream,
            client,
        })
    }

    /// So that there is a connection.
    async fn warm(&self) -> Result<()> {
        self.assert_answered().await
    }

    async fn assert_answered(&self) -> Result<()> {
        let transcript = self.client.stream_to_end(&ask(MODEL, "Hi")).await?;
        assert_eq!(transcript.text(), TEXT, "{transcript:?}");
        Ok(())
    }

    async fn attempts(&mut self, outcome: &str) -> Result<u32> {
        let name = format!(r#"bridge_upstream_attempts_total{{provider="modern",outcome="{outcome}"}} "#);
        let metrics = self.bridge.node(0)?.metrics().await?;
        let count = metrics.lines().find_map(|line| line.strip_prefix(&name));
        Ok(count.map(str::parse).transpose()?.unwrap_or(0))
    }
}

#[tokio::test]
async fn r11_what_a_connection_says_it_has_not_taken_goes_out_once_more() -> Result<()> {
    // Without retries: it costs none.
    let mut bed = Bed::start(0, None).await?;
    for (deed, is_gone) in [(Deed::Refuse, false), (Deed::OneTooMany, true)] {
        bed.warm().await?;
        let before = bed.upstream.requests();
        bed.upstream.script(MODEL, [deed.clone()]);
        bed.assert_answered().await?;
        bed.assert_answered().await?;
        let requests = bed.upstream.requests();
        let [refused, again, next] = requests[before.len()..] else {
            panic!("{deed:?}: {requests:?}");
        };
        assert_eq!(Some(&refused), before.last(), "{deed:?}: not a kept connection");
        assert_ne!(again, refused, "{deed:?}: {requests:?}");
        assert_eq!(next != refused, is_gone, "{deed:?}: {requests:?}");
    }
    assert_eq!(bed.attempts("reset").await?, 0);
    Ok(())
}

#[tokio::test]
async fn r10_a_connection_that_goes_finishes_its_streams() -> Result<()> {
    let bed = Bed::start(0, None).await?;
    let gate = Gate::closed();
    bed.upstream
        .script(MODEL, [Deed::Hold(gate.clone()), Deed::LastOne]);
    let mut stream = bed.client.stream(&ask(MODEL, "Hi")).await?;
    stream.next_of("content_block_delta").await?;
    // Another stream of the same connection is its last one; what comes later has a new one.
    bed.assert_answered().await?;
    bed.assert_answered().await?;
    gate.open();
    assert_eq!(stream.to_end().await?.text(), TEXT);
    assert_eq!(bed.upstream.requests(), [0, 0, 1]);
    Ok(())
}

#[tokio::test]
async fn r09_a_stream_that_is_reset_before_its_head_is_asked_for_again() -> Result<()> {
    let mut bed = Bed::start(1, None).await?;
    bed.warm().await?;
    bed.upstream.script(MODEL, [Deed::Reset(INTERNAL_ERROR)]);
    bed.assert_answered().await?;
    assert_eq!(bed.upstream.requests(), [0, 0, 0]);
    bed.upstream
        .script(MODEL, [Deed::Reset(INTERNAL_ERROR), Deed::Reset(INTERNAL_ERROR)]);
    let refused = bed.client.messages(&ask(MODEL, "Hi")).await?;
    assert_eq!((refused.status, refused.error_type()), (502, "api_error"));
    assert_eq!(bed.attempts("reset").await?, 3);
    Ok(())
}

#[tokio::test]
async fn r10_a_stream_that_is_reset_after_content_ends_in_one_error() -> Result<()> {
    let bed = Bed::start(1, None).await?;
    bed.upstream
        .script(MODEL, [Deed::ResetInTheMiddle(INTERNAL_ERROR)]);
    let broken = bed.client.stream_to_end(&ask(MODEL, "Hi")).await?;
    assert_eq!(broken.error_type(), "api_error", "{broken:?}");
    // Its connection lives.
    bed.assert_answered().await?;
    assert_eq!(bed.upstream.requests(), [0, 0]);
    Ok(())
}

#[tokio::test]
async fn r08_a_stream_that_stops_ends_and_its_neighbours_do_not() -> Result<()> {
    let bed = Bed::start(1, None).await?;
    bed.upstream.script(MODEL, [Deed::Stall]);
    let request = ask(MODEL, "Hi");
    let mut stalled = bed.client.stream(&request).await?;
    stalled.next_of("content_block_delta").await?;
    let neighbours = async {
        let mut count = 0;
        loop {
            match bed.assert_answered().await {
                Ok(()) => count += 1,
                Err(error) => panic!("after {count} others: {error:?}"),
            }
        }
    };
    let stalled = tokio::select! {
        stalled = stalled.to_end() => stalled?,
        () = neighbours => unreachable!("they go on"),
    };
    assert_eq!(stalled.error_type(), "timeout_error", "{stalled:?}");
    bed.assert_answered().await?;
    let connections = bed.upstream.requests();
    assert!(
        connections.len() > 2 && connections.iter().all(|number| *number == 0),
        "{connections:?}"
    );
    Ok(())
}

#[tokio::test]
async fn nobody_waits_for_a_stream_because_a_connection_has_no_more_of_them() -> Result<()> {
    let mut bed = Bed::start(0, Some(STREAMS_MAX)).await?;
    bed.warm().await?;
    let gate = Gate::closed();
    let at_once = STREAMS_MAX + 1;
    bed.upstream
        .script(MODEL, (0..at_once).map(|_| Deed::Hold(gate.clone())));
    let request = ask(MODEL, "Hi");
    let open = (0..at_once).map(|_| async {
        let mut stream = bed.client.stream(&request).await?;
        stream.next_of("content_block_delta").await?;
        anyhow::Ok(stream)
    });
    let streams = try_join_all(open).await?;
    gate.open();
    for stream in streams {
        assert_eq!(stream.to_end().await?.text(), TEXT);
    }
    assert_eq!(bed.attempts("ok").await?, 1 + at_once);
    Ok(())
}
