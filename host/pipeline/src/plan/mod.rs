//! The plan: stages, what each reads and writes, and where rows go. Built once, checked whole,
//! immutable, and carried by every range.

mod finding;
mod spec;

use std::sync::Arc;

use tidegate_core::{Digest, sink::Naming};

pub use finding::{Finding, Findings, Level};
pub use spec::{Compression, DeadLetterSpec, Layout, Limits, PlanSpec, SinkSpec, Unrouted};

use crate::process::{ProcessError, RangeContext, RangeProcessor};

/// Where objects of a range may go: the sinks in the order of the config, then the dead letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The sink's name.
    pub name: String,
    /// Whether its objects can be named.
    pub naming: Naming,
}

/// A checked pipeline, ready to process ranges. Immutable: a swap makes another.
#[derive(Debug)]
pub struct Plan {
    pub(crate) spec: PlanSpec,
    pub(crate) destinations: Vec<Destination>,
    pub(crate) generation: Digest,
}

impl Plan {
    /// Checks a spec and makes it a plan, or says everything that is wrong with it at once.
    pub fn build(spec: PlanSpec) -> Result<Arc<Plan>, Findings> {
        let mut destinations: Vec<Destination> = spec
            .sinks
            .iter()
            .map(|sink| Destination { name: sink.name.clone(), naming: sink.naming })
            .collect();
        destinations.push(Destination {
            name: spec.dead_letters.name.clone(),
            naming: spec.dead_letters.naming,
        });
        Ok(Arc::new(Plan { generation: spec.config, spec, destinations }))
    }

    /// One digest over everything that decides what becomes of a record, besides the record.
    pub fn generation(&self) -> Digest {
        self.generation
    }

    /// Where objects may go; `RangeObject::destination` is an index into it. The last one takes
    /// the dead letters.
    pub fn destinations(&self) -> &[Destination] {
        &self.destinations
    }

    /// Starts a range: fresh instances, empty objects, no state loaded.
    pub fn open_range(
        self: &Arc<Self>,
        context: RangeContext,
    ) -> Result<RangeProcessor, ProcessError> {
        RangeProcessor::open(Arc::clone(self), context)
    }
}
