//! Shares over time, with nodes that use whatever they are granted.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

const SECOND: Ms = 1_000;
const MINUTE_S: u64 = 60;

/// A node as the data plane has it: a sliding minute, second by second.
#[derive(Default)]
struct Node {
    track: Track,
    share: u64,
    /// Seconds and what was granted and asked for in them.
    seconds: VecDeque<(u64, u64, u64)>,
    asked: Option<Asked>,
    /// A share on its way.
    arriving: VecDeque<(u64, u64)>,
}

impl Node {
    fn ask(&mut self, second: u64, count: u64) -> u64 {
        while self
            .seconds
            .front()
            .is_some_and(|(at, ..)| at + MINUTE_S <= second)
        {
            self.seconds.pop_front();
        }
        let used: u64 = self.seconds.iter().map(|(_, granted, _)| granted).sum();
        let granted = count.min(self.share.saturating_sub(used));
        self.seconds.push_back((second, granted, count));
        granted
    }

    fn asked_for(&self) -> u64 {
        self.seconds.iter().map(|(.., asked)| asked).sum()
    }
}

/// Runs for so many seconds; `demand` says what each node is asked for in a second. Returns the
/// most that any sixty seconds granted.
fn run(limit: u64, nodes: usize, seconds: u64, delay_s: u64, demand: impl Fn(u64, usize) -> u64) -> u64 {
    let start = limit.div_ceil(nodes as u64);
    let mut fleet: Vec<Node> = (0..nodes)
        .map(|_| Node {
            share: start,
            ..Node::default()
        })
        .collect();
    fleet.iter_mut().for_each(|node| node.track.tell(0, start));
    let (mut granted, mut most) = (VecDeque::new(), 0);
    for second in 1..seconds {
        let now = second * SECOND;
        for (place, node) in fleet.iter_mut().enumerate() {
            while node.arriving.front().is_some_and(|(at, _)| *at <= second) {
                node.share = node.arriving.pop_front().map_or(node.share, |(_, share)| share);
            }
            if (second + place as u64).is_multiple_of(5) {
                node.asked = Some(Asked {
                    count: node.asked_for(),
                    at: now,
                });
            }
            let sum = node.ask(second, demand(second, place));
            granted.push_back((second, sum));
        }
        if second.is_multiple_of(2) {
            let mut places: Vec<Place<'_>> = fleet
                .iter_mut()
                .map(|node| Place {
                    asked: node.asked,
                    track: &mut node.track,
                    is_live: true,
                })
                .collect();
            let shares = split(Kind::PerMinute, limit, &mut places, now);
            assert!(shares.iter().all(|share| *share >= 1));
            for (node, share) in fleet.iter_mut().zip(shares) {
                node.track.tell(now, share);
                node.arriving.push_back((second + delay_s, share));
            }
        }
        while granted.front().is_some_and(|(at, _)| at + MINUTE_S <= second) {
            granted.pop_front();
        }
        most = most.max(granted.iter().map(|(_, sum)| sum).sum());
    }
    most
}

#[test]
fn a_key_that_one_node_is_asked_for_gets_nearly_all_of_it_there() {
    let most = run(600, 3, 300, 1, |_, place| if place == 0 { 100 } else { 0 });
    assert!((520..=600).contains(&most), "{most}");
}

#[test]
fn moving_from_node_to_node_gains_nothing() {
    for period in [7, 20, 61, 90] {
        let most = run(600, 3, 600, 1, |second, place| {
            if (second / period) as usize % 3 == place {
                1_000
            } else {
                0
            }
        });
        assert!(most <= 600 + 3, "every {period} s: {most}");
    }
}

#[test]
fn nodes_that_are_asked_alike_share_alike() {
    let mut tracks = vec![Track::default(); 4];
    let asked = Some(Asked { count: 10, at: 0 });
    let mut places: Vec<Place<'_>> = tracks
        .iter_mut()
        .map(|track| Place {
            track,
            asked,
            is_live: true,
        })
        .collect();
    assert_eq!(split(Kind::PerMinute, 100, &mut places, 0), [25; 4]);
    assert_eq!(
        split(Kind::PerMinute, 2, &mut places, 0),
        [1; 4],
        "everybody gets one"
    );
}

#[test]
fn who_has_left_counts_for_a_minute() {
    let (mut gone, mut here) = (Track::default(), Track::default());
    gone.tell(0, 50);
    here.tell(0, 50);
    let mut share = |now: Ms| {
        let mut places = [
            Place {
                track: &mut gone,
                asked: None,
                is_live: false,
            },
            Place {
                track: &mut here,
                asked: Some(Asked { count: 500, at: now }),
                is_live: true,
            },
        ];
        split(Kind::PerMinute, 100, &mut places, now)
    };
    assert_eq!(share(30_000), [0, 50]);
    gone.tell(40_000, 0);
    let mut share = |now: Ms| {
        let mut places = [
            Place {
                track: &mut gone,
                asked: None,
                is_live: false,
            },
            Place {
                track: &mut here,
                asked: Some(Asked { count: 500, at: now }),
                is_live: true,
            },
        ];
        split(Kind::PerMinute, 100, &mut places, now)
    };
    assert_eq!(share(100_000), [0, 50]);
    assert_eq!(share(106_000), [0, 100]);
}

#[test]
fn requests_that_run_keep_their_place_however_long() {
    let mut tracks = [Track::default(), Track::default()];
    tracks.iter_mut().for_each(|track| track.tell(0, 5));
    let mut shares = |now: Ms, asked: [u64; 2]| {
        let mut places: Vec<Place<'_>> = tracks
            .iter_mut()
            .zip(asked)
            .map(|(track, count)| Place {
                track,
                asked: Some(Asked { count, at: now }),
                is_live: true,
            })
            .collect();
        let shares = split(Kind::AtOnce, 10, &mut places, now);
        for (track, share) in tracks.iter_mut().zip(&shares) {
            track.tell(now, *share);
        }
        shares
    };
    for step in 1..100 {
        let shares = shares(step * 5_000, [4, 100]);
        assert!(shares[1] <= 6, "four are running at the other: {shares:?}");
    }
    for step in 100..120 {
        shares(step * 5_000, [0, 100]);
    }
    assert_eq!(shares(600_000, [0, 100]), [1, 9]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever is asked for, wherever and whenever: no minute of the fleet has more than the
    /// limit, but for the one that every node gets.
    #[test]
    fn no_minute_has_more_than_the_limit(
        limit in 1_u64..2_000,
        nodes in 1_usize..6,
        delay_s in 0_u64..3,
        bursts in proptest::collection::vec((0_u64..400, 0_usize..6, 1_u64..40, 0_u64..500), 1..12),
    ) {
        let most = run(limit, nodes, 400, delay_s, |second, place| {
            let of = |(from, node, length, count): &(u64, usize, u64, u64)| {
                if node % nodes == place && (*from..from + length).contains(&second) { *count } else { 0 }
            };
            bursts.iter().map(of).sum()
        });
        let rounding = 2 * nodes as u64;
        prop_assert!(most <= limit + rounding, "{most} of {limit} with {nodes} nodes");
    }
}
