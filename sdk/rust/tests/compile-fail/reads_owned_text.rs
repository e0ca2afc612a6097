use tidegate_plugin::Reads;

#[derive(Reads)]
struct Transaction {
    currency: String,
}

fn main() {}
