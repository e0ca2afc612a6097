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
fn double(tx: Transaction) -> Result<Doubled, String> {
    Ok(Doubled { amount: tx.amount * 2.0 })
}

fn main() {}
