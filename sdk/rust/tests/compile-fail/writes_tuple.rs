use tidegate_plugin::Writes;

#[derive(Writes)]
struct Categorized(f64);

fn main() {}
