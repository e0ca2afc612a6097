//! Which records of a partition are taken care of: spans, their tickets, and the longest settled
//! prefix.
//!
//! Whoever reads records opens a span and gets a ticket. The ticket is an obligation: it travels
//! with the records, is split into one share for each destination, and every share is either
//! settled or abandoned, by value. The checkpoint may move to the end of the longest settled
//! prefix and no further, in whatever order destinations answer.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use crate::position::Position;

/// Consecutive records that share a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The last record's position.
    pub end: Position,
    /// How many records.
    pub records: u64,
    /// How many bytes they take.
    pub bytes: u64,
}

/// How much may be in flight: read and not settled.
#[derive(Clone, Copy, Debug)]
pub struct InFlightLimit {
    /// Records.
    pub records_max: u64,
    /// Their bytes.
    pub bytes_max: u64,
}

/// A span was not opened: the partition has enough in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{records} records of {bytes} bytes are in flight")]
pub struct Full {
    /// Records in flight.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What follows a prefix of settled spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Where the prefix ends: the checkpoint may move here.
    pub end: Position,
    /// How many records were taken off since the last call.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Keeps the open spans of one partition, in order.
#[derive(Debug)]
pub struct Tracker {
    limit: InFlightLimit,
    open: VecDeque<(Span, Arc<Fate>)>,
    records: u64,
    bytes: u64,
    last: Option<Position>,
}

/// What the shares of a ticket have come to so far.
#[derive(Debug)]
struct Fate {
    shares_open: AtomicU32,
    abandoned: AtomicBool,
}

/// The obligation to take care of a span, or of one destination's share of it.
///
/// Invariant: dropping a ticket is a failure, never an acknowledgement.
#[derive(Debug)]
#[must_use = "a ticket that is dropped counts as abandoned: its span is never settled"]
pub struct Ticket {
    fate: Arc<Fate>,
    settled: bool,
}

impl Fate {
    fn is_settled(&self) -> bool {
        // Acquire: what was done for the shares happened before the prefix that passes them.
        self.shares_open.load(Ordering::Acquire) == 0
    }

    fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }
}

impl Tracker {
    /// A partition with nothing in flight.
    pub fn new(limit: InFlightLimit) -> Self {
        Tracker { limit, open: VecDeque::new(), records: 0, bytes: 0, last: None }
    }

    /// Opens a span behind all others. A single span may be larger than the limit, or a large
    /// record would stop its partition for ever.
    ///
    /// # Panics
    /// When the span does not lie behind the one before: a source that goes backwards would have
    /// its checkpoint skip records.
    pub fn open(&mut self, span: Span) -> Result<Ticket, Full> {
        assert!(self.last < Some(span.end), "spans are opened in the order of their positions");
        let records = self.records + span.records;
        let bytes = self.bytes + span.bytes;
        let over = records > self.limit.records_max || bytes > self.limit.bytes_max;
        if over && !self.open.is_empty() {
            return Err(Full { records: self.records, bytes: self.bytes });
        }
        let fate =
            Arc::new(Fate { shares_open: AtomicU32::new(1), abandoned: AtomicBool::new(false) });
        self.open.push_back((span, fate.clone()));
        (self.records, self.bytes, self.last) = (records, bytes, Some(span.end));
        Ok(Ticket { fate, settled: false })
    }

    /// Takes the longest settled prefix off; none where the first open span isn't settled.
    pub fn settle_prefix(&mut self) -> Option<Settled> {
        let mut settled: Option<Settled> = None;
        while let Some((span, _)) = self.open.front().filter(|(_, fate)| fate.is_settled()) {
            let (records, bytes) = settled.map_or((0, 0), |it| (it.records, it.bytes));
            settled = Some(Settled {
                end: span.end,
                records: records + span.records,
                bytes: bytes + span.bytes,
            });
            self.records -= span.records;
            self.bytes -= span.bytes;
            self.open.pop_front();
        }
        settled
    }

    /// The first span that was abandoned. No prefix will ever pass it: the partition has to be
    /// read again from its checkpoint.
    pub fn first_abandoned(&self) -> Option<Span> {
        self.open.iter().find(|(_, fate)| fate.is_abandoned()).map(|(span, _)| *span)
    }

    /// Records in flight.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Bytes in flight.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Ticket {
    /// One share for each of `shares` destinations: the span is settled when all of them are.
    /// Split into none it is settled: nobody is to have the records.
    pub fn split(self, shares: u32) -> Vec<Ticket> {
        if shares == 0 {
            self.settle();
            return Vec::new();
        }
        self.fate.shares_open.fetch_add(shares - 1, Ordering::Relaxed);
        let fate = self.fate.clone();
        let others = (1..shares).map(|_| Ticket { fate: fate.clone(), settled: false });
        std::iter::once(self).chain(others).collect()
    }

    /// The destination has the records, durably.
    pub fn settle(mut self) {
        self.settled = true;
    }

    /// The destination will not have them: the span is never settled.
    pub fn abandon(self) {
        drop(self);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.settled {
            self.fate.shares_open.fetch_sub(1, Ordering::Release);
        } else {
            self.fate.abandoned.store(true, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WIDE: InFlightLimit = InFlightLimit { records_max: 1 << 40, bytes_max: 1 << 40 };

    fn span(end: u64, records: u64, bytes: u64) -> Span {
        Span { end: Position::from_offset(end), records, bytes }
    }

    #[test]
    fn dropping_a_ticket_is_a_failure_never_an_acknowledgement() {
        let mut tracker = Tracker::new(WIDE);
        let first = tracker.open(span(10, 1, 10)).expect("nothing is in flight");
        let second = tracker.open(span(20, 1, 10)).expect("the limit is far");
        second.settle();
        drop(first);
        assert_eq!(tracker.settle_prefix(), None);
        assert_eq!(tracker.first_abandoned(), Some(span(10, 1, 10)));
    }

    #[test]
    fn a_span_is_settled_when_every_share_is() {
        let mut tracker = Tracker::new(WIDE);
        let ticket = tracker.open(span(10, 3, 30)).expect("nothing is in flight");
        let mut shares = ticket.split(3);
        shares.pop().expect("three shares").settle();
        shares.pop().expect("two shares").settle();
        assert_eq!(tracker.settle_prefix(), None);
        shares.pop().expect("one share").settle();
        let end = Position::from_offset(10);
        assert_eq!(tracker.settle_prefix(), Some(Settled { end, records: 3, bytes: 30 }));
    }

    #[test]
    fn what_is_in_flight_is_bounded_but_one_span_always_fits() {
        let mut tracker = Tracker::new(InFlightLimit { records_max: 10, bytes_max: 100 });
        let huge = tracker.open(span(1, 1, 5_000)).expect("a large record must get through");
        let full = Full { records: 1, bytes: 5_000 };
        assert_eq!(tracker.open(span(2, 1, 1)).map(Ticket::settle), Err(full));
        huge.settle();
        tracker.settle_prefix();
        let _ = tracker.open(span(2, 10, 1)).map(Ticket::settle);
        assert!(tracker.open(span(3, 1, 1)).is_err(), "eleven records");
    }

    /// What may happen to a tracker: spans open, shares are settled or dropped in any order.
    #[derive(Clone, Debug)]
    enum Act {
        Open { records: u64, bytes: u64, shares: u32 },
        Settle { which: usize },
        Drop { which: usize },
        Advance,
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let act = prop_oneof![
            4 => (1u64..50, 1u64..500, 0u32..4)
                .prop_map(|(records, bytes, shares)| Act::Open { records, bytes, shares }),
            8 => any::<usize>().prop_map(|which| Act::Settle { which }),
            1 => any::<usize>().prop_map(|which| Act::Drop { which }),
            3 => Just(Act::Advance),
        ];
        prop::collection::vec(act, 0..200)
    }

    /// The model: every span that was ever opened, with its open shares, in a plain list.
    struct Known {
        span: Span,
        shares_open: u32,
        dropped: bool,
        taken: bool,
    }

    proptest! {
        #[test]
        fn the_prefix_is_the_models(acts in acts()) {
            let limit = InFlightLimit { records_max: 200, bytes_max: 2_000 };
            let mut tracker = Tracker::new(limit);
            let mut known: Vec<Known> = Vec::new();
            let mut shares: Vec<(usize, Ticket)> = Vec::new();
            let mut end = 0;
            for act in acts {
                match act {
                    Act::Open { records, bytes, shares: count } => {
                        end += bytes;
                        let in_flight = known.iter().filter(|it| !it.taken);
                        let (held, held_bytes) = in_flight
                            .fold((0, 0), |sum, it| (sum.0 + it.span.records, sum.1 + it.span.bytes));
                        let fits = held == 0
                            || held + records <= limit.records_max
                                && held_bytes + bytes <= limit.bytes_max;
                        let opened = tracker.open(span(end, records, bytes));
                        prop_assert_eq!(opened.is_ok(), fits);
                        if let Ok(ticket) = opened {
                            let span = span(end, records, bytes);
                            let which = known.len();
                            known.push(Known { span, shares_open: count, dropped: false, taken: false });
                            shares.extend(ticket.split(count).into_iter().map(|it| (which, it)));
                        }
                    }
                    Act::Settle { which } if !shares.is_empty() => {
                        let (owner, share) = shares.swap_remove(which % shares.len());
                        known[owner].shares_open -= 1;
                        share.settle();
                    }
                    Act::Drop { which } if !shares.is_empty() => {
                        let (owner, share) = shares.swap_remove(which % shares.len());
                        known[owner].dropped = true;
                        drop(share);
                    }
                    Act::Advance => {
                        let prefix = known.iter_mut().filter(|it| !it.taken);
                        let prefix = prefix.take_while(|it| it.shares_open == 0);
                        let expected = prefix.fold(None, |sum: Option<Settled>, it| {
                            it.taken = true;
                            let (records, bytes) = sum.map_or((0, 0), |it| (it.records, it.bytes));
                            Some(Settled {
                                end: it.span.end,
                                records: records + it.span.records,
                                bytes: bytes + it.span.bytes,
                            })
                        });
                        prop_assert_eq!(tracker.settle_prefix(), expected);
                    }
                    Act::Settle { .. } | Act::Drop { .. } => {}
                }
                let abandoned = known.iter().find(|it| it.dropped).map(|it| it.span);
                prop_assert_eq!(tracker.first_abandoned(), abandoned);
            }
        }
    }
}
