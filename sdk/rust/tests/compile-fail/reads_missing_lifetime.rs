use tidegate_plugin::Reads;

#[derive(Reads)]
struct Transaction {
    amount: f64,
    currency: &str,
}

fn main() {}
