use tidegate_plugin::Enumeration;

#[derive(Clone, Copy, Enumeration)]
enum Size {
    Small,
    Large(f64),
}

fn main() {}
