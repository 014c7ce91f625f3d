//! Join tokens and the nodes that have used them.

use futures_util::future::join_all;

use super::*;
use crate::domain::join_token::{self, JoinToken, TOKENS_MAX};
use crate::domain::node::{Certificate, FleetNode, NodeId};
use crate::store::Kind;

on_each_store!(
    a_token_is_used_up_by_one_of_many,
    tokens_that_have_expired_make_room_for_others,
    nodes_are_read_as_they_were_written,
);

fn token(at: SystemTime) -> JoinToken {
    let minted = join_token::mint(rand::random(), rand::random());
    JoinToken {
        id: minted.id,
        hash: minted.hash,
        spec: join_token::Draft::default().check(at).unwrap(),
        created_at: at,
    }
}

fn node(name: &str) -> FleetNode {
    FleetNode {
        id: NodeId::parse(name).unwrap(),
        certificate: Some(Certificate {
            enrolment: [7; 16],
            fingerprint: [9; 32],
            issued_at: NOW,
            expires_at: NOW + Duration::from_secs(60),
        }),
        revoked_at: None,
    }
}

async fn a_token_is_used_up_by_one_of_many(home: Home) {
    let stores = match &home {
        Home::Database(_) => vec![home.open(), home.open()],
        Home::Folder(_) => vec![home.open()],
    };
    let token = token(NOW);
    commit(
        &stores[0],
        vec![Change::PutJoinToken(token.clone(), Expect::Absent)],
    )
    .await
    .unwrap();
    let tries = (0..20).map(|n| {
        let changes = vec![
            Change::DeleteJoinToken(token.id.clone(), Expect::Present),
            Change::PutNode(node(&format!("node-{n}")), Expect::Absent),
        ];
        commit(&stores[n % stores.len()], changes)
    });
    let done = join_all(tries).await;
    assert_eq!(done.iter().filter(|done| done.is_ok()).count(), 1);
    assert!(
        done.iter()
            .filter_map(|done| done.as_ref().err())
            .all(|error| matches!(
                error,
                CommitError::NotFound {
                    kind: Kind::JoinToken,
                    ..
                }
            ))
    );
    let nodes = stores[0].fleet_nodes().await.unwrap();
    assert_eq!(nodes.len(), 1, "who has lost has left nothing");
    assert!(stores[0].join_token(&token.id).await.unwrap().is_none());
}

async fn tokens_that_have_expired_make_room_for_others(home: Home) {
    let store = home.open();
    let put =
        async |token: JoinToken| commit(&store, vec![Change::PutJoinToken(token, Expect::Absent)]).await;
    let first = token(NOW);
    put(first.clone()).await.unwrap();
    for _ in 1..TOKENS_MAX {
        put(token(NOW)).await.unwrap();
    }
    let refused = put(token(NOW + Duration::from_secs(899))).await;
    assert!(matches!(
        refused,
        Err(CommitError::TooMany { max: TOKENS_MAX, .. })
    ));
    assert!(store.join_token(&first.id).await.unwrap().is_some());
    put(token(NOW + Duration::from_secs(900))).await.unwrap();
    assert!(store.join_token(&first.id).await.unwrap().is_none());
}

async fn nodes_are_read_as_they_were_written(home: Home) {
    let store = home.open();
    let (with, without) = (
        node("a b"),
        FleetNode {
            certificate: None,
            revoked_at: Some(NOW + Duration::from_secs(1)),
            ..node("c")
        },
    );
    let changes = [&without, &with].map(|node| Change::PutNode(node.clone(), Expect::Absent));
    commit(&store, changes.into()).await.unwrap();
    let read = |stored: Vec<crate::store::Stored<FleetNode>>| -> Vec<FleetNode> {
        stored.into_iter().map(|stored| stored.value).collect()
    };
    let both = read(store.fleet_nodes().await.unwrap());
    assert_eq!(both, [with.clone(), without.clone()]);
    let stored = store.fleet_node(&with.id).await.unwrap().unwrap();
    assert_eq!((stored.value, stored.revision), (with.clone(), 1));
    commit(
        &store,
        vec![Change::DeleteNode(with.id.clone(), Expect::Revision(1))],
    )
    .await
    .unwrap();
    assert_eq!(read(store.fleet_nodes().await.unwrap()), [without]);
}
