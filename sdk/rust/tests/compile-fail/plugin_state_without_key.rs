use tidegate_plugin::{Reads, State, Writes, plugin};

#[derive(Reads)]
struct Transaction {
    amount: f64,
}

#[derive(Default, State)]
struct Sum {
    amount: f64,
}

#[derive(Writes)]
struct Summed {
    sum: f64,
}

#[plugin]
fn sum(tx: Transaction, state: &mut Sum) -> Summed {
    state.amount += tx.amount;
    Summed { sum: state.amount }
}

fn main() {}
