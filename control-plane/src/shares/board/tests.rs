//! Nodes that come, go and say what they were asked for.

use super::*;

fn boot(node: &str, boot: &str) -> Boot {
    Boot {
        node_id: node.into(),
        boot_id: boot.into(),
    }
}

fn known(requests: u32) -> BTreeMap<String, Known> {
    let limits = Limits {
        requests_per_minute: Some(requests),
        ..Limits::default()
    };
    let known = Known {
        limits,
        budgets: Vec::new(),
    };
    [("k".to_owned(), known)].into()
}

fn used(requests: u64) -> Vec<fleet::KeyUse> {
    vec![fleet::KeyUse {
        key_id: "k".into(),
        requests,
        ..Default::default()
    }]
}

fn told(board: &mut Board, node: &str, seat: u64) -> Option<u32> {
    board.take(node, seat)?.shares[0].requests_per_minute
}

#[test]
fn shares_follow_demand_and_are_told_when_they_change() {
    let mut board = Board::default();
    board.join(1, boot("a", "1"), Arc::default());
    board.join(2, boot("b", "1"), Arc::default());
    assert_eq!(board.live_nodes(), 2);
    board.turn(&known(100), 0);
    assert_eq!(
        board.take("a", 1),
        None,
        "a key that nobody uses is nobody's business"
    );
    for second in 1..40_u64 {
        let now = second * 1_000;
        if second % 5 == 0 {
            board.status("a", 1, used(300), now);
            board.status("b", 2, vec![], now);
        }
        board.turn(&known(100), now);
        match second {
            5 => assert_eq!(
                (told(&mut board, "a", 1), told(&mut board, "b", 2)),
                (Some(50), Some(10))
            ),
            6..=15 => assert_eq!((told(&mut board, "a", 1), told(&mut board, "b", 2)), (None, None)),
            _ => {}
        }
    }
    assert_eq!(told(&mut board, "a", 1), Some(90));
    assert_eq!(told(&mut board, "b", 2), None);
}

#[test]
fn a_stream_that_was_replaced_has_no_say() {
    let mut board = Board::default();
    board.join(1, boot("a", "1"), Arc::default());
    board.join(2, boot("a", "2"), Arc::default());
    board.leave("a", 1, 5);
    assert_eq!(board.live_nodes(), 1);
    board.status("a", 1, used(1), 5);
    assert_eq!(board.keys(), Vec::<String>::new());
    board.status("a", 2, used(1), 5);
    board.turn(&known(7), 5);
    assert_eq!(
        (told(&mut board, "a", 1), told(&mut board, "a", 2)),
        (None, Some(7))
    );
}

#[test]
fn who_connects_again_is_told_again_if_it_started_anew() {
    let mut board = Board::default();
    board.join(1, boot("a", "1"), Arc::default());
    board.status("a", 1, used(1), 0);
    board.turn(&known(7), 0);
    assert_eq!(told(&mut board, "a", 1), Some(7));
    board.leave("a", 1, 10);
    board.join(2, boot("a", "1"), Arc::default());
    board.turn(&known(7), 20);
    assert_eq!(told(&mut board, "a", 2), None, "it knows");
    board.join(3, boot("a", "2"), Arc::default());
    board.turn(&known(7), 30);
    assert_eq!(told(&mut board, "a", 3), Some(7));
}

#[test]
fn keys_and_nodes_that_are_gone_are_forgotten() {
    let mut board = Board::default();
    board.join(1, boot("a", "1"), Arc::default());
    board.status("a", 1, used(1), 0);
    board.turn(&known(7), 1);
    board.turn(&known(7), IDLE_AFTER + 1);
    assert_eq!(board.keys(), Vec::<String>::new());
    board.status("a", 1, used(1), 0);
    board.turn(&BTreeMap::new(), 1);
    assert_eq!(board.keys(), Vec::<String>::new(), "its limits are gone");
    board.leave("a", 1, 0);
    board.turn(&known(7), GONE_AFTER + 1);
    assert!(board.nodes.is_empty());
}
