use tidegate_plugin::Reads;

#[derive(Reads)]
struct Transaction {
    #[lookup(table = "merchants", column = "risk")]
    risk: Option<f64>,
}

fn main() {}
