//! Data planes with certificates: how they get them, what those open, and what ends them.

mod fleet;

use std::time::{Duration, Instant};

use bridge_proto::admin::v1 as admin;
use bridge_proto::admin::v1::audit_service_client::AuditServiceClient;
use bridge_proto::admin::v1::fleet_service_client::FleetServiceClient;
use bridge_proto::admin::v1::provider_service_client::ProviderServiceClient;
use bridge_proto::fleet::v1 as contract;
use bridge_proto::fleet::v1::enrolment_service_client::EnrolmentServiceClient;
use bridge_proto::fleet::v1::watch_request::Message as Up;
use futures_util::future::join_all;
use tonic::transport::Channel;
use tonic::{Code, Status};

use self::fleet::Fleet;
use super::access;
use super::requests;
use super::watch::node::Node;
use super::{Bearer, Bridge, NODE_TOKEN, SignedIn};

fn code<T>(result: Result<T, Status>) -> Code {
    result.err().map_or(Code::Ok, |status| status.code())
}

#[tokio::test]
async fn a_token_opens_one_enrolment() {
    let fleet = Fleet::start(3_600).await;
    let token = fleet.token("").await;
    let tries = ["a", "b", "c", "d"].map(|id| fleet.enrol(&token, id));
    let codes: Vec<_> = join_all(tries).await.into_iter().map(code).collect();
    assert_eq!(
        codes.iter().filter(|code| **code == Code::Ok).count(),
        1,
        "{codes:?}"
    );
    assert_eq!(
        codes
            .iter()
            .filter(|code| **code == Code::PermissionDenied)
            .count(),
        3
    );
    assert_eq!(code(fleet.enrol(&token, "e").await), Code::PermissionDenied);
    for bad in ["", "bjt-", NODE_TOKEN, &token[..token.len() - 1]] {
        assert_eq!(code(fleet.enrol(bad, "e").await), Code::PermissionDenied, "{bad}");
    }
    let named = fleet.token("named").await;
    assert_eq!(code(fleet.enrol(&named, "other").await), Code::PermissionDenied);
    assert_eq!(code(fleet.enrol(&named, "").await), Code::InvalidArgument);
    assert_eq!(
        code(fleet.enrol(&named, "named").await),
        Code::Ok,
        "a refusal costs nothing"
    );
    let nodes = fleet.nodes().await;
    assert_eq!(nodes.len(), 2, "{nodes:?}");
    assert!(
        nodes
            .iter()
            .all(|node| node.state() == admin::NodeState::Disconnected)
    );
}

#[tokio::test]
async fn plaintext_enrols_nobody() {
    let bridge = Bridge::start().await;
    let mut client = EnrolmentServiceClient::new(bridge.channel(bridge.fleet).await);
    let refused = client.enrol(contract::EnrolRequest::default()).await;
    assert_eq!(code(refused), Code::FailedPrecondition);
    let bearer = tonic::service::interceptor::InterceptedService::new(
        bridge.channel(bridge.fleet).await,
        Bearer::new(NODE_TOKEN),
    );
    let renewed = EnrolmentServiceClient::new(bearer)
        .renew(contract::RenewRequest::default())
        .await;
    assert_eq!(
        code(renewed),
        Code::PermissionDenied,
        "the token is no certificate"
    );
}

#[tokio::test]
async fn what_is_asked_of_a_token_is_checked_and_told_at_once() {
    let fleet = Fleet::start(3_600).await;
    let mut client = fleet.admin().await;
    let bad = admin::CreateJoinTokenRequest {
        node_id: "ä".to_owned(),
        lifetime: Some(prost_types::Duration {
            seconds: 3_601,
            nanos: 0,
        }),
    };
    let refused = client.create_join_token(bad).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    for field in ["node_id", "lifetime"] {
        assert!(refused.message().contains(field), "{refused}");
    }
    let made = client
        .create_join_token(admin::CreateJoinTokenRequest::default())
        .await;
    let made = made.unwrap().into_inner();
    assert!(made.join_token.starts_with("bjt-") && made.authority_fingerprint.len() == 64);
    let listener = made.fleet_listener.unwrap();
    assert_eq!(listener.tls(), admin::FleetListenerTls::Configured);
    assert!(listener.address.starts_with("127.0.0.1:"), "{listener:?}");
    let audit = AuditServiceClient::new(fleet.bridge.admin().await)
        .list_entries(admin::ListEntriesRequest::default())
        .await;
    let text = format!("{:?}", audit.unwrap().into_inner());
    assert!(text.contains("FleetService.CreateJoinToken") && !text.contains(&made.join_token));
}

#[tokio::test]
async fn a_node_is_who_its_certificate_says() {
    let fleet = Fleet::start(3_600).await;
    let holder = fleet.enrol(&fleet.token("").await, "mine").await.unwrap();
    let _watching = fleet.watch(&holder, "somebody else").await.unwrap();
    fleet.report(&holder).await.unwrap();
    let nodes = fleet.nodes().await;
    let [node] = nodes.as_slice() else {
        panic!("{nodes:?}")
    };
    let identity = node.identity.as_ref().unwrap();
    assert_eq!(node.id, "mine");
    assert!(!identity.is_token && identity.certificate_fingerprint.len() == 64);
    assert!(identity.certificate_expires_at.is_some());

    // Nobody takes its name: neither with the token that all share, nor with a new join token
    // that is for anybody.
    let shared = fleet.channel(fleet.bridge.fleet, None).await;
    let mut thief = Node::open_as(shared, Bearer::new(NODE_TOKEN)).await.unwrap();
    thief.send(Up::Subscribe(contract::Subscribe {
        node_id: "mine".to_owned(),
        ..Default::default()
    }));
    assert_eq!(code(thief.next().await), Code::PermissionDenied);
    let any = fleet.token("").await;
    assert_eq!(code(fleet.enrol(&any, "mine").await), Code::AlreadyExists);
    // With one of its own it begins anew, and the older certificate is over.
    let again = fleet.enrol(&fleet.token("mine").await, "mine").await.unwrap();
    assert_eq!(code(fleet.watch(&holder, "mine").await), Code::PermissionDenied);
    assert_eq!(code(fleet.watch(&again, "mine").await), Code::Ok);
}

#[tokio::test]
async fn a_certificate_is_renewed_by_itself_and_not_too_often() {
    let fleet = Fleet::start(3_600).await;
    let first = fleet.enrol(&fleet.token("").await, "a").await.unwrap();
    assert_eq!(code(fleet.renew(&first).await), Code::ResourceExhausted);

    let fleet = Fleet::start(10).await;
    let first = fleet.enrol(&fleet.token("").await, "a").await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(8);
    let second = loop {
        match fleet.renew(&first).await {
            Ok(second) => break second,
            Err(status) => assert_eq!(status.code(), Code::ResourceExhausted),
        }
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_ne!(first.chain, second.chain);
    // Both are of one enrolment.
    for holder in [&first, &second] {
        assert_eq!(code(fleet.report(holder).await), Code::Ok);
    }
    let audit = AuditServiceClient::new(fleet.bridge.admin().await)
        .list_entries(admin::ListEntriesRequest::default())
        .await;
    let text = format!("{:?}", audit.unwrap().into_inner());
    for method in ["EnrolmentService.Enrol", "EnrolmentService.Renew"] {
        assert!(text.contains(method), "{text}");
    }
}

#[tokio::test]
async fn an_expired_certificate_ends_the_stream_and_opens_no_other() {
    let fleet = Fleet::start(10).await;
    let holder = fleet.enrol(&fleet.token("").await, "a").await.unwrap();
    let mut watching = fleet.watch(&holder, "a").await.unwrap();
    let ended = loop {
        match watching.next().await {
            Ok(Some(_)) => {}
            ended => break ended,
        }
    };
    assert_eq!(code(ended), Code::PermissionDenied);
    let refused = EnrolmentServiceClient::new(fleet.channel(fleet.bridge.fleet, Some(&holder)).await)
        .renew(contract::RenewRequest::default())
        .await;
    assert!(refused.is_err(), "TLS lets nobody in with it");
}

#[tokio::test]
async fn a_revoked_node_is_cut_off_and_stays_so_until_it_is_forgotten() {
    let fleet = Fleet::start(3_600).await;
    let provider = admin::CreateProviderRequest {
        provider: Some(requests::provider("qwen")),
        secrets: requests::secrets("sk-of-the-upstream"),
        ..Default::default()
    };
    let mut providers = ProviderServiceClient::new(fleet.bridge.admin().await);
    providers.create_provider(provider).await.unwrap();
    let holder = fleet.enrol(&fleet.token("").await, "a").await.unwrap();
    let mut watching = fleet.watch(&holder, "a").await.unwrap();
    assert_eq!(code(fleet.forget("a").await), Code::FailedPrecondition);

    let before = Instant::now();
    let revoked = fleet.revoke("a").await.unwrap();
    assert_eq!(revoked.providers_to_rotate, ["qwen"]);
    assert!(!revoked.node_token_to_change);
    let ended = loop {
        match watching.next().await {
            Ok(Some(_)) => {}
            ended => break ended,
        }
    };
    assert_eq!(code(ended), Code::PermissionDenied);
    assert!(
        before.elapsed() < Duration::from_secs(2),
        "{:?}",
        before.elapsed()
    );
    assert_eq!(fleet.revoke("a").await.unwrap(), revoked, "again is the same");
    for refused in [
        code(fleet.watch(&holder, "a").await),
        code(fleet.report(&holder).await),
        code(fleet.renew(&holder).await),
        code(fleet.enrol(&fleet.token("a").await, "a").await),
    ] {
        assert_eq!(refused, Code::PermissionDenied);
    }
    let nodes = fleet.nodes().await;
    assert_eq!(nodes[0].state(), admin::NodeState::Revoked);

    fleet.forget("a").await.unwrap();
    assert_eq!(fleet.nodes().await, []);
    assert_eq!(code(fleet.watch(&holder, "a").await), Code::PermissionDenied);
    let again = fleet.enrol(&fleet.token("").await, "a").await.unwrap();
    assert_eq!(code(fleet.watch(&again, "a").await), Code::Ok);
    assert_eq!(code(fleet.watch(&holder, "a").await), Code::PermissionDenied);
}

#[tokio::test]
async fn a_node_with_the_shared_token_is_refused_by_its_name() {
    let bridge = Bridge::start().await;
    let mut node = Node::named(&bridge, "a").await;
    node.snapshot().await;
    let mut client = FleetServiceClient::new(bridge.admin().await);
    let mut revoke = async |id: &str| {
        let request = admin::RevokeNodeRequest { id: id.to_owned() };
        client.revoke_node(request).await.map(tonic::Response::into_inner)
    };
    assert_eq!(code(revoke("nobody").await), Code::NotFound);
    assert!(revoke("a").await.unwrap().node_token_to_change);
    let ended = loop {
        match node.next().await {
            Ok(Some(_)) => {}
            ended => break ended,
        }
    };
    assert_eq!(code(ended), Code::PermissionDenied);
    let mut again = Node::named(&bridge, "a").await;
    assert_eq!(code(again.next().await), Code::PermissionDenied);
    let mut other = Node::named(&bridge, "b").await;
    other.snapshot().await;
}

#[tokio::test]
async fn a_nodes_certificate_opens_no_method_of_the_admin() {
    let fleet = Fleet::start(3_600).await;
    let holder = fleet.enrol(&fleet.token("").await, "a").await.unwrap();
    let on_admin = fleet.channel(fleet.bridge.admin, Some(&holder)).await;
    let on_fleet = fleet.channel(fleet.bridge.fleet, Some(&holder)).await;
    let mut closed = 0;
    for (method, path) in access::methods() {
        let by = |channel: &Channel| SignedIn::new(channel.clone(), Bearer(None));
        let refused = access::call(by(&on_fleet), &path).await;
        assert_eq!(
            code(refused),
            Code::Unimplemented,
            "{method} on the fleet listener"
        );
        if !matches!(
            method.as_str(),
            "AuthService.GetSignInInfo" | "AuthService.Login" | "AuthService.Refresh"
        ) {
            let refused = access::call(by(&on_admin), &path).await;
            assert_eq!(
                code(refused),
                Code::Unauthenticated,
                "{method} on the admin listener"
            );
            closed += 1;
        }
    }
    assert!(closed > 50, "{closed}");
}
