//! A function: the program, run by AWS's emulator of the Lambda Runtime API.

use std::{
    fs,
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use serde_json::Value;
use tidegate_tests::{
    program::{plugins, program},
    proxy::forward,
    server::{ServerProcess, free_address},
};
use tokio::runtime::Runtime;

/// A function that waits to be invoked.
pub(crate) struct Function {
    runtime: Runtime,
    address: SocketAddr,
    log: PathBuf,
    _emulator: ServerProcess,
}

impl Function {
    /// Starts a pipeline as a function with a timeout in seconds. A test that can't have the emulator
    /// says so.
    pub(crate) fn start(test: &str, pipeline: &Path, timeout: u32) -> Option<Function> {
        // A busy machine may take longer to compile than the function has.
        let mut compile = Command::new(program());
        compile.args(["lambda", "--compile"]).arg(pipeline).env("TIDEGATE_PLUGINS", plugins());
        let compiled = compile.output().expect("the program starts");
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        Function::start_program(test, &program(), pipeline, timeout)
    }

    /// The same, of a program in a package, with the compiled plugins that lie there.
    pub(crate) fn start_program(
        test: &str,
        program: &Path,
        pipeline: &Path,
        timeout: u32,
    ) -> Option<Function> {
        let Some(emulator) = std::env::var_os("TIDEGATE_LAMBDA_EMULATOR") else {
            println!("SKIPPED: {test}: no emulator of Lambda, in TIDEGATE_LAMBDA_EMULATOR");
            return None;
        };
        let (address, api) = (free_address(), free_address());
        let log = pipeline.with_extension("log");
        let mut command = Command::new(emulator);
        command
            .args(["--runtime-interface-emulator-address", &address.to_string()])
            .args(["--runtime-api-address", &api.to_string()])
            // Lambda starts a `bootstrap` without arguments.
            .arg(program)
            .env("TIDEGATE_CONFIG", pipeline)
            .env("TIDEGATE_PLUGINS", plugins())
            .env("AWS_LAMBDA_FUNCTION_TIMEOUT", timeout.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", "function")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_EC2_METADATA_DISABLED", "true");
        let file = File::create(&log).expect("room for the log");
        let process = ServerProcess::start_logged(&mut command, address, file);
        let runtime = Runtime::new().expect("threads can be started");
        Some(Function { runtime, address, log, _emulator: process })
    }

    /// Invokes it.
    pub(crate) fn invoke(&self, event: &Value) -> Value {
        let request = Request::post("/2015-03-31/functions/function/invocations")
            .header("host", self.address.to_string())
            .body(Full::new(Bytes::from(event.to_string())))
            .expect("it is a request");
        let answer = self.runtime.block_on(forward(self.address, request));
        let answer = answer.expect("the emulator answers").into_body();
        serde_json::from_slice(&answer).unwrap_or_else(|error| {
            panic!("{error}: {}\n{}", String::from_utf8_lossy(&answer), self.log())
        })
    }

    /// What the function has logged, with what the emulator has to say between.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).expect("a log is text")
    }

    /// The function's own lines with a message, each one JSON object.
    pub(crate) fn logged(&self, message: &str) -> Vec<Value> {
        let log = self.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["message"] == message).collect()
    }
}

/// Writes a pipeline into a folder.
pub(crate) fn pipeline(folder: &Path, text: &str) -> PathBuf {
    let file = folder.join("pipeline.yaml");
    fs::write(&file, text).expect("room for the pipeline");
    file
}

/// A stage that doubles `amount`, and traps where it is 13.
pub(crate) fn trap_on_one() -> String {
    let guests = std::env::var_os("TIDEGATE_GUESTS").map(PathBuf::from);
    let guests = guests.expect("`cargo xtask test` says where the guests are");
    format!("  - {{ name: double, plugin: {} }}\n", guests.join("trap-on-one.wasm").display())
}
