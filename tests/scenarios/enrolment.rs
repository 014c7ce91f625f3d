//! Data planes with certificates of their own: from a join token to the end that an admin makes.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bridge_proto::admin::v1::{
    CreateJoinTokenRequest, CreateJoinTokenResponse, ForgetNodeRequest, ListNodesRequest, Node as Shown,
    NodeState, RevokeNodeRequest, RevokeNodeResponse,
};
use bridge_tests::admin::Admin;
use bridge_tests::anthropic::ask;
use bridge_tests::bridge::{Bridge, Node};
use bridge_tests::faultd::Script;
use bridge_tests::stage::{MODEL, Stage};
use bridge_tests::wait;

/// Long enough to be renewed in time on a busy machine.
const LIFETIME_S: u64 = 15;
/// The promise for the stream of a node that is revoked.
const CUT_OFF_MAX: Duration = Duration::from_secs(2);
const IDENTITY: &str = "data/node-identity";

fn issued() -> Vec<(&'static str, String)> {
    vec![
        ("FLEET_TLS_ISSUED", "true".to_owned()),
        ("NODE_CERTIFICATE_LIFETIME_S", LIFETIME_S.to_string()),
    ]
}

async fn join_token(admin: &Admin, node_id: &str) -> Result<CreateJoinTokenResponse> {
    let request = CreateJoinTokenRequest {
        node_id: node_id.to_owned(),
        lifetime: None,
    };
    Ok(admin.fleet().create_join_token(request).await?.into_inner())
}

/// What a node is started with to get its certificate.
fn joining(address: &str, token: &str, pin: &str) -> Vec<(&'static str, String)> {
    vec![
        ("CONTROL_PLANE_URL", format!("https://{address}")),
        ("JOIN_TOKEN", token.to_owned()),
        ("AUTHORITY_FINGERPRINT", pin.to_owned()),
        ("NODE_TOKEN_FILE", "there-is-none".to_owned()),
    ]
}

async fn shown(admin: &Admin, id: &str) -> Option<Shown> {
    let nodes = admin.fleet().list_nodes(ListNodesRequest {}).await.ok()?;
    let mut nodes = nodes.into_inner().nodes.into_iter();
    nodes.find(|node| node.id == id)
}

fn fingerprint(node: &Shown) -> Option<&str> {
    let identity = node.identity.as_ref()?;
    Some(identity.certificate_fingerprint.as_str()).filter(|it| !it.is_empty())
}

async fn revoke(admin: &Admin, id: &str) -> Result<RevokeNodeResponse> {
    let request = RevokeNodeRequest { id: id.to_owned() };
    Ok(admin.fleet().revoke_node(request).await?.into_inner())
}

async fn wait_for_log(node: &mut Node, text: &str) -> Result<()> {
    wait::until(&format!("the node to say: {text}"), || {
        let log = node.process().map(|process| process.log_text());
        let is_said = log.is_ok_and(|log| log.contains(text));
        async move { is_said.then_some(()) }
    })
    .await
}

async fn wait_until_cut_off(node: &Node) -> Result<()> {
    wait::until("the stream of the node to end", || async {
        let connected = node.metric("bridge_control_plane_connected").await.ok()?;
        (connected == 0.0).then_some(())
    })
    .await
}

async fn answers(stage: &Stage) -> Result<()> {
    let answer = stage.client()?.messages(&ask(MODEL, "hello")).await?;
    ensure!(answer.status == 200, "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn a_node_enrols_is_renewed_and_is_revoked() -> Result<()> {
    let mut bridge = Bridge::start_with(0, issued()).await?;
    let admin = bridge.admin().await?;
    let made = join_token(&admin, "").await?;
    let fleet = bridge.control().fleet_address();
    bridge
        .add_node_with(joining(&fleet, &made.join_token, &made.authority_fingerprint))
        .await?;
    let mut stage = Stage::behind(bridge).await?;
    stage.upstream.always(MODEL, Script::text("hello"));
    answers(&stage).await?;
    let identity = stage.bridge.node(0)?.directory().join(IDENTITY);
    ensure!(std::fs::metadata(&identity)?.permissions().mode() & 0o777 == 0o600);

    let first = shown(&admin, "node-0").await.context("the node is listed")?;
    let first = fingerprint(&first).context("it has a certificate")?.to_owned();
    let begun = Instant::now();
    wait::until("the next certificate", || async {
        let node = shown(&admin, "node-0").await?;
        let is_current = node.state() == NodeState::Current;
        (is_current && fingerprint(&node)? != first).then_some(())
    })
    .await?;
    eprintln!("figure: renewed {} ms later", begun.elapsed().as_millis());
    answers(&stage).await?;

    // Its token is used up: it comes back with what it has, to what it has kept.
    stage.bridge.node(0)?.kill()?;
    stage.bridge.node(0)?.start()?;
    stage.bridge.node(0)?.wait_until_ready().await?;
    wait::until("the node to be current again", || async {
        let node = shown(&admin, "node-0").await?;
        (node.state() == NodeState::Current).then_some(())
    })
    .await?;

    let asked = Instant::now();
    let revoked = revoke(&admin, "node-0").await?;
    assert_eq!(revoked.providers_to_rotate, [stage.provider.name.clone()]);
    wait_until_cut_off(stage.bridge.node(0)?).await?;
    let took = asked.elapsed();
    eprintln!("figure: cut off {} ms after it was revoked", took.as_millis());
    assert!(took <= CUT_OFF_MAX, "{took:?}");
    let node = shown(&admin, "node-0").await.context("it is still listed")?;
    assert_eq!(node.state(), NodeState::Revoked);
    wait_for_log(stage.bridge.node(0)?, "this data plane was revoked").await?;
    // It serves on with what it holds, and hears of nothing.
    answers(&stage).await?;
    let (later, _) = admin.create_key("it will not hear of").await?;
    let refused = stage
        .bridge
        .client(0, &later)?
        .messages(&ask(MODEL, "hello"))
        .await?;
    assert_eq!(refused.status, 401);

    let request = ForgetNodeRequest {
        id: "node-0".to_owned(),
    };
    admin.fleet().forget_node(request).await?;
    assert!(shown(&admin, "node-0").await.is_none());
    Ok(())
}

#[tokio::test]
async fn a_token_that_was_used_lets_no_second_node_in() -> Result<()> {
    let mut bridge = Bridge::start_with(0, issued()).await?;
    let admin = bridge.admin().await?;
    let made = join_token(&admin, "").await?;
    let fleet = bridge.control().fleet_address();
    let environment = joining(&fleet, &made.join_token, &made.authority_fingerprint);
    bridge.add_node_with(environment.clone()).await?;
    let port = fleet.rsplit(':').next().context("a port")?.parse()?;
    let second = bridge.add_stopped_node_behind(port, environment)?;
    second.start()?;
    wait_for_log(second, "was used before").await?;
    assert_eq!(second.readiness().await, Some(503));
    assert!(!second.directory().join(IDENTITY).exists());
    assert!(shown(&admin, "node-1").await.is_none());
    let text = second.process()?.log_text();
    assert!(!text.contains(&made.join_token), "the token is in the log");
    Ok(())
}

#[tokio::test]
async fn a_node_tells_its_token_to_nobody_else() -> Result<()> {
    let mut bridge = Bridge::start_with(0, issued()).await?;
    let admin = bridge.admin().await?;
    let made = join_token(&admin, "node-1").await?;
    let fleet = bridge.control().fleet_address();
    let port = fleet.rsplit(':').next().context("a port")?.parse()?;
    let wrong = "0123456789abcdef".repeat(4);
    let node = bridge.add_stopped_node_behind(port, joining(&fleet, &made.join_token, &wrong))?;
    node.start()?;
    wait_for_log(node, "UnknownIssuer").await?;
    node.kill()?;
    // The token was not shown, so that it is still good.
    bridge
        .add_node_with(joining(&fleet, &made.join_token, &made.authority_fingerprint))
        .await?;
    let node = shown(&admin, "node-1").await.context("it is listed")?;
    assert!(fingerprint(&node).is_some());
    Ok(())
}

#[tokio::test]
async fn a_node_is_cut_off_wherever_it_is_connected() -> Result<()> {
    let Some(mut bridge) = Bridge::start_on_postgres_with(0, issued()).await? else {
        return Ok(());
    };
    let second = bridge.add_replica().await?;
    let (fleet, second) = (second.fleet_address(), second.admin_address());
    let (here, there) = (bridge.admin().await?, Admin::login(&second).await?);
    // Made at one, used at the other: they are one authority.
    let made = join_token(&here, "").await?;
    bridge
        .add_node_with(joining(&fleet, &made.join_token, &made.authority_fingerprint))
        .await?;
    wait::until("the node to be known there", || async {
        shown(&there, "node-0").await.map(drop)
    })
    .await?;
    let asked = Instant::now();
    revoke(&here, "node-0").await?;
    wait_until_cut_off(bridge.node(0)?).await?;
    let took = asked.elapsed();
    eprintln!(
        "figure: cut off at another control plane {} ms after it was revoked",
        took.as_millis()
    );
    assert!(took <= CUT_OFF_MAX, "{took:?}");
    wait::until("both control planes to show it", || async {
        let (a, b) = (shown(&here, "node-0").await?, shown(&there, "node-0").await?);
        (a.state() == NodeState::Revoked && b.state() == NodeState::Revoked).then_some(())
    })
    .await
}
