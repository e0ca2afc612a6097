//! What is counted of leases.

use metrics::{Counter, Gauge, Label};

pub(super) struct Meters {
    held: Gauge,
    steals: Counter,
    failovers: Counter,
    hand_overs: Counter,
    lost: Counter,
    renewals_failed: Counter,
}

impl Meters {
    pub(super) fn new(pipeline: &str) -> Self {
        let labels = vec![Label::new("pipeline", pipeline.to_owned())];
        let counter = |name: &'static str| metrics::counter!(name, labels.clone());
        Meters {
            held: metrics::gauge!("tidegate_leases_held", labels.clone()),
            steals: counter("tidegate_lease_steals_total"),
            failovers: counter("tidegate_lease_failovers_total"),
            hand_overs: counter("tidegate_lease_hand_overs_total"),
            lost: counter("tidegate_leases_lost_total"),
            renewals_failed: counter("tidegate_lease_renewals_failed_total"),
        }
    }

    pub(super) fn held(&self, leases: usize) {
        self.held.set(leases as f64);
    }

    /// Another host was asked for a lease.
    pub(super) fn asked(&self) {
        self.steals.increment(1);
    }

    /// Leases that have expired are taken.
    pub(super) fn failed_over(&self, leases: u64) {
        self.failovers.increment(leases);
    }

    /// A lease was given up.
    pub(super) fn handed_over(&self) {
        self.hand_overs.increment(1);
    }

    /// A lease was found to be somebody else's.
    pub(super) fn lost(&self) {
        self.lost.increment(1);
    }

    pub(super) fn renewal_failed(&self) {
        self.renewals_failed.increment(1);
    }
}
