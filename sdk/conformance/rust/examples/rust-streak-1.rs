//! Keeps a state, in its first version: what `rust-streak-2` migrates.

use tidegate_plugin::{Reads, State, Writes, plugin};

#[derive(Reads)]
struct Login<'a> {
    #[read(key)]
    user: &'a str,
}

#[derive(Default, State)]
struct Streak {
    logins: u32,
}

#[derive(Writes)]
struct Counted {
    logins: i64,
}

/// Counts logins.
#[plugin(name = "streak", version = "1.0.0")]
fn streak(login: Login, state: &mut Streak) -> Counted {
    let _ = login.user;
    state.logins += 1;
    Counted { logins: state.logins.into() }
}
