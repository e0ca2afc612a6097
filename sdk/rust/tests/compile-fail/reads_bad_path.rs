use tidegate_plugin::Reads;

#[derive(Reads)]
struct Transaction<'a> {
    #[read(path = "items[*].sku")]
    sku: &'a str,
    #[read(from = "merchant")]
    merchant: &'a str,
}

fn main() {}
