use tidegate_plugin::State;

#[derive(Default, State)]
struct Seen {
    users: std::collections::HashSet<String>,
}

fn main() {}
