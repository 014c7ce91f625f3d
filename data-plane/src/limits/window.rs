//! The last minute, second by second: never more than a limit in any sixty seconds.

/// What a limit per minute looks at. A second that has begun counts whole, so that the
/// minute is a little longer than sixty seconds and never shorter.
pub(super) const SECONDS: u64 = 60;

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    second: u64,
    sum: u64,
}

/// A sum over the last minute.
#[derive(Debug, Clone)]
pub(super) struct Window([Slot; SECONDS as usize]);

impl Default for Window {
    fn default() -> Self {
        Self([Slot::default(); SECONDS as usize])
    }
}

impl Window {
    pub(super) fn add(&mut self, second: u64, count: u64) {
        if count == 0 {
            return;
        }
        let slot = self.slot(second);
        slot.sum = slot.sum.saturating_add(count);
    }

    /// Takes back what was added in a second, if that is still within the minute.
    pub(super) fn take_back(&mut self, second: u64, count: u64) {
        if let Some(slot) = self.0.iter_mut().find(|slot| slot.second == second) {
            slot.sum = slot.sum.saturating_sub(count);
        }
    }

    /// Remembers the highest of a second.
    pub(super) fn raise(&mut self, second: u64, level: u64) {
        let slot = self.slot(second);
        slot.sum = slot.sum.max(level);
    }

    pub(super) fn sum(&self, now: u64) -> u64 {
        self.live(now).fold(0, |sum, slot| sum.saturating_add(slot.sum))
    }

    pub(super) fn max(&self, now: u64) -> u64 {
        self.live(now).map(|slot| slot.sum).max().unwrap_or(0)
    }

    /// Seconds until at most `left` of the sum remains.
    pub(super) fn wait(&self, now: u64, left: u64) -> u64 {
        let mut live: Vec<&Slot> = self.live(now).collect();
        live.sort_by_key(|slot| slot.second);
        let mut sum = self.sum(now);
        for slot in live {
            if sum <= left {
                break;
            }
            sum = sum.saturating_sub(slot.sum);
            if sum <= left {
                return (slot.second + SECONDS).saturating_sub(now);
            }
        }
        0
    }

    fn slot(&mut self, second: u64) -> &mut Slot {
        let slot = &mut self.0[(second % SECONDS) as usize];
        if slot.second != second {
            *slot = Slot { second, sum: 0 };
        }
        slot
    }

    fn live(&self, now: u64) -> impl Iterator<Item = &Slot> {
        self.0
            .iter()
            .filter(move |slot| slot.sum > 0 && now.saturating_sub(slot.second) < SECONDS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_a_minute_is_gone() {
        let mut window = Window::default();
        window.add(100, 3);
        window.add(130, 2);
        assert_eq!(
            (window.sum(130), window.sum(159), window.sum(160), window.sum(190)),
            (5, 5, 2, 0)
        );
        assert_eq!(
            (window.wait(130, 5), window.wait(130, 4), window.wait(130, 1)),
            (0, 30, 60)
        );
        window.take_back(130, 5);
        window.take_back(99, 5);
        assert_eq!(window.sum(130), 3);
        window.add(160, 1);
        assert_eq!(window.sum(160), 1, "a slot is used anew");
    }

    #[test]
    fn the_highest_of_a_minute_stays_for_a_minute() {
        let mut window = Window::default();
        window.raise(10, 4);
        window.raise(10, 2);
        window.raise(20, 3);
        assert_eq!((window.max(20), window.max(70), window.max(80)), (4, 3, 0));
    }
}
