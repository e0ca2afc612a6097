//! What all guests share: the contract's bindings and the plugin that each of them is where it
//! doesn't misbehave.
//!
//! It reads `amount`, a float, and writes `doubled`. A guest misbehaves at the row whose amount is
//! [`POISON`], so that a test says with its batch where it happens. No SDK: what is tested here is
//! what the bare contract lets a guest do.

use std::cell::Cell;

#[doc(hidden)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "transform",
        generate_all,
        pub_export_macro: true,
        default_bindings_module: "guests::bindings",
    });
}

#[doc(hidden)]
pub use bindings::export;
pub use bindings::{
    exports::tidegate::plugin::plugin::Guest,
    tidegate::plugin::{
        columns::{Batch, Binary, ChangedStates, Column, Findings, Reply, States, Values},
        description::{
            About, ConfigError, Description, Dimension, HostValue, KeyedState, Kind, Lookup,
            Origin, Read, Rule, Segment, Severity, TimestampFormat, Write,
        },
        host,
    },
};

/// The amount at which a guest misbehaves.
pub const POISON: f64 = 13.0;

/// A guest: what is not said otherwise is well-behaved.
pub trait Behave {
    /// What it is.
    fn about() -> About {
        About {
            name: "guest".into(),
            version: "1.0.0".into(),
            summary: "Doubles amounts.".into(),
            config_schema: "{}".into(),
            capabilities: vec![],
            state_version: 0,
            may_be_passed_by: true,
        }
    }

    /// What it reads and writes.
    fn configure(_config: &str) -> Result<Description, ConfigError> {
        Ok(Description {
            reads: vec![read("amount", Kind::Float64)],
            writes: vec![write("doubled", Kind::Float64)],
            rules: vec![rule("odd")],
            state: None,
        })
    }

    /// What it answers.
    fn transform(batch: Batch) -> Reply {
        doubled(&batch)
    }
}

/// Exports a guest.
#[macro_export]
macro_rules! guest {
    ($guest:ident) => {
        impl $crate::Guest for $guest {
            fn describe() -> $crate::About {
                $crate::install_panic_hook();
                <$guest as $crate::Behave>::about()
            }

            fn configure(config: String) -> Result<$crate::Description, $crate::ConfigError> {
                $crate::install_panic_hook();
                <$guest as $crate::Behave>::configure(&config)
            }

            fn transform(batch: $crate::Batch) -> $crate::Reply {
                <$guest as $crate::Behave>::transform(batch)
            }
        }

        $crate::export!($guest);
    };
}

thread_local! {
    static ROW: Cell<Option<u32>> = const { Cell::new(None) };
}

/// Says which row is being worked on: what the panic hook tells the host.
pub fn at(row: u32) {
    ROW.set(Some(row));
}

/// As an SDK does it: a panic's text and row go to the host before the trap.
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(|panic| host::fault(ROW.get(), &panic.to_string())));
}

/// The column of amounts.
pub fn amounts(batch: &Batch) -> &[f64] {
    match &batch.columns[0].values {
        Values::Float64(amounts) => amounts,
        _ => panic!("the first column holds amounts"),
    }
}

/// The row to misbehave at.
pub fn poison(batch: &Batch) -> Option<u32> {
    amounts(batch).iter().position(|&amount| amount == POISON).map(|row| row as u32)
}

/// The well-behaved answer.
pub fn doubled(batch: &Batch) -> Reply {
    let doubled = amounts(batch).iter().map(|amount| amount * 2.0).collect();
    reply(vec![column(Values::Float64(doubled))])
}

/// An answer with columns and nothing else.
pub fn reply(columns: Vec<Column>) -> Reply {
    Reply {
        verdicts: vec![],
        parents: vec![],
        columns,
        findings: Findings { rows: vec![], rules: vec![], details: none() },
        states: ChangedStates { keys: vec![], values: none() },
    }
}

/// A column with a value in every row.
pub fn column(values: Values) -> Column {
    Column { values, presence: vec![] }
}

/// No byte strings at all.
pub fn none() -> Binary {
    Binary { offsets: vec![], bytes: vec![] }
}

/// Byte strings back to back.
pub fn binary<T: AsRef<[u8]>>(values: impl IntoIterator<Item = T>) -> Binary {
    let mut binary = Binary { offsets: vec![0], bytes: vec![] };
    for value in values {
        binary.bytes.extend_from_slice(value.as_ref());
        binary.offsets.push(binary.bytes.len() as u32);
    }
    binary
}

/// A read of a member of the record.
pub fn read(name: &str, kind: Kind) -> Read {
    Read { from: Origin::Field(path(name)), kind, required: false }
}

/// A write of a member of the record.
pub fn write(name: &str, kind: Kind) -> Write {
    Write { path: path(name), kind }
}

/// A rule about amounts.
pub fn rule(id: &str) -> Rule {
    Rule {
        id: id.into(),
        dimension: Dimension::Validity,
        severity: Severity::Reject,
        field: Some(path("amount")),
        text: "The amount is as it should be.".into(),
    }
}

fn path(name: &str) -> Vec<Segment> {
    vec![Segment::Key(name.into())]
}
