//! Names what a value amounts to: bands of numbers, mappings of words, flags.
//!
//! A row whose field has no value of the right type gets no name: what is missing or wrong is for
//! `validate` to say.

mod config;

use tidegate_plugin::{
    About, Batch, ConfigError, Description, Kind, Plugin, Read, Reply, Write,
    batch::{Absence, Cells},
    blocks::{self, Interval},
    export,
    reply::{Column, ColumnBuilder, LEAVE, SET, Values},
};

pub use config::{Band, Bands, Config, Flag, Mapping};

export!(Categorize);

/// The plugin under one config.
#[derive(Debug)]
pub struct Categorize {
    bands: Vec<BandColumn>,
    mappings: Vec<MappingColumn>,
    flags: Vec<FlagColumn>,
}

/// Which band each value of a column lies in.
#[derive(Debug)]
struct BandColumn {
    read: usize,
    /// The exclusive upper limits, ascending.
    limits: Vec<f64>,
    /// A label's code for each limit, and one more for what lies above the last where that has
    /// a name.
    codes: Vec<u32>,
}

/// What each word of a column is mapped to.
#[derive(Debug)]
struct MappingColumn {
    read: usize,
    /// For each word of the read's dictionary, the code of what it is mapped to.
    codes: Vec<u32>,
    other: Option<u32>,
}

/// Whether each value of a column lies in a range.
#[derive(Debug)]
struct FlagColumn {
    read: usize,
    range: Interval,
}

impl Plugin for Categorize {
    type Config = Config;

    fn about() -> About {
        About {
            name: "categorize",
            version: env!("CARGO_PKG_VERSION"),
            summary: env!("CARGO_PKG_DESCRIPTION"),
            capabilities: Vec::new(),
            state_version: 0,
            may_be_passed_by: true,
        }
    }

    fn configure(config: Config) -> Result<(Self, Description), ConfigError> {
        config.check()?;
        let mut description = Description::default();
        let mut bands = Vec::new();
        for Bands { write, field, bands: steps } in config.bands {
            let labels = Labels::of(steps.iter().map(|band| &band.label));
            bands.push(BandColumn {
                read: description.read(Read::field(field, Kind::Float64)),
                limits: steps.iter().filter_map(|band| band.below).collect(),
                codes: labels.codes,
            });
            description
                .writes
                .push(Write { path: write, kind: Kind::Enumeration(labels.distinct) });
        }
        let mut mappings = Vec::new();
        for Mapping { write, field, values, other } in config.mappings {
            let mut labels = Labels::of(values.values().chain(&other));
            let words = values.into_keys().collect();
            mappings.push(MappingColumn {
                read: description.read(Read::field(field, Kind::Enumeration(words))),
                other: other.and_then(|_| labels.codes.pop()),
                codes: labels.codes,
            });
            description
                .writes
                .push(Write { path: write, kind: Kind::Enumeration(labels.distinct) });
        }
        let mut flags = Vec::new();
        for Flag { write, field, above, at_least, below, at_most } in config.flags {
            let read = description.read(Read::field(field, Kind::Float64));
            description.writes.push(Write { path: write, kind: Kind::Boolean });
            let range = Interval::new(above, at_least, below, at_most);
            flags.push(FlagColumn { read, range });
        }
        Ok((Categorize { bands, mappings, flags }, description))
    }

    fn transform(&self, batch: &Batch<'_>) -> Reply {
        let bands = self.bands.iter().map(|column| column.fill(batch.float64(column.read)));
        let mappings =
            self.mappings.iter().map(|column| column.fill(batch.enumeration(column.read)));
        let flags = self.flags.iter().map(|column| column.fill(batch.float64(column.read)));
        Reply { columns: bands.chain(mappings).chain(flags).collect(), ..Reply::default() }
    }
}

impl BandColumn {
    fn fill(&self, amounts: Cells<'_, f64>) -> Column {
        // Limit by limit, so that no row needs a branch: bands are few, and a search costs more.
        let mut bands = vec![0_u32; amounts.values.len()];
        for limit in &self.limits {
            let is_above = |band, amount| band + u32::from(amount >= *limit);
            blocks::combine(&mut bands, amounts.values, is_above);
        }
        let mut presence = blocks::leave_absent(amounts.presence);
        if self.codes.len() == self.limits.len() {
            let above = self.limits.len() as u32;
            presence.resize(bands.len(), SET);
            let leave_above = |action, band| if band == above { LEAVE } else { action };
            blocks::combine(&mut presence, &bands, leave_above);
        }
        // Where no two bands share a label, a band's number is its label's code.
        if !self.codes.iter().enumerate().all(|(band, code)| band as u32 == *code) {
            let code = |band: u32| self.codes.get(band as usize).copied().unwrap_or_default();
            blocks::update(&mut bands, code);
        }
        Column { values: Values::Enumeration(bands), presence }
    }
}

impl MappingColumn {
    fn fill(&self, words: Cells<'_, u32>) -> Column {
        let mut column = ColumnBuilder::with_capacity(words.values.len());
        for row in 0..words.values.len() {
            column.push(match words.get(row) {
                Ok(word) => self.codes.get(word as usize).copied().into(),
                // A string that the dictionary lacks.
                Err(Absence::OutOfRange) => self.other.into(),
                Err(_) => None.into(),
            });
        }
        column.finish(Values::Enumeration)
    }
}

impl FlagColumn {
    fn fill(&self, amounts: Cells<'_, f64>) -> Column {
        let flags = blocks::map(amounts.values, |amount| u8::from(self.range.contains(amount)));
        let presence = blocks::leave_absent(amounts.presence);
        Column { values: Values::Boolean(flags), presence }
    }
}

/// Labels, each a code into the distinct ones.
struct Labels {
    codes: Vec<u32>,
    distinct: Vec<String>,
}

impl Labels {
    fn of<'a>(labels: impl IntoIterator<Item = &'a String>) -> Self {
        let mut distinct: Vec<String> = Vec::new();
        let codes = labels
            .into_iter()
            .map(|label| {
                let code = distinct.iter().position(|known| known == label).unwrap_or_else(|| {
                    distinct.push(label.clone());
                    distinct.len() - 1
                });
                code as u32
            })
            .collect();
        Labels { codes, distinct }
    }
}

#[cfg(test)]
mod tests;
