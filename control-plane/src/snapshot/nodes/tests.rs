use std::collections::BTreeSet;
use std::time::Duration;

use super::membership::GONE_MAX;
use super::waiting::Acks;
use super::*;
use crate::snapshot::ledger::Target;
use crate::store::ControlPlaneId;

const LONG: Duration = Duration::from_secs(3600);

fn prober(revision: u64) -> Wanted<'static> {
    Wanted {
        capability: fleet::Capability::Probe,
        revision,
        node: None,
    }
}

fn nodes() -> Nodes {
    Nodes::new(Gauge::default())
}

fn id(text: &str) -> NodeId {
    NodeId::parse(text).unwrap()
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_with_the_last_ack() {
    let nodes = nodes();
    let (a, b) = (
        nodes.join_test("a", false, Some(7)),
        nodes.join_test("b", false, None),
    );
    let waiting = nodes.wait_acked(7, LONG);
    let acking = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        b.acked(Target::test(9));
    };
    let (acks, ()) = tokio::join!(waiting, acking);
    assert_eq!(
        acks,
        Acks {
            acknowledged: vec![id("a"), id("b")],
            pending: vec![]
        }
    );
    drop(a);
}

#[tokio::test(start_paused = true)]
async fn whoever_is_late_refuses_or_leaves_is_named() {
    let nodes = nodes();
    let (late, refusing) = (
        nodes.join_test("late", false, Some(6)),
        nodes.join_test("refusing", false, None),
    );
    let leaving = nodes.join_test("leaving", false, None);
    refusing.refused(Point::test(7), vec![]);
    let (acks, ()) = tokio::join!(nodes.wait_acked(7, Duration::from_secs(5)), async {
        drop(leaving)
    });
    assert_eq!(acks.acknowledged, vec![]);
    assert_eq!(acks.pending, vec![id("late"), id("leaving"), id("refusing")]);
    drop(late);
}

#[tokio::test(start_paused = true)]
async fn without_nodes_there_is_nothing_to_wait_for() {
    let before = Instant::now();
    assert_eq!(nodes().wait_acked(1, LONG).await, Acks::default());
    assert_eq!(Instant::now(), before);
}

#[tokio::test(start_paused = true)]
async fn nodes_at_other_control_planes_are_waited_for_too() {
    let nodes = nodes();
    let _here = nodes.join_test("a", false, Some(7));
    // It has moved here, and the one that it left does not know yet.
    let _moved = nodes.join_test("b", false, Some(7));
    let away = |acked| Away {
        at: ControlPlaneId::from_bytes([7; 16]),
        acked,
        refused: None,
        is_live: true,
    };
    let elsewhere = |acked| Elsewhere::from([(id("b"), vec![away(Some(3))]), (id("c"), vec![away(acked)])]);
    nodes.set_elsewhere(elsewhere(Some(6)));
    let hearing = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        nodes.set_elsewhere(elsewhere(Some(7)));
    };
    let before = Instant::now();
    let (acks, ()) = tokio::join!(nodes.wait_acked(7, LONG), hearing);
    assert_eq!(acks.acknowledged, vec![id("a"), id("b"), id("c")]);
    assert_eq!(Instant::now() - before, Duration::from_secs(1));
    assert_eq!(nodes.live_elsewhere(), 1, "who is here too is counted here");
    assert_eq!(nodes.shared.connected.get(), 2, "they are not connected here");
}

#[tokio::test(start_paused = true)]
async fn refusals_alone_settle_it() {
    let nodes = nodes();
    let refusing = nodes.join_test("a", false, None);
    refusing.refused(Point::test(7), vec![]);
    let before = Instant::now();
    assert_eq!(nodes.wait_acked(7, LONG).await.pending, vec![id("a")]);
    assert_eq!(Instant::now(), before);
}

#[test]
fn the_newer_stream_of_a_node_wins() {
    let nodes = nodes();
    let older = nodes.join_test("a", false, None);
    let newer = nodes.join_test("a", true, None);
    assert!(older.ending.token.is_cancelled() && !newer.ending.token.is_cancelled());
    older.acked(Target::test(9));
    drop(older);
    assert_eq!(
        nodes.able(prober(1)).err(),
        Some(Lacking::Revision),
        "the older stream has no say"
    );
    newer.acked(Target::test(9));
    assert_eq!(nodes.able(prober(9)).unwrap().0, id("a"));
    drop(newer);
    assert_eq!(nodes.able(prober(0)).err(), Some(Lacking::Node));
    assert_eq!(nodes.shared.connected.get(), 0);
}

#[test]
fn a_draining_node_is_not_asked_to_probe() {
    let nodes = nodes();
    let node = nodes.join_test("a", true, Some(1));
    assert!(nodes.able(prober(1)).is_ok());
    node.reported(fleet::NodeStatus {
        draining: true,
        ..Default::default()
    });
    assert_eq!(nodes.able(prober(1)).err(), Some(Lacking::Node));
}

#[test]
fn the_first_to_get_a_change_holds_what_the_others_do_and_has_little_to_lose() {
    let nodes = nodes();
    let busy = |requests| fleet::NodeStatus {
        requests_in_flight: requests,
        ..Default::default()
    };
    let behind = nodes.join_test("behind", false, Some(1));
    let first = nodes.join_test("first", false, Some(7));
    let second = nodes.join_test("second", false, Some(7));
    first.reported(busy(5));
    second.reported(busy(3));
    let canary = |except: Option<&str>| nodes.canary(&Point::test(7), except.map(id).as_ref());
    assert_eq!(canary(None), Some(id("second")));
    assert_eq!(canary(Some("second")), Some(id("first")));
    drop((first, second));
    assert_eq!(canary(None), Some(id("behind")));
    drop(behind);
    assert_eq!(canary(None), None);
}

#[test]
fn who_lacks_something_before_the_revision_is_not_asked() {
    let nodes = nodes();
    let node = nodes.join_test("a", true, None);
    node.acked(Target {
        complete_to: 3,
        ..Target::test(9)
    });
    let able = |revision| nodes.able(prober(revision)).err();
    assert_eq!((able(3), able(4)), (None, Some(Lacking::Revision)));
    assert_eq!(nodes.judge(&mut BTreeSet::new(), 9).0.acknowledged, [id("a")]);
}

#[test]
fn nodes_that_are_gone_are_remembered_up_to_a_limit() {
    let nodes = nodes();
    for n in 0..GONE_MAX + 5 {
        drop(nodes.join_test(&n.to_string(), false, Some(1)));
    }
    assert_eq!(nodes.list().len(), GONE_MAX);
    let node = nodes.join_test("a", false, None);
    assert_eq!(nodes.forget(&id("a")), Err(CannotForget::Connected));
    drop(node);
    assert_eq!(nodes.forget(&id("a")), Ok(()));
    assert_eq!(nodes.forget(&id("a")), Err(CannotForget::Unknown));
}

#[tokio::test]
async fn what_is_said_to_all_reaches_those_who_can_do_it() {
    let nodes = nodes();
    let mut able = nodes.join_test("able", true, None);
    let mut other = nodes.join_test("other", false, None);
    let probe = Ask::Probe(fleet::Probe::default());
    assert_eq!(nodes.tell_all(fleet::Capability::Probe, &probe), [id("other")]);
    assert!(able.asks.try_recv().is_ok() && other.asks.try_recv().is_err());
    for _ in 0..ASK_QUEUE {
        assert!(nodes.tell_one(&id("able"), probe.clone()));
    }
    let untold = nodes.tell_all(fleet::Capability::Probe, &probe);
    assert_eq!(untold, [id("able"), id("other")]);
}

#[test]
fn who_holds_the_newest_is_asked_or_who_is_named() {
    let nodes = nodes();
    let _members =
        [("a", 2), ("b", 3), ("c", 3)].map(|(name, acked)| nodes.join_test(name, true, Some(acked)));
    let asked = |wanted| nodes.able(wanted).map(|(id, _)| id);
    assert_eq!(asked(prober(0)).ok(), Some(id("b")));
    let named = |node| Wanted {
        node: Some(node),
        ..prober(0)
    };
    assert_eq!(asked(named("a")).ok(), Some(id("a")));
    assert_eq!(asked(named("d")).err(), Some(Lacking::Node));
    let explain = Wanted {
        capability: fleet::Capability::Explain,
        ..prober(0)
    };
    assert_eq!(asked(explain).err(), Some(Lacking::Node));
}
