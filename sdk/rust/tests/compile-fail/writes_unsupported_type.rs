use tidegate_plugin::Writes;

#[derive(Writes)]
struct Categorized {
    level: u8,
}

fn main() {}
