//! Traces for the operator's collector: what a request and a call of the admin become, and
//! that a collector that is away costs nobody anything.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bridge_tests::anthropic::{Client, ask};
use bridge_tests::bridge::Bridge;
use bridge_tests::collector::{Collector, Told};
use bridge_tests::faultd::Script;
use bridge_tests::ports::free_port;
use bridge_tests::stage::{MODEL, Stage};
use bridge_tests::wait;

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
const CREDENTIAL: &str = "canary-of-the-collector-2xM9q";

const DATA_PLANE: &str = "bridge-data-plane";
const CONTROL_PLANE: &str = "bridge-control-plane";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CLIENTS_SPAN: &str = "b7ad6b7169203331";

/// Requests of which the middle one counts.
const REQUESTS: usize = 150;
/// An end with a collector that is away takes no longer than this beyond one without.
const END_MAX: Duration = Duration::from_secs(10);

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn named<'a>(spans: &'a [Told], name: &str) -> Option<&'a Told> {
    spans.iter().find(|told| told.span.name == name)
}

async fn send(client: &Client, traceparent: &str) -> Result<u16> {
    let request = client.request(reqwest::Method::POST, "/v1/messages");
    let request = request.header("content-type", "application/json");
    let request = request.header("traceparent", traceparent);
    let body = ask("haiku", "canary of a prompt").to_string();
    Ok(request.body(body).send().await?.status().as_u16())
}

#[tokio::test]
async fn a_request_is_one_trace_from_the_clients_span_to_each_call() -> Result<()> {
    let collector = Collector::start().await?;
    let environment = vec![
        (ENDPOINT, collector.endpoint()),
        (HEADERS, format!("authorization=Bearer%20{CREDENTIAL}")),
    ];
    let mut bridge = Bridge::start_with(0, environment.clone()).await?;
    bridge.add_node_with(environment).await?;
    let mut stage = Stage::behind(bridge).await?;
    stage
        .upstream
        .once(MODEL, Script::error(503, "api_error", "down for a moment"));
    stage.upstream.always(MODEL, Script::text("canary of an answer"));
    let client = stage.client()?;
    let traceparent = format!("00-{TRACE}-{CLIENTS_SPAN}-01");
    ensure!(send(&client, &traceparent).await? == 200, "it is answered");
    let request = collector
        .until("the request's span", |spans| {
            named(spans, "POST /v1/messages").cloned()
        })
        .await?;
    let spans = collector.spans();
    assert_eq!(request.service, DATA_PLANE);
    assert_eq!(hex(&request.span.trace_id), TRACE);
    assert_eq!(hex(&request.span.parent_span_id), CLIENTS_SPAN);
    for (key, expected) in [
        ("http.response.status_code", "200"),
        ("gen_ai.provider.name", "scripted"),
        ("gen_ai.request.model", "haiku"),
        ("gen_ai.response.model", MODEL),
        ("bridge.attempts", "2"),
    ] {
        assert_eq!(request.attribute(key).as_deref(), Some(expected), "{key}");
    }
    let tokens = request
        .attribute("gen_ai.usage.output_tokens")
        .context("tokens")?;
    ensure!(tokens != "0", "the answer had some");
    let calls: Vec<&Told> = spans.iter().filter(|told| told.is_below(&request)).collect();
    let statuses: Vec<_> = calls
        .iter()
        .map(|call| call.attribute("http.response.status_code").unwrap_or_default())
        .collect();
    assert_eq!(statuses, ["503", "200"]);
    for call in calls {
        let (begin, end) = (call.span.start_time_unix_nano, call.span.end_time_unix_nano);
        ensure!(
            begin >= request.span.start_time_unix_nano,
            "it begins with the request"
        );
        ensure!(
            end <= request.span.end_time_unix_nano && begin <= end,
            "it ends with it"
        );
    }
    for asked in stage.upstream.requests_for(MODEL) {
        assert_eq!(
            asked.header("traceparent"),
            None,
            "the provider gets no part of it"
        );
    }

    // Who wants no trace gets none; the next one shows that it would have been there.
    let unsampled = "1".repeat(32);
    send(&client, &format!("00-{unsampled}-{CLIENTS_SPAN}-00")).await?;
    let sampled = "2".repeat(32);
    send(&client, &format!("00-{sampled}-{CLIENTS_SPAN}-01")).await?;
    let of = |trace: &str, spans: &[Told]| spans.iter().any(|told| hex(&told.span.trace_id) == trace);
    collector
        .until("the next request", |spans| of(&sampled, spans).then_some(()))
        .await?;
    ensure!(!of(&unsampled, &collector.spans()), "it was not to be traced");

    let call = collector
        .until("a call of the admin", |spans| {
            named(spans, "bridge.admin.v1.ApiKeyService/CreateApiKey").cloned()
        })
        .await?;
    assert_eq!(call.service, CONTROL_PLANE);
    assert_eq!(call.attribute("rpc.grpc.status_code").as_deref(), Some("0"));
    // What is over only with the process is told before that ends.
    stage.bridge.node(0)?.process()?.terminate().await?;
    stage.bridge.control().process()?.terminate().await?;
    let stream = named(&collector.spans(), "bridge.fleet.v1.WatchService/Watch").cloned();
    let stream = stream.context("the stream of the node")?;
    assert_eq!(stream.attribute("node.id").as_deref(), Some("node-0"));

    ensure!(
        collector
            .credentials()
            .iter()
            .all(|it| it == &format!("Bearer {CREDENTIAL}")),
        "every message has the collector's credential"
    );
    for log in ["control-plane.log", "node-0/node-0.log"] {
        let log = std::fs::read_to_string(stage.bridge.folder().join(log))?;
        ensure!(
            !log.contains(CREDENTIAL),
            "the collector's credential is in a log"
        );
    }
    Ok(())
}

async fn time_of_one(client: &Client) -> Result<Duration> {
    let begun = Instant::now();
    let answer = client.messages(&ask("haiku", "Hi")).await?;
    ensure!(answer.status == 200, "{answer:?}");
    Ok(begun.elapsed())
}

#[tokio::test]
async fn a_collector_that_is_away_costs_one_warning_and_no_request() -> Result<()> {
    let port = free_port()?;
    let mut bridge = Bridge::start(1).await?;
    let away = vec![(ENDPOINT, format!("http://127.0.0.1:{port}"))];
    bridge.add_node_with(away).await?;
    let mut stage = Stage::behind(bridge).await?;
    stage.upstream.always(MODEL, Script::text("Hi"));
    let clients = [
        stage.bridge.client(0, &stage.key)?,
        stage.bridge.client(1, &stage.key)?,
    ];
    // One after the other, in turns: what else the machine does meets both.
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..REQUESTS {
        for (client, times) in clients.iter().zip(&mut times) {
            times.push(time_of_one(client).await?);
        }
    }
    let [without, away] = times.map(|mut times| {
        times.sort();
        times[times.len() / 2]
    });
    eprintln!(
        "figure: p50 of {REQUESTS} requests: {without:?} without a collector, {away:?} with one that is away, {:.2} times",
        away.as_secs_f64() / without.as_secs_f64()
    );
    let folder = stage.bridge.folder().to_owned();
    let warnings = |node: &str| {
        let log = std::fs::read_to_string(folder.join(node).join(format!("{node}.log")));
        log.map(|log| log.matches("the collector takes no traces").count())
    };
    wait::until("a warning", || async {
        warnings("node-1").ok().filter(|count| *count > 0)
    })
    .await?;
    assert_eq!(warnings("node-0")?, 0, "nobody named a collector");
    assert_eq!(warnings("node-1")?, 1, "one word");

    // What has waited comes when the collector does.
    let collector = Collector::bind(port).await?;
    collector
        .until("what has waited", |spans| {
            let requests = spans.iter().filter(|told| told.span.name == "POST /v1/messages");
            (requests.count() >= REQUESTS).then_some(())
        })
        .await?;
    drop(collector);
    // Whoever ends waits for no collector.
    wait::until("a request to be answered", || async {
        time_of_one(&clients[1]).await.ok()
    })
    .await?;
    let begun = Instant::now();
    let ended = stage.bridge.node(1)?.process()?.terminate().await?;
    ensure!(ended.success(), "{ended}");
    let took = begun.elapsed();
    ensure!(took < END_MAX, "it took {took:?} to end");
    eprintln!("figure: a node ends after {took:?} with a collector that is away");
    Ok(())
}
