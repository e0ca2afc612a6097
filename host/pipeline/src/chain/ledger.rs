//! What becomes of each record of a batch, and the sums of a range that have to add up.

use tidegate_core::{
    Position, RecordBatch,
    checkpoint::{Counts, DestinationCounts, Outcome, RecordOutcome},
};

use crate::dead_letter::Letter;

/// What became of a part of a record: of the record itself, of a child, of a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Fate {
    Filtered = 1,
    Dropped = 2,
    Delivered = 4,
    DeadLettered = 8,
}

/// The ledger of a batch.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    hashes: Vec<u128>,
    /// The fates that a record's parts have met, one bit each.
    fates: Vec<u8>,
    letters: Vec<Letter>,
}

impl Ledger {
    /// Opens the books for a batch, and counts its records as read.
    pub(crate) fn open(&mut self, batch: &RecordBatch, counts: &mut Counts) {
        self.hashes.clear();
        self.hashes.extend(batch.positions.iter().map(|position| position.hash128()));
        self.fates.clear();
        self.fates.resize(batch.len(), 0);
        self.letters.clear();
        self.hashes.iter().for_each(|hash| counts.read.add(*hash));
    }

    /// Notes what became of a part of a record.
    #[inline]
    pub(crate) fn note(&mut self, record: usize, fate: Fate) {
        self.fates[record] |= fate as u8;
    }

    /// A part of a record is a dead letter. A record has one letter at most: its first.
    pub(crate) fn dead_letter(&mut self, letter: impl FnOnce() -> Letter, record: usize) {
        if self.fates[record] & Fate::DeadLettered as u8 == 0 {
            self.letters.push(letter());
        }
        self.note(record, Fate::DeadLettered);
    }

    /// Where each record of the batch is counted, in order.
    pub(crate) fn outcomes<'a>(
        &'a self,
        positions: &'a [Position],
    ) -> impl Iterator<Item = RecordOutcome> + 'a {
        positions.iter().zip(&self.fates).filter_map(|(position, fates)| {
            gravest(*fates).map(|outcome| RecordOutcome { position: *position, outcome })
        })
    }

    /// Closes the books: each record is counted in one place, by the gravest fate that a part of
    /// it met. One of which no part met any is counted nowhere, and the sums will show it.
    /// Returns the letters, in position order.
    pub(crate) fn close(&mut self, counts: &mut Counts) -> &[Letter] {
        for (hash, fates) in self.hashes.iter().zip(&self.fates) {
            let tally = match gravest(*fates) {
                None => continue,
                Some(Outcome::DeadLettered) => &mut counts.dead_lettered,
                Some(Outcome::Delivered) => &mut counts.delivered,
                Some(Outcome::Dropped) => &mut counts.dropped,
                Some(Outcome::Filtered) => &mut counts.filtered,
            };
            tally.add(*hash);
        }
        self.letters.sort_by_key(|letter| letter.record);
        &self.letters
    }
}

/// The place where a record is counted: by the gravest fate that a part of it met.
fn gravest(fates: u8) -> Option<Outcome> {
    let met = |fate: Fate| fates & fate as u8 != 0;
    match fates {
        0 => None,
        _ if met(Fate::DeadLettered) => Some(Outcome::DeadLettered),
        _ if met(Fate::Delivered) => Some(Outcome::Delivered),
        _ if met(Fate::Dropped) => Some(Outcome::Dropped),
        _ => Some(Outcome::Filtered),
    }
}

/// What does not add up, if anything.
pub(crate) fn unbalanced(counts: &Counts, destinations: &[DestinationCounts]) -> Option<String> {
    if !counts.conserved() {
        let Counts { read, filtered, dropped, delivered, dead_lettered } = counts;
        return Some(format!(
            "read {} is not filtered {} + dropped {} + delivered {} + dead-lettered {}, or the \
             sums of their positions differ",
            read.records,
            filtered.records,
            dropped.records,
            delivered.records,
            dead_lettered.records
        ));
    }
    destinations.iter().find(|it| it.shares != it.delivered + it.dead_lettered).map(|it| {
        format!(
            "`{}` has {} shares, which are not delivered {} + dead-lettered {}",
            it.sink, it.shares, it.delivered, it.dead_lettered
        )
    })
}

#[cfg(test)]
mod tests {
    use tidegate_core::checkpoint::Tally;

    use super::*;

    fn tally(offsets: &[u64]) -> Tally {
        let mut tally = Tally::default();
        offsets.iter().for_each(|at| tally.add(Position::from_offset(*at).hash128()));
        tally
    }

    #[test]
    fn read_is_filtered_and_dropped_and_delivered_and_dead_lettered() {
        let counts = Counts {
            read: tally(&[1, 2, 3, 4, 5]),
            filtered: tally(&[1]),
            dropped: tally(&[4]),
            delivered: tally(&[2, 5]),
            dead_lettered: tally(&[3]),
        };
        let archive = |shares| {
            let sink = "archive".to_owned();
            [DestinationCounts { sink, shares, delivered: 2, dead_lettered: 0 }]
        };
        assert_eq!(unbalanced(&counts, &archive(2)), None);
        let wrong = |counts: &Counts, shares, why: &str, what: &str| {
            let detail = unbalanced(counts, &archive(shares)).expect(why);
            assert!(detail.contains(what), "{why}: {detail}");
        };
        let lost = Counts { dropped: tally(&[]), ..counts };
        wrong(&lost, 2, "one is lost", "read 5 is not filtered 1 + dropped 0");
        let doubled = Counts { dropped: tally(&[4, 1]), ..counts };
        wrong(&doubled, 2, "one is doubled", "read 5 is not filtered 1 + dropped 2");
        let exchanged = Counts { dropped: tally(&[5]), ..counts };
        wrong(&exchanged, 2, "a loss and a duplicate", "the sums of their positions differ");
        wrong(&counts, 3, "a row was routed and is nowhere", "`archive` has 3 shares");
    }
}
