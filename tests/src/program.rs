//! The `tidegate` program, run as an operator runs it.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::Value;

/// The root of the checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the root").to_owned()
}

/// Real events that nobody here wrote, where the machine has them. A test that misses them says
/// so and does nothing.
pub fn shared_data(test: &str) -> Option<PathBuf> {
    let data = root().join("../shared/data");
    if data.exists() {
        return Some(data);
    }
    println!("SKIPPED: {test}: shared/data is absent");
    None
}

/// Where the components of the first-party plugins are.
pub fn plugins() -> PathBuf {
    from_env("TIDEGATE_PLUGINS").unwrap_or_else(|| target().join("plugins"))
}

/// The program itself.
///
/// # Panics
/// Where it has not been built.
pub fn program() -> PathBuf {
    let binary = from_env("TIDEGATE_BIN").unwrap_or_else(|| target().join("release/tidegate"));
    assert!(binary.exists(), "{} is missing: run `cargo xtask test`", binary.display());
    binary
}

fn from_env(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from)
}

fn target() -> PathBuf {
    from_env("CARGO_TARGET_DIR").unwrap_or_else(|| root().join("target"))
}

/// The program, over one pipeline file.
#[derive(Clone, Debug)]
pub struct Program {
    pipeline: PathBuf,
    variables: Vec<(String, String)>,
}

/// What a run printed.
#[derive(Clone, Debug)]
pub struct Printed {
    /// The exit code.
    pub code: i32,
    /// The one JSON object on stdout.
    pub json: Value,
    /// Everything on stderr.
    pub stderr: String,
}

impl Program {
    /// The program over a pipeline file that exists.
    pub fn new(pipeline: impl Into<PathBuf>) -> Self {
        Program { pipeline: pipeline.into(), variables: Vec::new() }
    }

    /// Sets a variable of the pipeline file.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.variables.push((name.to_owned(), value.as_ref().to_string_lossy().into_owned()));
        self
    }

    fn command(&self, command: &str, arguments: &[&str]) -> Command {
        let mut run = Command::new(program());
        run.args(command.split(' ')).arg(&self.pipeline).args(arguments);
        run.env("TIDEGATE_PLUGINS", plugins());
        run.envs(self.variables.iter().map(|(name, value)| (name, value)));
        run.stdin(Stdio::null());
        run
    }

    /// Runs a command to its end.
    pub fn run(&self, command: &str, arguments: &[&str]) -> Printed {
        let output = self
            .command(command, arguments)
            .arg("--json")
            .output()
            .expect("the program can be started");
        let stdout = String::from_utf8(output.stdout).expect("the program writes UTF-8");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let json = serde_json::from_str(stdout.trim())
            .unwrap_or_else(|error| panic!("stdout is no JSON: {error}\n{stdout}\n{stderr}"));
        Printed { code: output.status.code().unwrap_or(-1), json, stderr }
    }

    /// Runs a command as a person does, and returns what it prints on standard output.
    pub fn text(&self, command: &str, arguments: &[&str]) -> String {
        let output = self.command(command, arguments).output();
        let stdout = output.expect("the program can be started").stdout;
        String::from_utf8(stdout).expect("the program writes UTF-8")
    }

    /// Runs a command that must succeed, and returns its data.
    pub fn data(&self, command: &str, arguments: &[&str]) -> Value {
        let printed = self.run(command, arguments);
        assert_eq!(printed.code, 0, "{}\n{:#}", printed.stderr, printed.json);
        printed.json["data"].clone()
    }

    /// Starts a command and leaves it running.
    pub fn start(&self, command: &str, arguments: &[&str]) -> Child {
        self.start_piped(command, arguments, Stdio::null())
    }

    /// Starts a command that writes its results there.
    pub fn start_piped(&self, command: &str, arguments: &[&str], stdout: Stdio) -> Child {
        self.start_with(command, arguments, stdout, Stdio::null())
    }

    /// Starts a command that writes its log there.
    pub fn start_logged(&self, command: &str, arguments: &[&str], log: fs::File) -> Child {
        self.start_with(command, arguments, Stdio::null(), log.into())
    }

    fn start_with(&self, command: &str, arguments: &[&str], stdout: Stdio, stderr: Stdio) -> Child {
        self.command(command, arguments)
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .expect("the program can be started")
    }
}

/// The files under a directory, by their paths relative to it. An absent directory is empty.
pub fn tree(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![directory.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries.expect("the folder can be read"),
        };
        for entry in entries.map(|entry| entry.expect("the folder can be read")) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(directory).expect("it lies under the directory");
                files.insert(name.display().to_string(), fs::read(&path).expect("a file"));
            }
        }
    }
    files
}

/// The lines of all files of a tree, in the order of the files' names. What a killed host of a fleet has
/// left under a temporary name is no file of it.
pub fn lines(directory: &Path) -> Vec<Vec<u8>> {
    let lines = |(name, content): (String, Vec<u8>)| {
        assert!(name.ends_with(".jsonl"), "{name} is not plain");
        content.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>()
    };
    let files = tree(directory).into_iter().filter(|(name, _)| !name.starts_with(".tmp-"));
    files.flat_map(lines).collect()
}
