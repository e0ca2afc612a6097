//! Wants something of the host that the contract does not have.

use guests::{Batch, Behave, Reply, doubled, guest};

mod bindings {
    wit_bindgen::generate!({
        inline: "
            package somebody:other@1.0.0;

            interface clock {
                now: func() -> u64;
            }

            world curious {
                import clock;
            }
        ",
    });
}

struct ImportUnknown;

impl Behave for ImportUnknown {
    fn transform(batch: Batch) -> Reply {
        std::hint::black_box(bindings::somebody::other::clock::now());
        doubled(&batch)
    }
}

guest!(ImportUnknown);
