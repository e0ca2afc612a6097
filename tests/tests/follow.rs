//! The story of a log that is written, rotated and followed, by a process that is killed again and
//! again: nothing is lost and nothing doubled.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command},
    time::{Duration, Instant},
};

use serde_json::Value;
use tidegate_tests::program::{Program, tree};

/// Longer than anything here takes, even on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(90);

/// A program that writes a log and moves it away now and then.
struct Writer {
    folder: PathBuf,
    written: u64,
}

impl Writer {
    fn new(folder: &Path) -> Self {
        fs::create_dir_all(folder).expect("a fresh folder");
        Writer { folder: folder.to_owned(), written: 0 }
    }

    fn log(&self) -> PathBuf {
        self.folder.join("app.log")
    }

    /// Writes some lines, the last one in two halves if `breaks`.
    fn write(&mut self, count: u64, breaks: bool, line: impl Fn(u64) -> String) {
        let mut file =
            OpenOptions::new().create(true).append(true).open(self.log()).expect("a log");
        for i in 0..count {
            let text = line(self.written);
            let (first, second) = text.split_at(text.len() / 2);
            file.write_all(first.as_bytes()).expect("room");
            if breaks && i + 1 == count {
                std::thread::sleep(Duration::from_millis(30));
            }
            file.write_all(format!("{second}\n").as_bytes()).expect("room");
            self.written += 1;
        }
    }

    fn shift(&self) {
        for i in (1..20).rev() {
            let from = self.folder.join(format!("app.log.{i}"));
            if from.exists() {
                fs::rename(from, self.folder.join(format!("app.log.{}", i + 1))).expect("a move");
            }
        }
    }

    fn rename(&self) {
        self.shift();
        fs::rename(self.log(), self.folder.join("app.log.1")).expect("a move");
    }

    fn copy_truncate(&self) {
        self.shift();
        fs::copy(self.log(), self.folder.join("app.log.1")).expect("a copy");
        OpenOptions::new().write(true).truncate(true).open(self.log()).expect("a log");
    }
}

fn pipeline(folder: &Path, source: &str) -> Program {
    let text = format!(
        r#"
pipeline: follow-story
data_dir: ${{OUT}}/data
source: {source}
sinks:
  - name: out
    directory: {{ path: "${{OUT}}/out" }}
dead_letters: {{ directory: "${{OUT}}/dead" }}
range: {{ age: 200ms, records: 300 }}
"#
    );
    let file = folder.join("pipeline.yaml");
    fs::write(&file, text).expect("room for the pipeline");
    Program::new(&file).with("OUT", folder)
}

/// The lines of all objects that are there by now. The program may be at work on others.
fn delivered(out: &Path) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(out).into_iter().flatten();
    let paths = entries.map(|entry| entry.expect("the folder can be read").path());
    let whole = paths.filter(|path| path.extension().is_some_and(|it| it == "jsonl"));
    let contents = whole.map(|path| fs::read(path).expect("an object is there for good"));
    let lines = contents.flat_map(|content| {
        let lines = content.split_inclusive(|byte| *byte == b'\n');
        lines.map(<[u8]>::to_vec).collect::<Vec<_>>()
    });
    lines.collect()
}

/// How often each number was delivered.
fn numbers(out: &Path) -> BTreeMap<u64, u64> {
    let mut numbers = BTreeMap::new();
    for line in delivered(out) {
        let record: Value = serde_json::from_slice(&line).expect("a record is JSON");
        *numbers.entry(record["n"].as_u64().expect("a number")).or_default() += 1;
    }
    numbers
}

/// Waits until so many lines have come out.
fn wait_for(out: &Path, count: u64) {
    let started = Instant::now();
    loop {
        let found = delivered(out).len() as u64;
        if found >= count {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{found} of {count} lines came");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A run that does not outlive the test, however that ends.
struct Run(Child);

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn terminate(mut run: Run) {
    let sent = Command::new("kill").args(["-TERM", &run.0.id().to_string()]).status();
    assert!(sent.expect("kill is there").success());
    let started = Instant::now();
    loop {
        if let Some(status) = run.0.try_wait().expect("it can be waited for") {
            assert_eq!(status.code(), Some(0), "a stop that was asked for is no failure");
            return;
        }
        assert!(started.elapsed() < PATIENCE, "it does not stop");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn story(source: &str, line: fn(u64) -> String, rotate: fn(&Writer)) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("out");
    let mut writer = Writer::new(&folder.path().join("logs"));
    let program = pipeline(folder.path(), source);
    let mut run = Run(program.start("run", &[]));
    for round in 0..6 {
        writer.write(500, true, line);
        match round % 3 {
            0 => wait_for(&out, writer.written),
            // In the middle of it, or before anything of it was read.
            1 => std::thread::sleep(Duration::from_millis(150)),
            _ => {}
        }
        if round % 2 == 0 {
            drop(run);
            writer.write(100, false, line);
            rotate(&writer);
            writer.write(100, false, line);
            run = Run(program.start("run", &[]));
        } else {
            rotate(&writer);
            writer.write(100, false, line);
        }
        wait_for(&out, writer.written);
    }
    terminate(run);

    let numbers = numbers(&out);
    let doubled: Vec<_> = numbers.iter().filter(|it| *it.1 > 1).collect();
    assert!(doubled.is_empty(), "doubled: {doubled:?}");
    assert_eq!(numbers.len() as u64, writer.written);
    assert!(tree(&folder.path().join("dead")).is_empty(), "nothing is a dead letter");
    let verified = program.data("verify", &[]);
    assert_eq!(verified["conserved"], true, "{verified:#}");
    assert_eq!(verified["read"].as_u64(), Some(writer.written), "{verified:#}");
}

#[test]
fn a_log_that_is_renamed_is_followed_over_kills() {
    story(
        r#"{ ndjson: { paths: ["logs/app.log*"], follow: true } }"#,
        |n| format!(r#"{{"n":{n},"text":"line number {n}"}}"#),
        Writer::rename,
    );
}

#[test]
fn a_log_that_is_copied_and_truncated_is_followed_over_kills() {
    story(
        r#"{ text: { paths: ["logs/app.log*"], follow: true, regex: '(?<n>\d+) (?<text>.*)', types: { n: integer } } }"#,
        |n| format!("{n} line number {n}"),
        Writer::copy_truncate,
    );
}
