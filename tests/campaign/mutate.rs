//! Makes inputs: takes a seed and breaks it a little, mostly so that it stays what it is.
//!
//! Works on bytes and not on trees or types, because the interesting inputs (a key twice,
//! half a surrogate pair, 1e999, a length that lies) have none.

mod bytes;
mod json;
mod spans;
mod wire;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use spans::{Kind, Span};

/// Inputs do not grow beyond this.
const INPUT_BYTES_MAX: usize = 64 * 1024;
/// Changes to one input.
const CHANGES_MAX: u32 = 8;
/// One seed in so many goes in as it is.
const UNCHANGED_ONE_IN: u32 = 64;
/// One input in so many knows rude changes as well.
const RUDE_ONE_IN: u32 = 8;

/// What inputs are made of, which says how to change them so that they stay that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Material {
    /// JSON, alone or within other text.
    Json,
    /// Messages of protocol buffers.
    Messages,
    /// Keys, tokens, heads, encoded bodies: any change will do.
    Bytes,
}

/// One way to change an input.
type Change = fn(&Mutator<'_>, &mut Vec<u8>, &mut SmallRng);

pub(crate) struct Mutator<'s> {
    seeds: &'s [Vec<u8>],
    /// Those that keep its kind.
    kind_changes: &'static [Change],
    /// Those that do not.
    rude_changes: &'static [Change],
    /// Of JSON seeds.
    values: Vec<&'s [u8]>,
    members: Vec<&'s [u8]>,
}

// === impl Mutator ===

impl<'s> Mutator<'s> {
    pub(crate) fn new(material: Material, seeds: &'s [Vec<u8>]) -> Self {
        let (kind_changes, rude_changes) = match material {
            Material::Json => (json::CHANGES, bytes::RUDE_CHANGES),
            Material::Messages => (wire::CHANGES, bytes::CHANGES),
            Material::Bytes => (bytes::CHANGES, bytes::RUDE_CHANGES),
        };
        let mut mutator = Self {
            seeds,
            kind_changes,
            rude_changes,
            values: Vec::new(),
            members: Vec::new(),
        };
        if material == Material::Json {
            mutator.take_apart();
        }
        mutator
    }

    fn take_apart(&mut self) {
        for seed in self.seeds {
            for Span {
                kind,
                place,
                is_keyed: _,
            } in spans::find(seed)
            {
                let text = seed.get(place).unwrap_or_default();
                if kind == Kind::Member {
                    self.members.push(text);
                } else {
                    self.values.push(text);
                }
            }
        }
    }

    /// The input of this number, whatever was made before.
    pub(crate) fn input(&self, seed: u64, number: u64) -> Vec<u8> {
        // An odd factor keeps campaigns with neighbouring seeds apart.
        let mut dice = SmallRng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number);
        let mut input = self.seeds.choose(&mut dice).cloned().unwrap_or_default();
        if dice.random_ratio(1, UNCHANGED_ONE_IN) {
            return input;
        }
        let is_rude = dice.random_ratio(1, RUDE_ONE_IN);
        // Few changes are more telling than many: most inputs should get past the first check.
        let changes = (0..3).map(|_| dice.random_range(1..=CHANGES_MAX)).min();
        for _ in 0..changes.unwrap_or(1) {
            let table = if is_rude && dice.random() {
                self.rude_changes
            } else {
                self.kind_changes
            };
            if let Some(change) = table.choose(&mut dice) {
                change(self, &mut input, &mut dice);
            }
            input.truncate(INPUT_BYTES_MAX);
        }
        input
    }
}

fn put(input: &mut Vec<u8>, place: std::ops::Range<usize>, bytes: &[u8]) {
    input.splice(place, bytes.iter().copied());
}
