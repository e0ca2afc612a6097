use tidegate_plugin::{Reads, Writes, plugin};

#[derive(Reads)]
struct Transaction {
    amount: f64,
}

#[derive(Writes)]
struct Doubled {
    amount: f64,
}

#[plugin]
fn double(tx: Transaction, config: &Transaction) -> Doubled {
    Doubled { amount: tx.amount * config.amount }
}

#[plugin(nam = "triple")]
fn triple(tx: Transaction) -> Doubled {
    Doubled { amount: tx.amount * 3.0 }
}

fn main() {}
