//! What following files promises: every line once and in order, whatever is done to the files and
//! however often reading begins anew, and nothing lost without a word.

#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, OpenOptions},
    io::Write,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;
use tidegate_connectors::sources::{
    CsvFormat, FileSource, FileSourceConfig, Follow, Framing, KnownPartition, LineLimits, OnLost,
};
use tidegate_core::{
    Source,
    source::{PartitionId, ReadLimit, ReadOutcome, Reader, Resume, SourceError, SourceErrorKind},
};

const ALL: ReadLimit = ReadLimit { records_max: usize::MAX, bytes_max: usize::MAX, until: None };

/// A partition as its reader has left it.
#[derive(Default)]
struct Progress {
    lines: Vec<String>,
    resume: Option<Resume>,
    finished: bool,
}

/// Somebody who follows files, remembers how far each was read, and can begin anew.
struct Follower {
    directory: TempDir,
    patterns: Vec<String>,
    framing: Framing,
    follow: Follow,
    source: FileSource,
    readers: BTreeMap<PartitionId, Box<dyn Reader>>,
    progress: BTreeMap<PartitionId, Progress>,
    failures: Vec<SourceError>,
}

impl Follower {
    fn new(patterns: &[&str]) -> Self {
        Self::of(Framing::Lines, patterns)
    }

    fn of(framing: Framing, patterns: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let follow = Follow {
            poll_every: Duration::from_millis(1),
            settle: Duration::ZERO,
            ..Follow::default()
        };
        let patterns = patterns.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let source = source(&directory, &patterns, framing.clone(), follow.clone());
        Follower {
            directory,
            patterns,
            framing,
            follow,
            source,
            readers: BTreeMap::new(),
            progress: BTreeMap::new(),
            failures: Vec::new(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn append(&self, name: &str, text: &str) {
        let mut file = OpenOptions::new().create(true).append(true).open(self.path(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    /// Moves a file and those that were moved before: `app.log` becomes `app.log.1`.
    fn rename(&self, name: &str) {
        self.shift(name);
        fs::rename(self.path(name), self.path(&format!("{name}.1"))).unwrap();
    }

    fn copy_truncate(&self, name: &str) {
        self.shift(name);
        fs::copy(self.path(name), self.path(&format!("{name}.1"))).unwrap();
        OpenOptions::new().write(true).truncate(true).open(self.path(name)).unwrap();
    }

    fn shift(&self, name: &str) {
        for i in (1..50).rev() {
            let from = self.path(&format!("{name}.{i}"));
            if from.exists() {
                fs::rename(from, self.path(&format!("{name}.{}", i + 1))).unwrap();
            }
        }
    }

    /// Opens what there is to open, and reads all that there is for now.
    async fn read(&mut self) {
        for partition in self.source.partitions().await.unwrap() {
            if self.readers.contains_key(&partition.id) {
                continue;
            }
            let progress = self.progress.entry(partition.id.clone()).or_default();
            match self.source.open(&partition.id, progress.resume.as_ref()).await {
                Ok(reader) => drop(self.readers.insert(partition.id, reader)),
                Err(error) => self.failures.push(error),
            }
        }
        for id in self.readers.keys().cloned().collect::<Vec<_>>() {
            let reader = self.readers.get_mut(&id).unwrap();
            let progress = self.progress.get_mut(&id).unwrap();
            let mut idle = 0;
            loop {
                match reader.read(ALL).await {
                    Ok(ReadOutcome::Records(batch)) => {
                        for row in 0..batch.len() {
                            let line = String::from_utf8(batch.record(row).to_vec()).unwrap();
                            progress.lines.push(line);
                        }
                        let position = batch.last_position().unwrap();
                        let token = reader.token(position);
                        progress.resume = Some(Resume { position, token });
                    }
                    // One that was read ahead may say so before another look.
                    Ok(ReadOutcome::Idle) if idle < 2 => idle += 1,
                    Ok(ReadOutcome::Idle) => break,
                    Ok(ReadOutcome::Ended) => {
                        progress.finished = true;
                        self.readers.remove(&id);
                        break;
                    }
                    Err(error) => {
                        self.failures.push(error);
                        self.readers.remove(&id);
                        break;
                    }
                }
            }
        }
    }

    /// Ends, and begins anew with what was remembered.
    fn restart(&mut self) {
        self.readers.clear();
        let known = self.progress.iter().map(|(id, progress)| KnownPartition {
            id: id.clone(),
            resume: progress.resume.clone(),
            finished: progress.finished,
        });
        let follow = Follow { known: known.collect(), ..self.follow.clone() };
        let framing = self.framing.clone();
        self.source = source(&self.directory, &self.patterns, framing, follow);
    }

    fn lines(&self) -> Vec<&str> {
        self.progress.values().flat_map(|it| it.lines.iter().map(String::as_str)).collect()
    }

    fn check(&self, expected: &[&str]) {
        assert!(self.failures.is_empty(), "{:?}", self.failures);
        let mut lines = self.lines();
        lines.sort_unstable();
        assert_eq!(lines, expected);
    }
}

fn source(
    directory: &TempDir,
    patterns: &[String],
    framing: Framing,
    follow: Follow,
) -> FileSource {
    let mut config = FileSourceConfig::new("files", patterns);
    config.base = directory.path().to_owned();
    config.framing = framing;
    config.follow = Some(follow);
    FileSource::new(config)
}

#[tokio::test]
async fn lines_come_as_they_are_written_and_a_partial_one_waits() {
    let mut follower = Follower::new(&["*.log"]);
    assert!(!follower.source.ends());
    follower.read().await;
    follower.append("app.log", "");
    follower.read().await;
    assert!(follower.progress.is_empty(), "a file shows what it is once it holds something");
    follower.append("app.log", "one\ntw");
    follower.read().await;
    follower.check(&["one"]);
    follower.append("app.log", "o\n");
    follower.append("other.log", "three\n");
    follower.read().await;
    follower.check(&["one", "three", "two"]);
    follower.restart();
    follower.append("app.log", "four\n");
    follower.read().await;
    follower.check(&["four", "one", "three", "two"]);
    assert!(follower.progress.values().all(|it| !it.finished));
}

#[tokio::test]
async fn a_renamed_file_is_finished_under_its_own_identity() {
    for restarts in [false, true] {
        let mut follower = Follower::new(&["app.log"]);
        follower.append("app.log", "1\n2\n");
        follower.read().await;
        follower.append("app.log", "3\n4");
        follower.rename("app.log");
        follower.append("app.log", "5\n");
        follower.rename("app.log");
        follower.append("app.log", "6\n");
        if restarts {
            follower.restart();
        }
        follower.read().await;
        follower.read().await;
        // Of what came and went between two looks nobody knows: that is what patterns are for.
        follower.check(&["1", "2", "3", "4", "6"]);
        assert_eq!(follower.progress.len(), 2);
        let first = follower.progress.values().find(|it| it.lines[0] == "1").unwrap();
        assert!(first.finished && first.lines == ["1", "2", "3", "4"]);
    }
}

#[tokio::test]
async fn after_copytruncate_the_rest_is_read_from_the_copy() {
    for (pattern, restarts) in
        [("app.log", false), ("app.log", true), ("app.log*", false), ("app.log*", true)]
    {
        let mut follower = Follower::new(&[pattern]);
        follower.append("app.log", "1\n2\n");
        follower.read().await;
        follower.append("app.log", "3\n\n4\n\n");
        follower.copy_truncate("app.log");
        follower.append("app.log", "5\n6 is longer than all that was there before\n");
        if restarts {
            follower.restart();
        }
        for _ in 0..3 {
            follower.read().await;
        }
        follower.restart();
        follower.read().await;
        let all = ["1", "2", "3", "4", "5", "6 is longer than all that was there before"];
        follower.check(&all);
        assert_eq!(follower.progress.len(), 2, "{pattern} {restarts}");
        // Whoever reads them again from their starts finds each in its place.
        let ids = follower.progress.keys().cloned().collect::<Vec<_>>();
        follower.restart();
        let mut again = Vec::new();
        for id in ids {
            let mut reader = follower.source.open(&id, None).await.unwrap();
            while let ReadOutcome::Records(batch) = reader.read(ALL).await.unwrap() {
                let line = |row| String::from_utf8(batch.record(row).to_vec()).unwrap();
                again.extend((0..batch.len()).map(line));
            }
        }
        again.sort_unstable();
        assert_eq!(again, all, "{pattern} {restarts}");
    }
}

#[tokio::test]
async fn a_rotated_file_may_have_been_compressed_meanwhile() {
    let mut follower = Follower::new(&["app.log"]);
    let many = (0..1000).map(|i| format!("line {i:04}\n")).collect::<String>();
    follower.append("app.log", &many);
    follower.read().await;
    follower.append("app.log", "z the last\n");
    let mut encoder = flate2::write::GzEncoder::new(
        fs::File::create(follower.path("app.log.1.gz")).unwrap(),
        flate2::Compression::fast(),
    );
    encoder.write_all(&fs::read(follower.path("app.log")).unwrap()).unwrap();
    encoder.finish().unwrap();
    fs::remove_file(follower.path("app.log")).unwrap();
    follower.restart();
    follower.read().await;
    assert!(follower.failures.is_empty(), "{:?}", follower.failures);
    assert_eq!(follower.lines().len(), 1001);
    assert_eq!(follower.lines()[1000], "z the last");
}

#[tokio::test]
async fn an_open_file_that_is_deleted_is_read_to_its_end() {
    let mut follower = Follower::new(&["app.log"]);
    follower.append("app.log", "1\n");
    follower.read().await;
    follower.append("app.log", "2\n3");
    fs::remove_file(follower.path("app.log")).unwrap();
    follower.read().await;
    follower.check(&["1", "2", "3"]);
    assert!(follower.progress.values().all(|it| it.finished));
    follower.append("app.log", "4\n");
    follower.read().await;
    follower.check(&["1", "2", "3", "4"]);
}

#[tokio::test]
async fn what_is_gone_is_told_and_the_rest_goes_on() {
    for on_lost in [OnLost::Stop, OnLost::Finish] {
        for truncated in [false, true] {
            let mut follower = Follower::new(&["*.log"]);
            follower.follow.on_lost = on_lost;
            follower.append("app.log", "some line\nanother line\n");
            follower.append("other.log", "a\n");
            follower.read().await;
            follower.append("app.log", "nobody reads this\n");
            if truncated {
                fs::write(follower.path("app.log"), "new\n").unwrap();
            } else {
                fs::remove_file(follower.path("app.log")).unwrap();
            }
            follower.append("other.log", "b\n");
            follower.restart();
            follower.read().await;
            follower.read().await;
            let mut expected = vec!["a", "another line", "b"];
            expected.extend(truncated.then_some("new"));
            expected.push("some line");
            let failures = std::mem::take(&mut follower.failures);
            follower.check(&expected);
            match on_lost {
                OnLost::Finish => assert!(failures.is_empty()),
                OnLost::Stop => {
                    assert_eq!(failures[0].kind, SourceErrorKind::Trimmed);
                    let message = failures[0].to_string();
                    assert!(message.contains("behind byte 23"), "{message}");
                    assert!(!message.contains("line"), "no payload: {message}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_file_that_was_put_back_is_gone_on_with() {
    let mut follower = Follower::new(&["app.log"]);
    let many = (0..1000).map(|i| format!("line {i:04}\n")).collect::<String>();
    follower.append("app.log", &many);
    follower.read().await;
    follower.append("app.log", "z the last\n");
    let content = fs::read(follower.path("app.log")).unwrap();
    fs::remove_file(follower.path("app.log")).unwrap();
    follower.restart();
    follower.read().await;
    assert_eq!(follower.failures.len(), 1);
    follower.failures.clear();
    fs::write(follower.path("app.log.restored"), content).unwrap();
    follower.restart();
    follower.read().await;
    assert!(follower.failures.is_empty(), "{:?}", follower.failures);
    assert_eq!(follower.lines().len(), 1001);
}

#[tokio::test]
async fn a_truncated_file_of_which_all_was_read_begins_anew() {
    let mut follower = Follower::new(&["app.log"]);
    follower.append("app.log", "1\n2\n");
    follower.read().await;
    fs::write(follower.path("app.log"), "3\n").unwrap();
    follower.read().await;
    follower.read().await;
    follower.check(&["1", "2", "3"]);
    // Also one that has grown past what was there between two looks.
    fs::write(follower.path("app.log"), "4\n5\n6\n").unwrap();
    follower.read().await;
    follower.read().await;
    follower.check(&["1", "2", "3", "4", "5", "6"]);
    assert_eq!(follower.progress.len(), 3);
}

#[tokio::test]
async fn files_that_begin_alike_are_not_taken_for_each_other() {
    let banner = "starting up\n";
    let mut follower = Follower::new(&["*.log*"]);
    follower.append("a.log", banner);
    follower.read().await;
    follower.append("b.log", banner);
    follower.read().await;
    follower.append("b.log", "b\n");
    follower.append("a.log", "a\n");
    follower.read().await;
    follower.check(&["a", "b", "starting up", "starting up"]);
    // One of them is over and gone, and another begins as it did.
    follower.rename("a.log");
    follower.read().await;
    follower.restart();
    fs::remove_file(follower.path("a.log.1")).unwrap();
    follower.append("a.log", "starting up\na\nc\n");
    follower.read().await;
    follower.check(&["a", "a", "b", "c", "starting up", "starting up", "starting up"]);
}

#[tokio::test]
async fn files_that_were_read_before_they_were_followed_are_not_read_again() {
    let mut follower = Follower::new(&["*.log"]);
    follower.append("app.log", "1\n");
    follower.progress.insert("app.log".into(), Progress { finished: true, ..Progress::default() });
    follower.restart();
    let error = follower.source.partitions().await.unwrap_err();
    assert_eq!(error.kind, SourceErrorKind::Broken);
    assert!(error.to_string().contains("data_dir"), "{error}");
}

#[tokio::test]
async fn a_line_that_is_too_large_does_not_end_while_it_grows() {
    let mut follower = Follower::new(&["app.log"]);
    let mut config = FileSourceConfig::new("files", ["app.log"]);
    config.base = follower.directory.path().to_owned();
    config.follow = Some(follower.follow.clone());
    config.limits = LineLimits { record_bytes_max: 10, payload_bytes_max: 64 << 10 };
    follower.source = FileSource::new(config);
    follower.append("app.log", &"x".repeat(100_000));
    follower.read().await;
    assert!(follower.lines().is_empty());
    follower.append("app.log", &"x".repeat(100_000));
    follower.read().await;
    follower.append("app.log", "\nshort\n");
    follower.read().await;
    assert_eq!(follower.lines().len(), 2);
    assert_eq!(follower.lines()[1], "short");
    let resume = follower.progress.values().next().unwrap().resume.clone().unwrap();
    assert_eq!(resume.position.offset(), 200_007);
}

#[tokio::test]
async fn rows_are_followed_as_lines_are() {
    for restarts in [false, true] {
        let framing = Framing::Csv(Arc::new(CsvFormat::default()));
        let mut follower = Follower::of(framing, &["rows.csv*"]);
        follower.append("rows.csv", "id,note\n1,a\n2,\"two\n");
        follower.read().await;
        follower.check(&[r#"{"id":"1","note":"a"}"#]);
        follower.append("rows.csv", "lines\"\n");
        follower.read().await;
        follower.append("rows.csv", "3,c\nbad\n4,d");
        if restarts {
            follower.restart();
        }
        follower.copy_truncate("rows.csv");
        follower.append("rows.csv", "note,id\ne,5\n");
        follower.read().await;
        follower.read().await;
        let expected = [
            "bad",
            r#"{"id":"1","note":"a"}"#,
            r#"{"id":"2","note":"two\nlines"}"#,
            r#"{"id":"3","note":"c"}"#,
            r#"{"id":"4","note":"d"}"#,
            r#"{"note":"e","id":"5"}"#,
        ];
        follower.check(&expected);
    }
}

/// Anything that may happen to logs, in any order, between any two looks.
async fn story(seed: u64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut follower = Follower::new(&["app.log*", "other.log*"]);
    let mut written = BTreeSet::new();
    for step in 0..60 {
        let name = ["app.log", "other.log"][random.random_range(0..2)];
        let copies = name == "other.log";
        match random.random_range(0..10) {
            0..=4 => {
                for i in 0..random.random_range(1..40) {
                    let line = format!(
                        "{name} {step:03} {i:02} {}",
                        "x".repeat(random.random_range(0..90))
                    );
                    follower.append(name, &line);
                    follower.append(name, "\n");
                    written.insert(line);
                }
            }
            5 if follower.path(name).exists() => match copies {
                true => follower.copy_truncate(name),
                false => follower.rename(name),
            },
            6 => follower.restart(),
            _ => follower.read().await,
        }
    }
    for _ in 0..4 {
        follower.read().await;
    }
    let expected: Vec<&str> = written.iter().map(String::as_str).collect();
    follower.check(&expected);
    for progress in follower.progress.values() {
        assert!(progress.lines.is_sorted(), "in order");
    }
}

#[tokio::test]
async fn whatever_happens_to_the_files_every_line_is_read_once_and_in_order() {
    let cases = std::env::var("TIDEGATE_CASES").ok().and_then(|it| it.parse().ok()).unwrap_or(256);
    for seed in 0..cases / 8 {
        println!("seed {seed}");
        story(seed).await;
    }
}
