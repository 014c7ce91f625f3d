//! A plan of faults that only looks random: what goes wrong is a function of a seed, of a nonce in
//! the request, and of how often that nonce has been there before.
//!
//! So whoever knows the seed knows what every request met, however many ran at once and in
//! whatever order they came.

use super::fault::Fault;

/// Behind it, in the body of a request, stands its nonce: letters and digits.
pub const NONCE_MARK: &str = "nonce-";

/// How many of a hundred requests meet which fault; the rest meet none.
pub const FAULTS: &[(u64, &str)] = &[
    (2, "cut"),
    (2, "cut@0"),
    (2, "cut@60"),
    (4, "cut@4ev"),
    (2, "reset"),
    (2, "reset@60"),
    (2, "reset@4ev"),
    (2, "early@0"),
    (3, "early@4ev"),
    (1, "stall"),
    (1, "stall@0"),
    (1, "stall@4ev"),
    (2, "noise"),
    (1, "status-400"),
    (1, "status-401"),
    (1, "status-402"),
    (1, "status-403"),
    (1, "status-404"),
    (1, "status-413"),
    (1, "status-422"),
    (1, "status-429"),
    (2, "status-429-after-7"),
    (1, "status-429-after-3600"),
    (1, "status-429-after-soon"),
    (3, "status-500"),
    (1, "status-502"),
    (2, "status-503"),
    (1, "status-504"),
    (2, "status-529"),
    (1, "quota"),
    (1, "html"),
    (1, "garbage"),
    (1, "empty"),
    (1, "error-in-200"),
    (1, "first-overloaded"),
    (1, "first-quota"),
    (1, "first-fire"),
    (1, "error@4ev"),
    (1, "bad-line@1ev"),
    (1, "bad-line@4ev"),
    (1, "utf8-text"),
    (1, "utf8-json@4ev"),
    (1, "gzip"),
    (1, "redirect@9"),
];

/// What takes a whole provider away, or one of its models for more than a second.
const LASTING: &[&str] = &[
    "status-401",
    "status-402",
    "quota",
    "first-quota",
    "status-429-after-7",
];
/// What takes it away for longer than a run: where faults are seldom, never.
const ENDLESS: &str = "status-429-after-3600";
/// Of so many faults of the plan, how many come to pass where faults are seldom.
const SELDOM_OF: u64 = 30;
const SELDOM: u64 = 10;
const SELDOM_AND_LASTING: u64 = 1;

/// How much of the plan comes to pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    All,
    /// About a third, and few of those that last: so that whoever remembers failures has some to forget.
    Seldom,
}

/// The fault of the request with this nonce that is the `nth` (from 0) at its upstream.
pub fn draw(share: Share, seed: u64, nonce: &str, nth: usize) -> Option<Fault> {
    let mut state = seed;
    for byte in nonce.bytes().chain(nth.to_le_bytes()) {
        state = mix(state ^ u64::from(byte));
    }
    let name = planned(state % 100)?;
    let comes_to_pass = match share {
        Share::All => true,
        Share::Seldom if name == ENDLESS => false,
        Share::Seldom if LASTING.contains(&name) => mix(state) % SELDOM_OF < SELDOM_AND_LASTING,
        Share::Seldom => mix(state) % SELDOM_OF < SELDOM,
    };
    comes_to_pass.then(|| Fault::parse(name))?
}

fn planned(mut dice: u64) -> Option<&'static str> {
    for (share, name) in FAULTS {
        if dice < *share {
            return Some(name);
        }
        dice -= share;
    }
    None
}

/// The nonce in a request's body.
pub fn nonce(body: &[u8]) -> Option<String> {
    let mark = NONCE_MARK.as_bytes();
    let start = body.windows(mark.len()).position(|window| window == mark)? + mark.len();
    let nonce = body.get(start..)?.iter().copied();
    let nonce = nonce.take_while(u8::is_ascii_alphanumeric).map(char::from);
    Some(nonce.collect())
}

/// One step of SplitMix64: every bit of the input moves every bit of the output.
fn mix(state: u64) -> u64 {
    let state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_of_the_plan_exists_and_most_requests_meet_none() {
        let total: u64 = FAULTS.iter().map(|(share, _)| share).sum();
        assert!(total < 100, "{total}");
        for (_, name) in FAULTS {
            assert!(Fault::parse(name).is_some(), "{name}");
        }
    }

    #[test]
    fn a_draw_depends_on_all_that_it_is_made_of_and_on_nothing_else() {
        let draws = |seed| -> Vec<_> { (0..50).map(|nth| draw(Share::All, seed, "x1", nth)).collect() };
        assert_eq!(draws(1), draws(1));
        assert_ne!(draws(1), draws(2));
        let others: Vec<_> = (0..50).map(|nth| draw(Share::All, 1, "x2", nth)).collect();
        assert_ne!(draws(1), others);
    }

    #[test]
    fn seldom_is_a_third_of_the_same_and_little_of_what_lasts() {
        let draws = |share| (0..3_000).map(move |nth| draw(share, 1, "x1", nth));
        let both = || draws(Share::All).zip(draws(Share::Seldom));
        assert!(both().all(|(all, seldom)| seldom.is_none() || seldom == all));
        let (all, seldom) = (
            draws(Share::All).flatten().count(),
            draws(Share::Seldom).flatten().count(),
        );
        assert!((all / 4..all * 2 / 5).contains(&seldom), "{seldom} of {all}");
        let lasting = |fault: &Option<Fault>| {
            let is_it = |name| fault.is_some() && Fault::parse(name) == *fault;
            LASTING.iter().copied().any(is_it)
        };
        let (all, seldom) = (
            draws(Share::All).filter(lasting).count(),
            draws(Share::Seldom).filter(lasting).count(),
        );
        assert!(seldom > 0 && seldom < all / 10, "{seldom} of {all}");
    }

    #[test]
    fn a_nonce_is_found_wherever_it_stands() {
        assert_eq!(nonce(br#"{"content":"nonce-a7 Hi"}"#).as_deref(), Some("a7"));
        assert_eq!(nonce(b"{}"), None);
    }
}
