use tidegate_plugin::{Reads, plugin};

#[derive(Reads)]
struct Transaction {
    amount: f64,
}

struct Doubled {
    amount: f64,
}

#[plugin]
fn double(tx: Transaction) -> Doubled {
    Doubled { amount: tx.amount * 2.0 }
}

fn main() {}
