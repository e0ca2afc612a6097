//! The path of a new author, walked in each language: from an empty folder to a plugin that runs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context, bail};
use serde_json::{Map, Value, json};
use tidegate_build::Language;

use crate::{guests, languages, shell};

/// What is walked with.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Ends with one JSON object, by language.
    #[arg(long)]
    json: bool,
    /// Only these languages: `rust`, `go`, `js`, `python`, `c`.
    #[arg(long, value_delimiter = ',')]
    lang: Vec<String>,
}

/// How many records `plugin run` is given.
const RECORDS: usize = 1_000;

/// The batches by which languages are compared.
const BATCH_ROWS: &str = "500";

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    // As the tests are told of one that is built already.
    let built = std::env::var_os("TIDEGATE_BIN").map(PathBuf::from);
    let tidegate = built.map_or_else(shell::tidegate, Ok)?;
    let home = shell::target_dir().join("authors");
    let mut walked = Map::new();
    let wanted =
        |it: &Language| args.lang.is_empty() || args.lang.iter().any(|name| name == it.name());
    for language in Language::ALL.into_iter().filter(wanted) {
        shell::say(format!("authors: a plugin in {language}, from nothing"));
        let folder = home.join(language.name());
        if folder.exists() {
            // Go keeps what it has fetched read-only.
            shell::run(Command::new("chmod").args(["-R", "u+w"]).arg(&folder))?;
            fs::remove_dir_all(&folder).context("remove what the last walk left")?;
        }
        fs::create_dir_all(&folder).context("make an empty folder")?;
        let path =
            Walk { tidegate: &tidegate, folder: &folder, language, toolchain: toolchain(language) };
        let of = path.walk().with_context(|| format!("walk the path in {language}"))?;
        walked.insert(language.name().to_owned(), of);
    }
    println!(
        "\n{:<8} {:>9} {:>12} {:>14} {:>10} {:>6}",
        "", "seconds", "bytes", "instantiate", "ns a row", "tests"
    );
    for (language, of) in &walked {
        match of["skipped"].as_str() {
            Some(why) => println!("{language:<8} SKIPPED: {why}"),
            None => println!(
                "{language:<8} {:>9.1} {:>12} {:>11.1} µs {:>10.0} {:>6}",
                of["seconds"].as_f64().unwrap_or_default(),
                of["component_bytes"],
                of["instantiate_microseconds"].as_f64().unwrap_or_default(),
                of["ns_per_row"].as_f64().unwrap_or_default(),
                of["tests_passed"],
            ),
        }
    }
    if args.json {
        println!("{}", Value::Object(walked));
    }
    Ok(())
}

/// What the language's own compiler needs to be told on this machine, which is installed first: an
/// author has it.
fn toolchain(language: Language) -> Vec<(String, String)> {
    match language {
        Language::Rust => guests::variables().unwrap_or_default(),
        Language::C => {
            if tidegate_build::check(language).is_err() {
                languages::install_clang();
            }
            Vec::new()
        }
        _ => Vec::new(),
    }
}

struct Walk<'a> {
    tidegate: &'a Path,
    folder: &'a Path,
    language: Language,
    toolchain: Vec<(String, String)>,
}

impl Walk<'_> {
    fn walk(&self) -> anyhow::Result<Value> {
        let project = self.folder.join("size-up");
        let records = self.folder.join("records.ndjson");
        fs::write(&records, sample()).context("write records")?;
        let started = Instant::now();
        self.tell(&["plugin", "new", "--lang", self.language.name()], &project)?;
        let built = self.ask(&["plugin", "build"], &project)?;
        if let Some(error) = built["error"].as_str() {
            // What is missing is named, with the command that installs it.
            if error.contains("install it with") {
                return Ok(json!({ "skipped": error }));
            }
            bail!("{error}");
        }
        let tested = self.tell(&["plugin", "test"], &project)?;
        let input = records.display().to_string();
        let ran = self.tell(&["plugin", "run", "--in", &input], &project)?;
        let seconds = started.elapsed().as_secs_f64();
        anyhow::ensure!(ran["records"] == RECORDS, "not all records were read: {ran}");
        let rows = ["plugin", "bench", "--in", &input, "--rows", BATCH_ROWS];
        let measured = self.tell(&rows, &project)?;
        Ok(json!({
            "seconds": seconds,
            "component_bytes": built["data"]["size_bytes"],
            "instantiate_microseconds": measured["instantiate_microseconds"],
            "ns_per_row": measured["batches"][BATCH_ROWS]["ns_per_row"],
            "tests_passed": tested["passed"],
        }))
    }

    /// Runs a command that must succeed, and returns its data.
    fn tell(&self, command: &[&str], project: &Path) -> anyhow::Result<Value> {
        let answer = self.ask(command, project)?;
        match &answer["error"] {
            Value::Null if answer["ok"] == true => Ok(answer["data"].clone()),
            error => bail!("`tidegate {}`: {error} {}", command.join(" "), answer["data"]),
        }
    }

    /// Runs a command with empty caches of the language's tools.
    fn ask(&self, command: &[&str], project: &Path) -> anyhow::Result<Value> {
        shell::say(format!("tidegate {}", command.join(" ")));
        let cache = self.folder.join("cache");
        let at = |name: &str| -> PathBuf { cache.join(name) };
        let mut run = Command::new(self.tidegate);
        run.current_dir(self.folder).args(command).arg(project).arg("--json");
        run.env("XDG_CACHE_HOME", &cache).env("CARGO_HOME", at("cargo"));
        run.env("GOCACHE", at("go-build")).env("GOMODCACHE", at("go-mod"));
        run.env("npm_config_cache", at("npm")).env("PIP_CACHE_DIR", at("pip"));
        // What cargo set for this process is not meant for the author's.
        run.env_remove("CARGO_TARGET_DIR").env_remove("RUSTFLAGS");
        run.envs(self.toolchain.iter().map(|(name, value)| (name, value)));
        run.stderr(std::process::Stdio::inherit());
        let output = run.output().context("start tidegate")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let last = text.lines().last().unwrap_or_default();
        serde_json::from_str(last).with_context(|| format!("read what tidegate printed: {text}"))
    }
}

/// Transactions as the templates read them, one in a hundred of which is rejected.
fn sample() -> String {
    let record = |row: usize| {
        let amount = if row % 100 == 99 { -1 } else { (row % 200) as i64 };
        let currency = ["EUR", "USD", "SEK"][row % 3];
        let (hour, minute) = (row / 60 % 24, row % 60);
        let time = format!("2026-03-01T{hour:02}:{minute:02}:00Z");
        json!({ "amount": amount, "currency": currency, "time": { "utc": time } })
    };
    (0..RECORDS).map(|row| format!("{}\n", record(row))).collect()
}
