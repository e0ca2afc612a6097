//! What is kept in place of every key: two Bloom filters of a fixed size, a younger and an older.
//!
//! New keys go into the younger one. When it holds `capacity` keys, or is as old as the time to
//! live, it becomes the older one, the older one is forgotten, and an empty one takes its place. So
//! the last `capacity` keys that were taken for new are always found, and none is that is older than
//! two fillings.
//!
//! The error. A filter of `m` bits in which each of `n` keys set `k` bits takes a new key for a
//! known one with the probability `p = (1 - e^(-k·n/m))^k` ("Space/Time Trade-offs in Hash Coding
//! with Allowable Errors", B. Bloom, 1970). With both filters full that is `1 - (1 - p)^2 < 2·p`. So
//! each filter is made for half of the error: `k` is the whole number nearest to `log2(1/p)`, and
//! `m = -k·n / ln(1 - p^(1/k))`, rounded up to whole bytes.

/// Bits, probes and keys, to know a filter of another config by; the keys of the younger filter;
/// and when it was begun, in microseconds.
const HEADER_BYTES: usize = 4 + 4 + 4 + 4 + 8;

/// How large a filter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// Keys that the younger filter takes.
    capacity: u32,
    /// Bits that each key sets.
    probes: u32,
    /// Bytes of each of the two.
    bytes: usize,
}

impl Size {
    /// The size for so many keys and an error above 0 and below 1, unless the state would be larger
    /// than `state_bytes_max`.
    pub(crate) fn of(capacity: u32, error: f64, state_bytes_max: u32) -> Option<Self> {
        let (probes, bits_per_key) = shape(error);
        let bytes = (f64::from(capacity) * bits_per_key / 8.0).ceil();
        let fits = 2.0 * bytes + HEADER_BYTES as f64 <= f64::from(state_bytes_max);
        fits.then_some(Size { capacity, probes, bytes: bytes as usize })
    }

    fn bits(self) -> u64 {
        self.bytes as u64 * 8
    }
}

/// The most keys that a state of so many bytes takes at an error.
pub(crate) fn capacity_max(error: f64, state_bytes_max: u32) -> u32 {
    let bytes = (state_bytes_max as usize).saturating_sub(HEADER_BYTES) / 2;
    ((bytes * 8) as f64 / shape(error).1).floor() as u32
}

/// How many bits each key sets, and how many bits there are for each.
fn shape(error: f64) -> (u32, f64) {
    let each = error / 2.0;
    // An error of 1 in 2^64 and less is that of the hash.
    let probes = (-each.log2()).round().clamp(1.0, 64.0);
    (probes as u32, -probes / (-each.powf(1.0 / probes)).ln_1p())
}

/// The two filters of one state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    size: Size,
    /// How many keys are in the younger one.
    keys: u32,
    /// When the younger one was begun.
    begun: i64,
    /// The younger one, and the older one behind it.
    bits: Vec<u8>,
}

impl Filter {
    /// What a state holds; an empty filter, begun now, where there is none yet or where it is of
    /// another size, because the config was changed.
    pub(crate) fn decode(size: Size, state: &[u8], now: i64) -> Self {
        let empty = || Filter { size, keys: 0, begun: now, bits: vec![0; 2 * size.bytes] };
        let Some((header, bits)) = state.split_first_chunk::<HEADER_BYTES>() else {
            return empty();
        };
        let word = |at: usize| {
            u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let begun = u64::from(word(16)) | u64::from(word(20)) << 32;
        let known = [word(0) as usize, word(4) as usize, word(8) as usize];
        match known == [size.bytes, size.probes as usize, size.capacity as usize]
            && bits.len() == 2 * size.bytes
        {
            true => Filter { size, keys: word(12), begun: begun as i64, bits: bits.to_vec() },
            false => empty(),
        }
    }

    /// Appends the state.
    pub(crate) fn encode(&self, state: &mut Vec<u8>) {
        let Filter { size, keys, begun, bits } = self;
        for word in [size.bytes as u32, size.probes, size.capacity, *keys] {
            state.extend_from_slice(&word.to_le_bytes());
        }
        state.extend_from_slice(&begun.to_le_bytes());
        state.extend_from_slice(bits);
    }

    /// Forgets what is older than the time to live.
    pub(crate) fn age(&mut self, now: i64, time_to_live: i64) {
        let age = now.saturating_sub(self.begun);
        if age >= time_to_live {
            self.turn(now);
        }
        if age >= time_to_live.saturating_mul(2) {
            self.turn(now);
        }
    }

    /// Whether a key, given by its hash, was seen; from now on it was. With `renew` a key that only
    /// the older filter knows goes into the younger one as well.
    pub(crate) fn saw(&mut self, hash: u128, now: i64, renew: bool) -> bool {
        let (younger, older) = self.find(hash);
        if younger || older && !renew {
            return true;
        }
        if self.keys == self.size.capacity {
            self.turn(now);
        }
        self.keys += 1;
        for probe in 0..self.size.probes {
            let bit = place(hash, probe, self.size.bits());
            self.bits[(bit / 8) as usize] |= 1 << (bit % 8);
        }
        older
    }

    /// Which of the two filters know a key: the younger one, the older one.
    fn find(&self, hash: u128) -> (bool, bool) {
        let (younger, older) = self.bits.split_at(self.size.bytes);
        let mut found = (true, true);
        for probe in 0..self.size.probes {
            let bit = place(hash, probe, self.size.bits());
            let (byte, mask) = ((bit / 8) as usize, 1 << (bit % 8));
            found.0 &= younger[byte] & mask != 0;
            found.1 &= older[byte] & mask != 0;
            if found == (false, false) {
                break;
            }
        }
        found
    }

    /// Makes the younger filter the older one, and begins another.
    fn turn(&mut self, now: i64) {
        let (younger, older) = self.bits.split_at_mut(self.size.bytes);
        older.copy_from_slice(younger);
        younger.fill(0);
        self.keys = 0;
        self.begun = now;
    }
}

/// The bit that a probe looks at. Each is a hash of its own (the finalizer of SplitMix64 over one
/// half, stepped by the other), so that the error is that of independent probes for small filters
/// too.
fn place(hash: u128, probe: u32, bits: u64) -> u64 {
    let step = (hash >> 64) as u64 | 1;
    let mut word = (hash as u64).wrapping_add(step.wrapping_mul(u64::from(probe) + 1));
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^= word >> 31;
    ((u128::from(word) * u128::from(bits)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use xxhash_rust::xxh3::xxh3_128;

    use super::*;

    fn hash(key: u32) -> u128 {
        xxh3_128(&key.to_le_bytes())
    }

    fn size(capacity: u32, error: f64) -> Option<Size> {
        Size::of(capacity, error, 64 << 10)
    }

    fn filter(capacity: u32, error: f64) -> Filter {
        Filter::decode(size(capacity, error).expect("it fits"), &[], 0)
    }

    /// At worst: both filters hold as many keys as they take.
    #[test]
    fn the_error_is_as_stated() {
        for (capacity, error) in [(10, 0.05), (1_000, 0.01), (16_000, 0.001)] {
            let series = (40_000 / capacity).clamp(2, 400);
            let asked = 200_000 / series;
            let mut wrong = 0;
            for series in 0..series {
                let base = series * 1_000_000;
                let mut full = filter(capacity, error);
                let mut key = base;
                for filled in [false, true] {
                    while full.keys < capacity || filled && full.find(hash(base)).0 {
                        full.saw(hash(key), 0, false);
                        key += 1;
                    }
                }
                let strangers = base + 500_000..base + 500_000 + asked;
                wrong += strangers.filter(|key| full.find(hash(*key)) != (false, false)).count();
            }
            let measured = wrong as f64 / f64::from(series * asked);
            assert!(measured < error * 1.1, "{capacity}: {measured} of {error}");
            assert!(measured > error * 0.5, "{capacity}: no larger than needed: {measured}");
        }
    }

    #[test]
    fn the_last_new_keys_are_always_found_and_older_ones_are_forgotten() {
        let mut filter = filter(100, 0.01);
        let mut new = Vec::new();
        for key in 0..2_000 {
            if !filter.saw(hash(key), 0, false) {
                new.push(key);
            }
            for key in &new[new.len().saturating_sub(100)..] {
                assert_ne!(filter.find(hash(*key)), (false, false), "{key}");
            }
        }
        assert!((1_950..2_000).contains(&new.len()), "some were taken for known: {}", new.len());
        let remembered = (0..2_000).filter(|key| filter.find(hash(*key)) != (false, false)).count();
        assert!((100..=240).contains(&remembered), "{remembered}");
    }

    #[test]
    fn time_forgets_too() {
        let mut filter = filter(100, 0.001);
        filter.saw(hash(1), 0, false);
        filter.age(99, 100);
        assert_eq!(filter.find(hash(1)), (true, false));
        filter.age(100, 100);
        assert_eq!(filter.find(hash(1)), (false, true));
        filter.age(199, 100);
        assert_eq!(filter.find(hash(1)), (false, true), "begun at 100");
        assert!(filter.saw(hash(1), 199, true), "renewed");
        filter.age(200, 100);
        assert_eq!(filter.find(hash(1)), (false, true));
        filter.age(400, 100);
        assert_eq!(filter.find(hash(1)), (false, false), "twice as old at once");
    }

    #[test]
    fn a_state_comes_back_and_one_of_another_size_begins_anew() {
        let mut before = filter(100, 0.01);
        before.saw(hash(1), 7, false);
        let mut state = Vec::new();
        before.encode(&mut state);
        assert_eq!(Filter::decode(before.size, &state, 9), before);
        for other in [size(101, 0.01), size(100, 0.02), size(200, 0.01)] {
            let other = Filter::decode(other.expect("it fits"), &state, 9);
            assert_eq!((other.keys, other.begun), (0, 9));
            assert_eq!(other.find(hash(1)), (false, false));
        }
        for cut in 0..state.len() {
            assert_eq!(Filter::decode(before.size, &state[..cut], 9).keys, 0, "cut at {cut}");
        }
    }

    #[test]
    fn a_state_never_passes_its_limit() {
        for limit in [25, 64 << 10, 1 << 20] {
            for error in [0.5, 0.1, 0.001, 1e-9, f64::MIN_POSITIVE] {
                let most = capacity_max(error, limit);
                if most > 0 {
                    let size = Size::of(most, error, limit).expect("the most fits");
                    let mut state = Vec::new();
                    Filter::decode(size, &[], 0).encode(&mut state);
                    assert!(state.len() <= limit as usize, "{error}: {}", state.len());
                }
                assert_eq!(Size::of(most + 1, error, limit), None, "{error}");
            }
        }
        assert_eq!(capacity_max(0.001, 64 << 10), 16_564, "as the manual says");
    }
}
