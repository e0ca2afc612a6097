//! Randomness that can be looked up: the same numbers for an index, in whatever order it is asked.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What one event may draw: four blocks of ChaCha, which are made together.
const WORDS: usize = 64;

/// A partition's randomness.
pub(super) struct Draws {
    random: ChaCha8Rng,
    next: u64,
}

impl Draws {
    /// That of a partition: the seed is the key, the partition the stream.
    pub(super) fn new(seed: u64, partition: u32) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(u64::from(partition));
        Draws { random, next: 0 }
    }

    /// What belongs to an index.
    pub(super) fn at(&mut self, index: u64) -> Draw {
        if index != self.next {
            self.random.set_word_pos(u128::from(index) * WORDS as u128);
        }
        self.next = index.wrapping_add(1);
        let mut words = [0; WORDS];
        words.fill_with(|| self.random.next_u32());
        Draw { words, used: 0 }
    }
}

/// The numbers of one event.
pub(super) struct Draw {
    words: [u32; WORDS],
    used: usize,
}

impl Draw {
    /// The next 32 bits. An event draws far fewer than there are; beyond, they come again.
    pub(super) fn word(&mut self) -> u32 {
        let word = self.words[self.used % WORDS];
        self.used += 1;
        word
    }

    /// A number below a bound above 0. Biased by less than one in a thousand for bounds below four
    /// million, which no event comes near.
    pub(super) fn below(&mut self, bound: u32) -> u32 {
        ((u64::from(self.word()) * u64::from(bound)) >> 32) as u32
    }

    /// A number from 0 to below 1.
    pub(super) fn unit(&mut self) -> f64 {
        f64::from(self.word()) / (f64::from(u32::MAX) + 1.0)
    }

    /// One of some.
    pub(super) fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u32) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_has_its_numbers_in_whatever_order() {
        let words = |draw: Draw| draw.words;
        let mut forward = Draws::new(3, 1);
        let all: Vec<_> = (0..20).map(|index| words(forward.at(index))).collect();
        let mut backward = Draws::new(3, 1);
        for index in (0..20).rev() {
            assert_eq!(words(backward.at(index)), all[index as usize]);
        }
        assert_ne!(words(Draws::new(3, 2).at(0)), all[0]);
        assert_ne!(words(Draws::new(4, 1).at(0)), all[0]);
    }
}
