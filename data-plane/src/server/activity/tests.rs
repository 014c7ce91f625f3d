use super::*;

const PATIENCE: Patience = Patience {
    head: Duration::from_secs(10),
    idle: Duration::from_secs(75),
};
const MS: Duration = Duration::from_millis(1);

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// When it is dropped or finished, asking as often as it says.
fn end_of(activity: &Activity, from: Instant, wish: Wish) -> (Duration, Verdict) {
    let mut now = from;
    loop {
        match activity.verdict(now, PATIENCE, wish) {
            Verdict::Wait(until) => now = until.max(now + MS),
            end @ (Verdict::Finish | Verdict::Drop(_)) => return (now - from, end),
        }
    }
}

#[test]
fn who_says_nothing_has_the_time_of_a_head() {
    let start = Instant::now();
    let (after, end) = end_of(&Activity::new(start), start, Wish::Stay);
    assert_eq!((after, end), (seconds(10), Verdict::Drop("says nothing")));
}

#[test]
fn a_dripping_head_has_its_time_from_the_first_byte() {
    let start = Instant::now();
    let activity = Activity::new(start);
    for second in 3..9 {
        activity.heard(b"GET", start + seconds(second)).unwrap();
    }
    let (after, end) = end_of(&activity, start, Wish::Stay);
    assert_eq!(after, seconds(13));
    assert_eq!(end, Verdict::Drop("takes too long for a head"));
}

#[test]
fn between_requests_there_is_more_time_but_not_for_the_next_head() {
    let start = Instant::now();
    let activity = Activity::new(start);
    activity.heard(b"GET / HTTP/1.1\r\n\r\n", start).unwrap();
    activity.began();
    assert!(matches!(
        activity.verdict(start + seconds(500), PATIENCE, Wish::Stay),
        Verdict::Wait(_)
    ));
    activity.ended(start + seconds(600));
    let idle_from = start + seconds(600);
    assert_eq!(
        end_of(&activity, idle_from, Wish::Stay),
        (seconds(75), Verdict::Finish)
    );
    activity.heard(b"G", idle_from + seconds(70)).unwrap();
    let (after, end) = end_of(&activity, idle_from + seconds(70), Wish::Stay);
    assert_eq!(
        (after, end),
        (seconds(10), Verdict::Drop("takes too long for a head"))
    );
}

#[test]
fn http2_is_known_by_its_preface_however_it_is_cut() {
    for size in [1, 5, 24, 1000] {
        let start = Instant::now();
        let activity = Activity::new(start);
        let sent = [H2_PREFACE, &[0; 9]].concat();
        for piece in sent.chunks(size) {
            activity.heard(piece, start).unwrap();
        }
        // Settings and pings are no heads.
        let (after, end) = end_of(&activity, start, Wish::Stay);
        assert_eq!((after, end), (seconds(75), Verdict::Finish), "{size}");
    }
    let start = Instant::now();
    let activity = Activity::new(start);
    activity.heard(&H2_PREFACE[..23], start).unwrap();
    let (after, _) = end_of(&activity, start, Wish::Stay);
    assert_eq!(after, seconds(10));
}

#[test]
fn only_a_request_allows_more_bytes() {
    let start = Instant::now();
    let activity = Activity::new(start);
    let most = vec![0; BYTES_BETWEEN_REQUESTS_MAX];
    activity.heard(&most, start).unwrap();
    activity.began();
    activity.heard(&most, start).unwrap();
    activity.ended(start);
    activity.heard(&most, start).unwrap();
    assert!(activity.heard(b"x", start).is_err());
}

#[test]
fn who_was_asked_to_end_does_so_soon_after_it_and_after_the_last_answer() {
    let start = Instant::now();
    let activity = Activity::new(start);
    let wait = |at: u64| activity.verdict(start + seconds(at), PATIENCE, Wish::Left(start + seconds(75)));
    // What was sent before it heard of its end is still to come.
    assert!(matches!(wait(76), Verdict::Wait(_)));
    assert!(matches!(wait(77), Verdict::Drop(_)));
    activity.began();
    assert!(matches!(wait(100), Verdict::Wait(_)));
    activity.ended(start + seconds(100));
    assert!(matches!(wait(101), Verdict::Wait(_)));
    assert!(matches!(wait(102), Verdict::Drop(_)));
}

#[test]
fn who_takes_nothing_is_cut_and_who_takes_little_is_not() {
    let start = Instant::now();
    let activity = Activity::new(start);
    activity.began();
    activity.stalls(start);
    activity.stalls(start + seconds(59));
    let cut = (STALL_MAX, Verdict::Drop("takes nothing"));
    assert_eq!(end_of(&activity, start, Wish::Stay), cut);
    activity.took();
    activity.stalls(start + seconds(59));
    for wish in [Wish::Stay, Wish::Left(start)] {
        assert_eq!(end_of(&activity, start + seconds(59), wish), cut);
    }
    activity.took();
    assert!(matches!(
        activity.verdict(start + seconds(500), PATIENCE, Wish::Stay),
        Verdict::Wait(_)
    ));
}

#[test]
fn at_the_end_nobody_is_interrupted() {
    let start = Instant::now();
    // New: it may be about to speak.
    let fresh = Activity::new(start);
    assert_eq!(
        end_of(&fresh, start, Wish::Leave),
        (FIRST_WORD_MAX, Verdict::Finish)
    );
    // In the middle of a head.
    let speaking = Activity::new(start);
    speaking.heard(b"POST /v1", start).unwrap();
    assert_eq!(
        end_of(&speaking, start, Wish::Leave),
        (seconds(10), Verdict::Drop("takes too long for a head"))
    );
    // At work: its client may ask once more after this answer, and is told then.
    speaking.began();
    assert!(matches!(
        speaking.verdict(start + seconds(50), PATIENCE, Wish::Leave),
        Verdict::Wait(_)
    ));
    speaking.ended(start + seconds(60));
    assert_eq!(
        end_of(&speaking, start + seconds(60), Wish::Leave),
        (LAST_REQUEST_MAX, Verdict::Finish)
    );
    // Idle for longer.
    assert_eq!(
        end_of(&speaking, start + seconds(90), Wish::Leave),
        (Duration::ZERO, Verdict::Finish)
    );
    // HTTP/2 has a way to say it at any time.
    let http2 = Activity::new(start);
    http2.heard(H2_PREFACE, start).unwrap();
    http2.began();
    assert_eq!(
        end_of(&http2, start, Wish::Leave),
        (Duration::ZERO, Verdict::Finish)
    );
}
