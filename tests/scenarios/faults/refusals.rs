//! Rows 20–26: what an upstream says by its status.

use anyhow::Result;
use bridge_tests::faultd::{Faultd, Script};

use super::bed::{Bed, ROW, Row, WITH_RETRIES, with};

async fn hold(fault: &str, row: Row) -> Result<()> {
    let mut bed = Bed::start().await?;
    bed.hold(fault, with(fault)?, row).await
}

#[tokio::test]
async fn r20_a_redirect_is_not_followed() -> Result<()> {
    let elsewhere = Faultd::start().await?;
    let row = Row {
        outcome: "redirect",
        should_retry: Some("false"),
        ..ROW
    };
    hold(&format!("redirect@{}", elsewhere.address().port()), row).await?;
    assert_eq!(elsewhere.connections_accepted(), 0, "somebody went there");
    Ok(())
}

#[tokio::test]
async fn r21_a_limit_is_told_with_its_wait() -> Result<()> {
    let limited = Row {
        status: 429,
        kind: "rate_limit_error",
        outcome: "rate_limited",
        ..ROW
    };
    let mut bed = Bed::start().await?;
    for (fault, retry_after, should_retry) in [
        ("status-429", None, None),
        ("status-429-after-7", Some("7"), None),
        ("status-429-after-0.2", Some("1"), None),
        ("status-429-after-120", Some("60"), None),
        ("status-429-after-3600", Some("3600"), Some("false")),
        ("status-429-after-soon", None, None),
        ("status-429-after--5", None, None),
        ("status-429-after-99999999999999999999999", None, None),
    ] {
        let row = Row {
            retry_after,
            should_retry,
            ..limited
        };
        bed.hold(fault, with(fault)?, row).await?;
    }
    Ok(())
}

#[tokio::test]
async fn r21_a_limit_with_a_date_is_told_in_seconds() -> Result<()> {
    let bed = Bed::start().await?;
    bed.script(with("status-429-after-date-30")?);
    let answer = bed
        .client
        .messages(&bridge_tests::anthropic::ask("sonnet", "Hi"))
        .await?;
    let wait: u64 = answer.header("retry-after").unwrap_or_default().parse()?;
    assert!((25..=30).contains(&wait), "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn r22_an_overloaded_provider_is_asked_once_more() -> Result<()> {
    let mut bed = Bed::start().await?;
    let overloaded = Row {
        status: 529,
        kind: "overloaded_error",
        outcome: "overloaded",
        calls: WITH_RETRIES,
        ..ROW
    };
    bed.hold("529", with("status-529")?, overloaded).await?;
    let row = Row {
        retry_after: Some("3"),
        ..overloaded
    };
    bed.hold("529 with a wait", with("status-529-after-3")?, row)
        .await?;
    let row = Row {
        status: 503,
        kind: "api_error",
        outcome: "unavailable",
        ..overloaded
    };
    bed.hold("503", with("status-503")?, row).await
}

#[tokio::test]
async fn r23_a_broken_server_is_asked_once_more() -> Result<()> {
    let mut bed = Bed::start().await?;
    for fault in ["status-500", "status-520"] {
        let row = Row {
            outcome: "server_error",
            calls: WITH_RETRIES,
            ..ROW
        };
        bed.hold(fault, with(fault)?, row).await?;
    }
    let row = Row {
        status: 504,
        kind: "timeout_error",
        outcome: "upstream_timeout",
        ..ROW
    };
    bed.hold("504", with("status-504")?, row).await
}

#[tokio::test]
async fn r24_a_refused_credential_is_no_fault_of_the_client() -> Result<()> {
    let mut bed = Bed::start().await?;
    for (fault, outcome) in [
        ("status-401", "credentials"),
        ("status-403", "forbidden"),
        ("status-402", "quota"),
        ("quota", "quota"),
    ] {
        let row = Row {
            outcome,
            should_retry: Some("false"),
            ..ROW
        };
        bed.hold(fault, with(fault)?, row).await?;
    }
    Ok(())
}

#[tokio::test]
async fn r25_a_request_that_is_refused_as_wrong_is_refused() -> Result<()> {
    let mut bed = Bed::start().await?;
    for (fault, should_retry) in [
        ("status-400", None),
        ("status-422", None),
        ("status-413", Some("false")),
    ] {
        let (status, kind, outcome) = match fault {
            "status-413" => (413, "request_too_large", "too_large"),
            _ => (400, "invalid_request_error", "bad_request"),
        };
        let row = Row {
            status,
            kind,
            should_retry,
            outcome,
            falls_over: false,
            ..ROW
        };
        bed.hold(fault, with(fault)?, row).await?;
    }
    Ok(())
}

#[tokio::test]
async fn r26_an_unknown_model_is_the_admins_affair() -> Result<()> {
    let mut bed = Bed::start().await?;
    let row = Row {
        should_retry: Some("false"),
        ..ROW
    };
    let unknown = Script::error(404, "invalid_request_error", "The model `m` does not exist");
    bed.hold(
        "no such model",
        unknown,
        Row {
            outcome: "model_not_found",
            ..row
        },
    )
    .await?;
    let nowhere = Row {
        outcome: "wrong_address",
        ..row
    };
    bed.hold("no such path", with("status-404")?, nowhere).await
}
