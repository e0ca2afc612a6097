//! Hash maps that iterate in the same order every time.
//!
//! A plugin's reply must depend on its batch alone. The standard hash map seeds itself from
//! whatever is at hand, so that its order changes from one map to the next, and with it a reply
//! that was built by iterating. These maps have a fixed seed. That invites keys chosen to
//! collide, so don't keep what strangers choose in them without a bound: a batch is bounded.

use std::hash::{BuildHasherDefault, Hasher};

/// A hash map with the same order every time.
pub type HashMap<K, V> = std::collections::HashMap<K, V, FixedState>;

/// A hash set with the same order every time.
pub type HashSet<T> = std::collections::HashSet<T, FixedState>;

/// Builds [`FixedHasher`]s.
pub type FixedState = BuildHasherDefault<FixedHasher>;

/// FNV-1a of 64 bits, with a final mix (the finalizer of MurmurHash3) so that the low bits, which
/// choose a bucket, depend on all of the input. Small in code, and fast for keys of some bytes.
#[derive(Clone, Debug)]
pub struct FixedHasher(u64);

impl Default for FixedHasher {
    fn default() -> Self {
        FixedHasher(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for FixedHasher {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(u64::from(value));
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0 ^ value).wrapping_mul(0x0000_0100_0000_01b3);
    }

    fn write_usize(&mut self, value: usize) {
        // Of the same width on every target, so that a native test sees the order of the guest.
        self.write_u64(value as u64);
    }

    fn finish(&self) -> u64 {
        let mut hash = self.0;
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        hash ^ (hash >> 33)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_maps_of_the_same_keys_iterate_alike() {
        let keys = || (0..100).map(|i| (format!("key {i}"), i));
        let one: Vec<_> = keys().collect::<HashMap<_, _>>().into_iter().collect();
        let two: Vec<_> = keys().collect::<HashMap<_, _>>().into_iter().collect();
        assert_eq!(one, two);
    }
}
