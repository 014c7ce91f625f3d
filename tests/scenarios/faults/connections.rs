//! Rows 1–3 and 11: connections that do not come about, or are gone before they are used again.

use std::time::{Duration, Instant};

use anyhow::Result;
use bridge_proto::admin::v1::Provider;
use bridge_tests::anthropic::ask;
use bridge_tests::faultd::Script;
use bridge_tests::faultd::script::End;
use bridge_tests::ports::free_port;
use tokio::net::{TcpSocket, TcpStream};

use super::bed::{Bed, ROW, Row};

/// The longest wait for a connection, and some for the machine.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Where providers are that nobody reaches: no request arrives there.
async fn hold_unreached(base_url: String, row: Row) -> Result<()> {
    let mut bed = Bed::of(|provider| Provider {
        base_url,
        // Nothing else may be over before the wait for a connection is.
        timeout: 30,
        ..provider
    })
    .await?;
    bed.hold_unreached(row).await
}

#[tokio::test]
async fn r01_a_closed_port_hands_over_at_once() -> Result<()> {
    let base_url = format!("http://127.0.0.1:{}/v1", free_port()?);
    let row = Row {
        status: 503,
        outcome: "unreachable",
        ..ROW
    };
    hold_unreached(base_url, row).await
}

#[tokio::test]
async fn r02_a_host_that_is_silent_is_waited_for_five_seconds() -> Result<()> {
    // A queue of connections that nobody takes: once it is full, the kernel ignores who knocks.
    let socket = TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    let listener = socket.listen(1)?;
    let address = listener.local_addr()?;
    let mut waiting = Vec::new();
    while let Ok(connected) =
        tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(address)).await
    {
        waiting.push(connected?);
    }
    let started = Instant::now();
    let row = Row {
        status: 504,
        kind: "timeout_error",
        outcome: "connect_timeout",
        ..ROW
    };
    hold_unreached(format!("http://{address}/v1"), row).await?;
    assert!(started.elapsed() < 2 * CONNECT_WITHIN, "{:?}", started.elapsed());
    drop((listener, waiting));
    Ok(())
}

#[tokio::test]
async fn r03_a_name_without_an_address_hands_over() -> Result<()> {
    let row = Row {
        status: 503,
        outcome: "name_not_found",
        ..ROW
    };
    // Nobody may ever have this one.
    hold_unreached("http://nowhere.invalid/v1".to_owned(), row).await
}

#[tokio::test]
async fn r11_a_connection_that_was_closed_while_idle_is_no_failure() -> Result<()> {
    const REQUESTS: usize = 10;
    let bed = Bed::start().await?;
    for end in [End::WholeThenFin, End::WholeThenStale] {
        bed.script(Script::text("Here.").ending(end));
        let calls = bed.calls();
        for request in 0..REQUESTS {
            let answer = bed.client.messages(&ask("sonnet", "Hi")).await?;
            assert_eq!(answer.text(), "Here.", "{end:?}, request {request}: {answer:?}");
        }
        assert_eq!(bed.calls() - calls, REQUESTS, "{end:?}");
    }
    Ok(())
}
