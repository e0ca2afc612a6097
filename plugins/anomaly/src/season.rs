//! A history for each hour, weekday or hour of the week.

use tidegate_plugin::{State, Timestamp};

use crate::{config::Season, history::History};

/// The histories of one key, each a [`History`] in 14 bytes, for there may be 168 of them: `seen`
/// as a `u16`, `mean` as an `f64`, `variance` as an `f32`. They stay in bytes, for a batch that
/// brings one number of a key looks at one of them.
///
/// 4 bytes and those as a state.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Seasons {
    cells: Vec<u8>,
}

const CELL_BYTES: usize = 14;

impl Season {
    /// How many of them there are.
    pub(crate) fn cells(self) -> usize {
        match self {
            Season::Hour => 24,
            Season::Weekday => 7,
            Season::HourOfWeek => 168,
        }
    }

    /// Which of them a time lies in.
    pub(crate) fn cell(self, time: Timestamp) -> usize {
        let weekday = time.date().weekday() as usize - 1;
        let hour = time.hour() as usize;
        match self {
            Season::Hour => hour,
            Season::Weekday => weekday,
            Season::HourOfWeek => 24 * weekday + hour,
        }
    }
}

impl Seasons {
    /// One that has seen nothing.
    pub(crate) fn new(season: Season) -> Self {
        Seasons { cells: vec![0; CELL_BYTES * season.cells()] }
    }

    /// How many bytes one takes.
    pub(crate) fn bytes_max(season: Season) -> usize {
        4 + CELL_BYTES * season.cells()
    }

    /// Whether it is divided by a season.
    pub(crate) fn is_by(&self, season: Season) -> bool {
        self.cells.len() == CELL_BYTES * season.cells()
    }

    /// The history of a cell.
    pub(crate) fn history(&self, cell: usize) -> History {
        let mut bytes = &self.cells[CELL_BYTES * cell..];
        let mut take = || {
            let (seen, mean) = (u16::decode(&mut bytes)?, f64::decode(&mut bytes)?);
            let variance = f32::decode(&mut bytes)?.into();
            Some(History { seen: seen.into(), mean, variance })
        };
        take().unwrap_or_default()
    }

    /// Replaces the history of a cell, unless its variance is more than a cell can hold.
    pub(crate) fn set_history(&mut self, cell: usize, history: History) {
        let seen = u16::try_from(history.seen).unwrap_or(u16::MAX);
        let variance = history.variance as f32;
        if variance.is_finite() {
            let (head, rest) = self.cells[CELL_BYTES * cell..][..CELL_BYTES].split_at_mut(2);
            let (middle, tail) = rest.split_at_mut(8);
            head.copy_from_slice(&seen.to_le_bytes());
            middle.copy_from_slice(&history.mean.to_le_bytes());
            tail.copy_from_slice(&variance.to_le_bytes());
        }
    }
}

impl State for Seasons {
    fn encode(&self, bytes: &mut Vec<u8>) {
        (self.cells.len() as u32).encode(bytes);
        bytes.extend_from_slice(&self.cells);
    }

    fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let len = u32::decode(bytes)? as usize;
        let (cells, rest) = bytes.split_at_checked(len)?;
        *bytes = rest;
        Some(Seasons { cells: cells.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hours_of_a_week_are_counted_from_monday() {
        let monday = 4 * Timestamp::DAY; // 1970-01-05
        for hour in 0..400 {
            let time = Timestamp(monday + hour * 3600 * Timestamp::SECOND);
            assert_eq!(Season::Hour.cell(time) as i64, hour % 24);
            assert_eq!(Season::Weekday.cell(time) as i64, hour / 24 % 7);
            assert_eq!(Season::HourOfWeek.cell(time) as i64, hour % 168);
        }
        assert!(Season::HourOfWeek.cell(Timestamp(i64::MIN)) < 168);
    }

    #[test]
    fn a_state_takes_as_many_bytes_as_it_says() {
        for season in [Season::Hour, Season::Weekday, Season::HourOfWeek] {
            let mut bytes = Vec::new();
            Seasons::new(season).encode(&mut bytes);
            assert_eq!(bytes.len(), Seasons::bytes_max(season));
        }
    }

    #[test]
    fn a_cell_stays_finite() {
        let mut seasons = Seasons::new(Season::Weekday);
        let wide = History { seen: 70_000, mean: 1.0, variance: 1e300 };
        seasons.set_history(0, wide);
        assert_eq!(seasons.history(0), History::default(), "more than it can hold");
        seasons.set_history(0, History { variance: 4.0, ..wide });
        assert_eq!(seasons.history(0), History { seen: 65_535, mean: 1.0, variance: 4.0 });
    }
}
