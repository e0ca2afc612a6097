use tidegate_plugin::{Reads, Timestamp};

#[derive(Reads)]
struct Transaction {
    #[read(host = "@now")]
    now: Timestamp,
}

fn main() {}
