//! Iterates a standard hash map, whose order is another on each call of an instance: writes the
//! key that comes first.

use std::collections::HashMap;

use guests::{Batch, Behave, Reply, Values, column, guest, reply};

struct RandomOrderMap;

impl Behave for RandomOrderMap {
    fn transform(batch: Batch) -> Reply {
        let map: HashMap<u32, ()> = (0..1000).map(|key| (key, ())).collect();
        let first = map.keys().next().copied().map_or(0.0, f64::from);
        reply(vec![column(Values::Float64(vec![first; batch.rows as usize]))])
    }
}

guest!(RandomOrderMap);
