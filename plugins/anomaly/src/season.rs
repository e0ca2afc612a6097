//! A history for each hour, weekday or hour of the week.

use tidegate_plugin::{State, Timestamp};

use crate::{config::Season, history::History};

/// The histories of one key. 4 bytes and 14 for each as a state.
#[derive(Clone, Debug, Default, PartialEq, State)]
pub(crate) struct Seasons {
    cells: Vec<Cell>,
}

/// A [`History`] in 14 bytes, for there may be 168 of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, State)]
struct Cell {
    seen: u16,
    mean: f64,
    variance: f32,
}

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
        Seasons { cells: vec![Cell::default(); season.cells()] }
    }

    /// How many bytes one takes.
    pub(crate) fn bytes_max(season: Season) -> usize {
        4 + 14 * season.cells()
    }

    /// Whether it is divided by a season.
    pub(crate) fn is_by(&self, season: Season) -> bool {
        self.cells.len() == season.cells()
    }

    /// The history of a cell.
    pub(crate) fn history(&self, cell: usize) -> History {
        let Cell { seen, mean, variance } = self.cells[cell];
        History { seen: seen.into(), mean, variance: variance.into() }
    }

    /// Replaces the history of a cell, unless its variance is more than a cell can hold.
    pub(crate) fn set_history(&mut self, cell: usize, history: History) {
        let seen = u16::try_from(history.seen).unwrap_or(u16::MAX);
        let variance = history.variance as f32;
        if variance.is_finite() {
            self.cells[cell] = Cell { seen, mean: history.mean, variance };
        }
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
