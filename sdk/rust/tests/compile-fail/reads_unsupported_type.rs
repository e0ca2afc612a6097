use tidegate_plugin::Reads;

#[derive(Reads)]
struct Transaction {
    amount: f64,
    items: Option<u16>,
}

fn main() {}
