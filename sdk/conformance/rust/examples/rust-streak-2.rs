//! The same as `rust-streak-1` with another state, which it makes of the old one.

use tidegate_plugin::{Reads, State, Writes, plugin, state};

#[derive(Reads)]
struct Login<'a> {
    #[read(key)]
    user: &'a str,
}

/// The state of version 1.
#[derive(State)]
struct StreakV1 {
    logins: u32,
}

#[derive(Default, State)]
struct Streak {
    logins: u64,
    /// How many of them the first version counted.
    before: u64,
}

#[derive(Writes)]
struct Counted {
    logins: i64,
    before: i64,
}

/// Counts logins.
#[plugin(name = "streak", version = "2.0.0", state_version = 2, migrate = from_v1)]
fn streak(login: Login, state: &mut Streak) -> Counted {
    let _ = login.user;
    state.logins += 1;
    Counted { logins: state.logins as i64, before: state.before as i64 }
}

fn from_v1(from: u32, bytes: &[u8]) -> Result<Streak, String> {
    if from != 1 {
        return Err(format!("there was never a version {from}"));
    }
    let StreakV1 { logins } = state::decode(bytes)?;
    // So that a test has one that is refused.
    if logins == 13 {
        return Err("thirteen logins can't be migrated".to_owned());
    }
    Ok(Streak { logins: logins.into(), before: logins.into() })
}
