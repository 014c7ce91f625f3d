//! Data planes at other control planes of the same store, as those tell: so that a
//! revocation waits for them too, and each is counted once.
//!
//! No clock is compared with another machine's: whoever says nothing new for a while,
//! by the clock of this one, counts as gone, and its data planes with it.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::nodes::{Away, Elsewhere, NodeId, Nodes};
use crate::store::{self, ControlPlaneId, NodeSeen, Presence, Store};

/// How often a control plane says that it is there.
const BEAT_EVERY: Duration = Duration::from_secs(5);
/// How long one may be silent.
const SILENT_MAX: Duration = Duration::from_secs(15);
/// After what silence its row is taken away.
const FORGET_AFTER: Duration = Duration::from_secs(60);
/// How long answers of data planes wait for each other before they are told.
const GATHER: Duration = Duration::from_millis(10);

/// Tells others of our nodes, and our registry of theirs, until the shutdown.
pub(crate) async fn run(store: Store, nodes: Nodes, stopping: CancellationToken) {
    let Some(mut told) = store.presence_told() else {
        return;
    };
    let mut changed = nodes.changes();
    let mut beats = interval(BEAT_EVERY);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut telling, mut others) = (Telling::default(), Others::default());
    loop {
        let done = tokio::select! {
            biased;
            () = stopping.cancelled() => break,
            // First what is known already, so that a burst of changes cannot hide it.
            Ok(()) = told.changed() => others.hear(&store, &nodes).await,
            _ = beats.tick() => match telling.tell(&store, nodes.seen()).await {
                Ok(()) => others.hear(&store, &nodes).await,
                Err(error) => Err(error),
            },
            Ok(()) = changed.changed() => {
                sleep(GATHER).await;
                changed.mark_unchanged();
                telling.tell_news(&store, nodes.seen()).await
            }
        };
        if let Err(error) = done {
            // The next beat tries again.
            tracing::debug!(%error, "control planes cannot tell each other of their nodes");
        }
    }
    if let Err(error) = store.leave().await {
        tracing::debug!(%error, "the other control planes will notice by themselves that this one is gone");
    }
}

/// What was said last.
#[derive(Default)]
struct Telling {
    beat: u64,
    said: Vec<NodeSeen>,
}

impl Telling {
    async fn tell(&mut self, store: &Store, seen: Vec<NodeSeen>) -> Result<(), store::Error> {
        self.beat += 1;
        store.tell_presence(self.beat, seen.clone()).await?;
        self.said = seen;
        Ok(())
    }

    /// Not everything that changes here matters there.
    async fn tell_news(&mut self, store: &Store, seen: Vec<NodeSeen>) -> Result<(), store::Error> {
        if seen == self.said {
            return Ok(());
        }
        self.tell(store, seen).await
    }
}

/// When each of the others said something new.
#[derive(Default)]
struct Others {
    heard: BTreeMap<ControlPlaneId, (u64, Instant)>,
}

impl Others {
    async fn hear(&mut self, store: &Store, nodes: &Nodes) -> Result<(), store::Error> {
        let presences = store.presences().await?;
        let (elsewhere, silent) = self.judge(presences, Instant::now());
        nodes.set_elsewhere(elsewhere);
        for control_plane in silent {
            store.forget_presence(control_plane).await?;
        }
        Ok(())
    }

    /// Whose nodes count, and who has been silent for so long that its row can go.
    fn judge(&mut self, presences: Vec<Presence>, now: Instant) -> (Elsewhere, Vec<ControlPlaneId>) {
        let (mut elsewhere, mut silent) = (Elsewhere::new(), Vec::new());
        let mut heard = BTreeMap::new();
        for Presence {
            control_plane,
            beat,
            nodes,
        } in presences
        {
            let since = match self.heard.get(&control_plane) {
                Some((last, since)) if *last == beat => *since,
                Some(_) | None => now,
            };
            heard.insert(control_plane, (beat, since));
            let silence = now.saturating_duration_since(since);
            if silence > FORGET_AFTER {
                silent.push(control_plane);
            } else if silence <= SILENT_MAX {
                for (id, away) in nodes.into_iter().filter_map(|seen| away(control_plane, seen)) {
                    elsewhere.entry(id).or_default().push(away);
                }
            }
        }
        self.heard = heard;
        (elsewhere, silent)
    }
}

fn away(at: ControlPlaneId, seen: NodeSeen) -> Option<(NodeId, Away)> {
    let NodeSeen {
        node,
        acked,
        refused,
        is_live,
    } = seen;
    let away = Away {
        at,
        acked,
        refused,
        is_live,
    };
    Some((NodeId::parse(&node)?, away))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(beat: u64) -> Presence {
        Presence {
            control_plane: ControlPlaneId::from_bytes([1; 16]),
            beat,
            nodes: vec![NodeSeen {
                node: "a".into(),
                acked: Some(7),
                refused: None,
                is_live: true,
            }],
        }
    }

    #[test]
    fn who_is_silent_counts_as_gone_until_it_speaks_again() {
        let (mut others, start) = (Others::default(), Instant::now());
        let mut nodes_after = |beat: u64, after: Duration| {
            let (elsewhere, silent) = others.judge(vec![says(beat)], start + after);
            (elsewhere.len(), silent.len())
        };
        let second = Duration::from_secs(1);
        assert_eq!(nodes_after(1, Duration::ZERO), (1, 0));
        assert_eq!(nodes_after(1, SILENT_MAX), (1, 0));
        assert_eq!(nodes_after(1, SILENT_MAX + second), (0, 0));
        assert_eq!(nodes_after(2, SILENT_MAX + 2 * second), (1, 0));
        assert_eq!(nodes_after(2, SILENT_MAX + FORGET_AFTER + 3 * second), (0, 1));
    }
}
