use proptest::prelude::*;

use super::*;

const TICK: Duration = Duration::from_millis(10);
/// Timers do not wait behind all: what a thread has not room for stands in a queue for all
/// threads.
const QUEUE_OF_WORKER_MS: f64 = 50.0;

/// One thread, a queue of requests, and somebody else who has the processor at times.
struct Plant {
    /// Requests in a millisecond, if all of the processor is ours.
    capacity: f64,
    /// What a refusal costs, of a request.
    refusal: f64,
    /// Work that waits, and what of it was let in.
    queue: f64,
    waiting: f64,
    is_interrupted: bool,
    controller: Controller,
    share: f64,
    served: f64,
    refused: f64,
    longest_ms: f64,
    now_ms: u64,
    tick: Tick,
    busy_ms: f64,
    arrivals: f64,
}

struct Tick {
    since_ms: u64,
    due_ms: u64,
    /// The work that was there before it was due.
    ahead: Option<f64>,
}

impl Tick {
    fn after(now_ms: u64) -> Self {
        Self {
            since_ms: now_ms,
            due_ms: now_ms + TICK.as_millis() as u64,
            ahead: None,
        }
    }
}

impl Plant {
    fn new(per_second: f64, refusal: f64) -> Self {
        Self {
            capacity: per_second / 1000.0,
            refusal,
            queue: 0.0,
            waiting: 0.0,
            is_interrupted: false,
            controller: Controller::default(),
            share: 1.0,
            served: 0.0,
            refused: 0.0,
            longest_ms: 0.0,
            now_ms: 0,
            tick: Tick::after(0),
            busy_ms: 0.0,
            arrivals: 0.0,
        }
    }

    fn forget(&mut self) {
        (self.served, self.refused, self.longest_ms) = (0.0, 0.0, 0.0);
    }

    /// A millisecond: so many come, and we have the processor or not.
    fn step(&mut self, arrivals: f64, is_ours: bool) {
        let let_in = arrivals * self.share;
        let refused = arrivals - let_in;
        self.arrivals += arrivals;
        self.refused += refused;
        self.waiting += let_in;
        self.queue += let_in + refused * self.refusal;
        self.now_ms += 1;
        if self.now_ms >= self.tick.due_ms {
            let ahead = self.queue.min(QUEUE_OF_WORKER_MS * self.capacity);
            self.tick.ahead.get_or_insert(ahead);
        }
        if !is_ours {
            // Who sleeps is not at work until it is woken.
            self.busy_ms += f64::from(u8::from(self.is_interrupted));
            return;
        }
        let done = self.queue.min(self.capacity);
        if done > 0.0 {
            let served = self.waiting * done / self.queue;
            self.served += served;
            self.waiting -= served;
        }
        self.queue -= done;
        self.busy_ms += done / self.capacity;
        self.is_interrupted = self.queue > 0.0;
        self.longest_ms = self.longest_ms.max(self.queue / self.capacity);
        match &mut self.tick.ahead {
            Some(ahead) if *ahead <= done => self.measure(),
            Some(ahead) => *ahead -= done,
            None => {}
        }
    }

    fn measure(&mut self) {
        let passed_ms = self.now_ms - self.tick.since_ms;
        self.share = self.controller.measured(Seen {
            passed: Duration::from_millis(passed_ms),
            lateness: Duration::from_millis(self.now_ms - self.tick.due_ms),
            busy: self.busy_ms / passed_ms as f64,
            arrivals: self.arrivals as u32,
        });
        (self.busy_ms, self.arrivals) = (0.0, 0.0);
        self.tick = Tick::after(self.now_ms);
    }

    fn run(&mut self, per_second: f64, time: Duration, is_ours: impl Fn(u64) -> bool) {
        for _ in 0..time.as_millis() {
            let is_ours = is_ours(self.now_ms);
            self.step(per_second / 1000.0, is_ours);
        }
    }
}

fn always(_: u64) -> bool {
    true
}

/// A processor of which we get one millisecond in ten, in turns of this many.
fn one_in_ten(turn: u64) -> impl Fn(u64) -> bool {
    move |now| now % (10 * turn) < turn
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn late(controller: &mut Controller, times: u32, arrivals: u32, lateness: Duration) -> f64 {
    (0..times).fold(1.0, |_, _| {
        controller.measured(Seen {
            passed: TICK + lateness,
            lateness,
            busy: 1.0,
            arrivals,
        })
    })
}

#[test]
fn what_can_be_done_is_done_at_any_load() {
    for capacity in [200.0, 2000.0, 20_000.0] {
        for load in [0.5, 0.9, 1.0, 1.5, 3.0, 10.0] {
            let mut plant = Plant::new(capacity, 0.0);
            plant.run(load * capacity, seconds(20), always);
            plant.forget();
            plant.run(load * capacity, seconds(20), always);
            let (rate, wanted) = (plant.served / 20.0, capacity * load.min(1.0));
            assert!(rate >= 0.95 * wanted, "{capacity} * {load}: {rate}");
            assert!(
                plant.longest_ms < 100.0,
                "{capacity} * {load}: {:?}",
                plant.longest_ms
            );
            assert_eq!(
                plant.refused > 0.0,
                load > 1.0,
                "{capacity} * {load}: {}",
                plant.refused
            );
        }
    }
}

#[test]
fn refusals_that_cost_something_leave_the_rest_for_requests() {
    let mut plant = Plant::new(2000.0, 0.03);
    plant.run(6000.0, seconds(3), always);
    plant.forget();
    plant.run(6000.0, seconds(20), always);
    assert!(plant.served / 20.0 >= 0.9 * 2000.0, "{}", plant.served / 20.0);
}

#[test]
fn refusals_that_fill_the_processor_do_not_end_all_service() {
    let mut plant = Plant::new(2000.0, 0.4);
    plant.run(6000.0, seconds(20), always);
    assert!(plant.share >= SHARE_MIN && plant.served > 0.0);
}

#[test]
fn neighbours_are_no_reason_to_refuse() {
    for turn in [1, 3, 10, 30] {
        for per_second in [10.0, 50.0, 100.0, 150.0] {
            let mut plant = Plant::new(2000.0, 0.05);
            plant.run(per_second, seconds(30), one_in_ten(turn));
            assert_eq!(plant.refused, 0.0, "{per_second}/s in turns of {turn} ms");
        }
    }
}

#[test]
fn work_that_is_told_in_lumps_is_no_more_than_it_is() {
    let mut controller = Controller::default();
    for tick in 0..1000 {
        let share = controller.measured(Seen {
            passed: TICK + LATE * 3,
            lateness: LATE * 3,
            busy: if tick % 3 == 0 { 1.5 } else { 0.0 },
            arrivals: 100,
        });
        assert_eq!(share, 1.0, "{tick}");
    }
}

#[test]
fn bursts_are_not_refused() {
    for burst in [50.0, 128.0, 500.0] {
        let mut plant = Plant::new(2000.0, 0.05);
        for _ in 0..20 {
            plant.step(burst, true);
            plant.run(20.0, seconds(2), always);
        }
        assert_eq!(plant.refused, 0.0, "{burst} at once");
    }
}

#[test]
fn few_requests_are_not_the_reason() {
    let mut controller = Controller::default();
    assert_eq!(late(&mut controller, 1, ARRIVALS_MIN - 1, seconds(5)), 1.0);
    assert_eq!(late(&mut Controller::default(), 127, 1, LATE), 1.0);
}

#[test]
fn a_queue_has_to_stand() {
    let mut controller = Controller::default();
    assert_eq!(late(&mut controller, 15, 100, LATE), 1.0);
    assert_eq!(late(&mut controller, 5, 100, Duration::ZERO), 1.0);
    assert_eq!(late(&mut controller, 15, 100, LATE), 1.0);
    assert!(late(&mut controller, 3, 100, LATE) < 1.0);
}

#[test]
fn all_are_let_in_soon_after_a_storm() {
    for load in [1.5, 2.0, 3.0, 5.0] {
        let mut plant = Plant::new(2000.0, 0.02);
        plant.run(load * 2000.0, seconds(10), always);
        assert!(plant.share < 1.0);
        plant.run(50.0, seconds(2), always);
        assert_eq!(plant.share, 1.0, "{load}");
        plant.forget();
        plant.run(1000.0, seconds(5), always);
        assert_eq!(plant.refused, 0.0, "{load}");
    }
}

proptest! {
    #[test]
    fn the_share_is_a_share(measurements: Vec<(u16, u16, u8, u32)>) {
        let mut controller = Controller::default();
        for (passed_ms, late_ms, busy, arrivals) in measurements {
            let share = controller.measured(Seen {
                passed: Duration::from_millis(passed_ms.into()),
                lateness: Duration::from_millis(late_ms.into()),
                busy: f64::from(busy) / 64.0,
                arrivals,
            });
            prop_assert!((SHARE_MIN..=1.0).contains(&share));
            prop_assert_eq!(controller.is_shedding(), share < 1.0);
        }
    }
}
