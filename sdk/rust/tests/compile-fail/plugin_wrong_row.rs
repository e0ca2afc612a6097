use tidegate_plugin::{Writes, plugin};

struct Transaction {
    amount: f64,
}

#[derive(Writes)]
struct Doubled {
    amount: f64,
}

#[plugin]
fn double(tx: Transaction) -> Doubled {
    Doubled { amount: tx.amount * 2.0 }
}

fn main() {}
