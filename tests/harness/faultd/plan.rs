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

/// The fault of the request with this nonce that is the `nth` (from 0) at its upstream.
pub fn draw(seed: u64, nonce: &str, nth: usize) -> Option<Fault> {
    let mut state = seed;
    for byte in nonce.bytes().chain(nth.to_le_bytes()) {
        state = mix(state ^ u64::from(byte));
    }
    let mut dice = state % 100;
    for (share, name) in FAULTS {
        if dice < *share {
            return Fault::parse(name);
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
        let draws = |seed| -> Vec<_> { (0..50).map(|nth| draw(seed, "x1", nth)).collect() };
        assert_eq!(draws(1), draws(1));
        assert_ne!(draws(1), draws(2));
        let others: Vec<_> = (0..50).map(|nth| draw(1, "x2", nth)).collect();
        assert_ne!(draws(1), others);
    }

    #[test]
    fn a_nonce_is_found_wherever_it_stands() {
        assert_eq!(nonce(br#"{"content":"nonce-a7 Hi"}"#).as_deref(), Some("a7"));
        assert_eq!(nonce(b"{}"), None);
    }
}
