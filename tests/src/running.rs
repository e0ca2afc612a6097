//! A pipeline that runs while a story is told: started, changed under its feet, and stopped.

use std::{
    fs,
    path::Path,
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use crate::program::Program;

/// How long something that has to happen may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Whole or not at all, as a careful operator's tool writes.
///
/// # Panics
/// When the file can't be written.
pub fn replace(path: &Path, content: impl AsRef<[u8]>) {
    let beside = path.with_extension("new");
    fs::write(&beside, content).expect("a temporary folder");
    fs::rename(beside, path).expect("a temporary folder");
}

/// Waits until something has happened.
///
/// # Panics
/// When it does not.
pub fn wait_for(what: &str, mut happened: impl FnMut() -> bool) {
    let since = Instant::now();
    while !happened() {
        assert!(since.elapsed() < PATIENCE, "{what} did not happen");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Starts a run whose data directory is `data` in `folder`, and waits until it serves.
///
/// # Panics
/// When it does not.
pub fn start(program: &Program, folder: &Path, arguments: &[&str]) -> Child {
    let _ = fs::remove_file(folder.join("data/control.sock"));
    let run = program.start("run", arguments);
    wait_for("the start", || folder.join("data/control.sock").exists());
    run
}

/// Stops a run as an operator does.
///
/// # Panics
/// When it does not end well.
pub fn stop(mut run: Child) {
    let told = Command::new("kill").arg("-TERM").arg(run.id().to_string()).status();
    assert!(told.expect("`kill` is there").success());
    assert_eq!(run.wait().expect("it can be waited for").code(), Some(0));
}
