//! What the audit log tells of changes, and to whom.

use bridge_proto::admin::v1 as admin;
use bridge_proto::admin::v1::audit_service_client::AuditServiceClient;
use bridge_proto::admin::v1::provider_service_client::ProviderServiceClient;
use bridge_proto::admin::v1::service_token_service_client::ServiceTokenServiceClient;
use tonic::Code;
use tonic::service::interceptor::InterceptedService;

use super::requests::{code, create_key, new_key, provider, secrets};
use super::{Bearer, Bridge, EMAIL, SignedIn};

async fn list(by: &SignedIn, request: admin::ListEntriesRequest) -> admin::ListEntriesResponse {
    let mut audit = AuditServiceClient::new(by.clone());
    audit.list_entries(request).await.unwrap().into_inner()
}

fn all() -> admin::ListEntriesRequest {
    admin::ListEntriesRequest::default()
}

#[tokio::test]
async fn a_change_is_told_with_who_made_it_and_without_secrets() {
    let bridge = Bridge::start().await;
    let admin = bridge.admin().await;
    let mut providers = ProviderServiceClient::new(admin.clone());
    let request = admin::CreateProviderRequest {
        provider: Some(provider("qwen")),
        secrets: secrets("canary-of-the-provider"),
        ..Default::default()
    };
    let made = providers.create_provider(request).await.unwrap().into_inner();
    let of_qwen = admin::ListEntriesRequest {
        target: "provider/qwen".to_owned(),
        ..all()
    };
    let entries = list(&admin, of_qwen).await.entries;
    assert_eq!(entries.len(), 1);
    let entry = &entries[0];
    assert_eq!(
        (entry.actor.as_str(), entry.method.as_str(), entry.before.as_str()),
        (EMAIL, "ProviderService.CreateProvider", "")
    );
    assert_eq!(entry.revision, made.provider.unwrap().revision);
    assert_eq!(entry.remote_address, "127.0.0.1");
    assert!(!entry.request_id.is_empty() && !entry.actor_id.is_empty());
    let after: serde_json::Value = serde_json::from_str(&entry.after).unwrap();
    assert_eq!(after["api_key"], "***");
    assert_eq!(after["base_url"], "https://upstream.example/v1");
    let everything = format!("{:?}", list(&admin, all()).await);
    assert!(!everything.contains("canary"), "{everything}");
}

#[tokio::test]
async fn entries_come_newest_first_in_pages_that_filters_cut() {
    let bridge = Bridge::start().await;
    let admin = bridge.admin().await;
    for name in ["a", "b", "c"] {
        create_key(&admin, new_key(name)).await.unwrap();
    }
    let whole = list(&admin, all()).await.entries;
    let sequences: Vec<u64> = whole.iter().map(|entry| entry.sequence).collect();
    let expected: Vec<u64> = (1..=sequences.len() as u64).rev().collect();
    assert_eq!(sequences, expected);

    let mut paged = Vec::new();
    let mut request = admin::ListEntriesRequest {
        page_size: 2,
        target: "api_key/".to_owned(),
        ..all()
    };
    loop {
        let page = list(&admin, request.clone()).await;
        assert!(page.entries.len() <= 2);
        paged.extend(page.entries);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    let of_keys = |entry: &&admin::AuditEntry| entry.target.starts_with("api_key/");
    let expected: Vec<_> = whole.iter().filter(of_keys).cloned().collect();
    assert_eq!((paged.len(), paged), (3, expected));

    let count = async |request| list(&admin, request).await.entries.len();
    let by_method = admin::ListEntriesRequest {
        method: "AuthService.Login".to_owned(),
        ..all()
    };
    assert_eq!(count(by_method).await, 1);
    let by_actor = admin::ListEntriesRequest {
        actor_id: whole[0].actor_id.clone(),
        ..all()
    };
    assert_eq!(count(by_actor).await, 4, "three keys and a login");
    let (newest, oldest) = (whole[0].at, whole[whole.len() - 1].at);
    let until = admin::ListEntriesRequest {
        until: oldest,
        ..all()
    };
    assert_eq!(count(until).await, 0);
    let since = admin::ListEntriesRequest {
        since: newest,
        ..all()
    };
    assert!(count(since).await >= 1);

    let mut audit = AuditServiceClient::new(admin.clone());
    let wrong = admin::ListEntriesRequest {
        page_token: "x".to_owned(),
        ..all()
    };
    assert_eq!(code(audit.list_entries(wrong).await), Code::InvalidArgument);
}

#[tokio::test]
async fn an_export_is_everything_from_a_place_on_and_the_chain_is_whole() {
    let bridge = Bridge::start().await;
    let admin = bridge.admin().await;
    for n in 0..120 {
        create_key(&admin, new_key(&format!("k{n}"))).await.unwrap();
    }
    let mut audit = AuditServiceClient::new(admin.clone());
    let export = async |audit: &mut AuditServiceClient<SignedIn>, after_sequence| {
        let request = admin::ExportEntriesRequest { after_sequence };
        let mut stream = audit.export_entries(request).await.unwrap().into_inner();
        let mut entries = Vec::new();
        while let Some(batch) = stream.message().await.unwrap() {
            entries.extend(batch.entries);
        }
        entries
    };
    let mut whole = list(
        &admin,
        admin::ListEntriesRequest {
            page_size: 1000,
            ..all()
        },
    )
    .await
    .entries;
    whole.reverse();
    assert!(whole.len() > 120);
    assert_eq!(export(&mut audit, 0).await, whole);
    assert_eq!(export(&mut audit, 100).await, whole[100..]);
    let verified = audit
        .verify_entries(admin::VerifyEntriesRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (verified.verified, verified.broken_sequence),
        (whole.len() as u64, 0)
    );
}

#[tokio::test]
async fn what_a_service_token_does_is_told_of_the_token() {
    let bridge = Bridge::start().await;
    let admin = bridge.admin().await;
    let mut tokens = ServiceTokenServiceClient::new(admin.clone());
    let request = admin::CreateServiceTokenRequest {
        name: "nightly".to_owned(),
        scopes: vec!["api_keys:write".to_owned()],
        ..Default::default()
    };
    let made = tokens.create_service_token(request).await.unwrap().into_inner();
    let by = InterceptedService::new(bridge.channel(bridge.admin).await, Bearer::new(&made.token));
    create_key(&by, new_key("x")).await.unwrap();
    let entry = list(&admin, all()).await.entries.remove(0);
    let token = made.service_token.unwrap();
    assert_eq!((entry.actor, entry.actor_id), (token.name, token.id));
    let secret = made.token.rsplit('-').next().unwrap();
    let everything = format!("{:?}", list(&admin, all()).await);
    assert!(!everything.contains(secret));
}
