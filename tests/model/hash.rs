//! Fast hashing of small values: 64 bits for tables, 128 bits for the set of seen states, of which nothing else is kept.

use std::hash::{BuildHasherDefault, Hash, Hasher};

/// A table with this module's hashing.
pub(crate) type Map<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<Lanes>>;
/// A set with this module's hashing.
pub(crate) type Set<K> = std::collections::HashSet<K, BuildHasherDefault<Lanes>>;

/// What a set takes: a place in seven of eight is used before it grows.
pub(crate) fn bytes_of<K>(set: &Set<K>) -> usize {
    set.capacity() / 7 * 8 * (size_of::<K>() + 1)
}

/// Two independent lanes of multiply and rotate, mixed at the end.
#[derive(Clone, Copy, Default)]
pub(crate) struct Lanes(u64, u64);

const ODD: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xc2b2_ae3d_27d4_eb4f];

impl Lanes {
    fn add(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(ODD[0]);
        self.1 = (self.1.rotate_left(23) ^ word.wrapping_add(ODD[1])).wrapping_mul(ODD[1]);
    }
}

/// The finalizer of SplitMix64.
fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

impl Hasher for Lanes {
    fn finish(&self) -> u64 {
        mix(self.0 ^ self.1.rotate_left(32))
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.add(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.add(value.into());
    }

    fn write_u16(&mut self, value: u16) {
        self.add(value.into());
    }

    fn write_u32(&mut self, value: u32) {
        self.add(value.into());
    }

    fn write_u64(&mut self, value: u64) {
        self.add(value);
    }

    fn write_usize(&mut self, value: usize) {
        self.add(value as u64);
    }
}

/// 128 bits: with a hundred million states, two that are taken for one are less likely than a bit that flips in memory.
pub(crate) fn wide(value: &impl Hash) -> u128 {
    let mut lanes = Lanes::default();
    value.hash(&mut lanes);
    u128::from(mix(lanes.0)) << 64 | u128::from(mix(lanes.1 ^ lanes.0.rotate_left(17)))
}
