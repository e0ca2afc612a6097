//! An empty, deterministic WASI 0.2 for guests whose language brings it along: no files, no
//! network, no arguments, no environment; a clock that stands at the batch's time; random numbers
//! that are the same in every instance; and what it prints goes to the plugin's log.
//!
//! Written here rather than taken from `wasmtime-wasi`, which brings an async runtime, sockets
//! and a file system to take them all away again. What is not answered here traps and says its
//! name.

use tidegate_core::Timestamp;
use wasmtime::{
    StoreContextMut, bail,
    component::{ComponentType, Lift, Linker, LinkerInstance, Lower, Resource},
};

use crate::guest::{Guest, LogLevel};

/// What one write to standard output may have: the guest asks before it writes. What writes more
/// unasked is charged for it like any other.
const WRITE_BYTES_MAX: u64 = 4096;

/// The end of what was printed as errors that is kept.
const COMPLAINT_BYTES_MAX: usize = 4096;

/// Every WASI resource is one that holds nothing: whichever stands behind a handle is known from
/// its number.
type Handle = Resource<()>;

const STDIN: u32 = 0;
const STDOUT: u32 = 1;
const STDERR: u32 = 2;
const POLLABLE: u32 = 3;

/// What WASI knows of one instance.
pub(crate) struct Wasi {
    batch_time: Timestamp,
    /// How long the guest slept in this call. A clock that stood through a sleep would make
    /// those who wait for it wait for ever.
    slept_nanoseconds: u64,
    random: SplitMix,
    printed: String,
    /// The end of what it printed as errors in this call: a panic's text, where nothing told the
    /// host of it in a better way.
    complaint: String,
}

impl Wasi {
    /// All instances of a component get the same seed.
    pub(crate) fn new(seed: u64) -> Self {
        Wasi {
            batch_time: Timestamp::default(),
            slept_nanoseconds: 0,
            random: SplitMix(seed),
            printed: String::new(),
            complaint: String::new(),
        }
    }

    /// Before a call.
    pub(crate) fn begin(&mut self, batch_time: Timestamp) {
        self.batch_time = batch_time;
        self.slept_nanoseconds = 0;
        self.printed.clear();
        self.complaint.clear();
    }

    /// What was printed as errors in this call, without white space around it.
    pub(crate) fn complaint(&self) -> Option<&str> {
        Some(tail(&self.complaint).trim()).filter(|text| !text.is_empty())
    }

    fn complain(&mut self, text: &str) {
        self.complaint.push_str(tail(text));
        // Now and then, so that a byte is moved a few times at most.
        if self.complaint.len() > 4 * COMPLAINT_BYTES_MAX {
            self.complaint = tail(&self.complaint).to_owned();
        }
    }

    /// Hands on the lines that a write ends, in one pass over it.
    fn lines(&mut self, text: &str, mut line: impl FnMut(String)) {
        let mut rest = text;
        while let Some((end, next)) = rest.split_once('\n') {
            let mut whole = std::mem::take(&mut self.printed);
            whole.push_str(end);
            if !whole.trim().is_empty() {
                line(whole);
            }
            rest = next;
        }
        self.printed.push_str(rest);
        // A guest that never ends a line doesn't make the host keep it.
        if self.printed.len() > WRITE_BYTES_MAX as usize {
            line(std::mem::take(&mut self.printed));
        }
    }

    fn wall_clock(&self) -> Datetime {
        let microseconds = self.batch_time.0.max(0).unsigned_abs();
        let nanoseconds = (microseconds % 1_000_000) * 1000 + self.slept_nanoseconds;
        Datetime {
            seconds: microseconds / 1_000_000 + nanoseconds / 1_000_000_000,
            nanoseconds: (nanoseconds % 1_000_000_000) as u32,
        }
    }

    fn sleep(&mut self, nanoseconds: u64) {
        // Half of what fits, so that the wall clock's sum does too.
        self.slept_nanoseconds =
            self.slept_nanoseconds.saturating_add(nanoseconds).min(u64::MAX / 2);
    }
}

/// The end of a text, of whole characters.
fn tail(text: &str) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(COMPLAINT_BYTES_MAX))..]
}

impl Guest {
    /// Prints to the log, a line of output a line of the log.
    fn print(&mut self, stream: u32, bytes: &[u8]) -> wasmtime::Result<()> {
        self.charge(bytes.len())?;
        let text = String::from_utf8_lossy(bytes);
        let level = if stream == STDERR { LogLevel::Warn } else { LogLevel::Info };
        if stream == STDERR {
            self.wasi.complain(&text);
        }
        self.wasi.lines(&text, |line| self.logs.line(level, line));
        Ok(())
    }
}

/// Steele, Lea and Flood's SplitMix64: a seed's numbers, not a secret's.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}

#[derive(ComponentType, Lift, Lower)]
#[component(record)]
struct Datetime {
    seconds: u64,
    nanoseconds: u32,
}

#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
enum StreamError {
    #[component(name = "last-operation-failed")]
    #[allow(dead_code, reason = "the contract has it; nothing here ever fails")]
    LastOperationFailed(Handle),
    #[component(name = "closed")]
    Closed,
}

/// Answers the WASI interfaces that a component imports, at whatever version 0.2.x it names them.
pub(crate) fn add_to_linker(
    linker: &mut Linker<Guest>,
    component: &wasmtime::component::Component,
    imports: &[String],
) -> wasmtime::Result<()> {
    for import in imports {
        let Some((interface, _version)) = import.split_once('@') else { continue };
        let Some(interface) = interface.strip_prefix("wasi:") else { continue };
        add_interface(interface, &mut linker.instance(import)?)?;
    }
    // The types, and functions that nobody needs: each traps with its name.
    linker.define_unknown_imports_as_traps(component)
}

type Call<'a> = StoreContextMut<'a, Guest>;

fn add_interface(interface: &str, to: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    match interface {
        "cli/environment" => {
            to.func_wrap("get-environment", |_, ()| Ok((Vec::<(String, String)>::new(),)))?;
            to.func_wrap("get-arguments", |_, ()| Ok((Vec::<String>::new(),)))?;
            to.func_wrap("initial-cwd", |_, ()| Ok((None::<String>,)))
        }
        "cli/exit" => {
            to.func_wrap("exit", |_, (_status,): (Result<(), ()>,)| -> wasmtime::Result<()> {
                bail!("the plugin exited")
            })
        }
        "cli/stdin" => to.func_wrap("get-stdin", |_, ()| Ok((Handle::new_own(STDIN),))),
        "cli/stdout" => to.func_wrap("get-stdout", |_, ()| Ok((Handle::new_own(STDOUT),))),
        "cli/stderr" => to.func_wrap("get-stderr", |_, ()| Ok((Handle::new_own(STDERR),))),
        "cli/terminal-stdin" => to.func_wrap("get-terminal-stdin", |_, ()| Ok((None::<Handle>,))),
        "cli/terminal-stdout" => to.func_wrap("get-terminal-stdout", |_, ()| Ok((None::<Handle>,))),
        "cli/terminal-stderr" => to.func_wrap("get-terminal-stderr", |_, ()| Ok((None::<Handle>,))),
        "clocks/wall-clock" => {
            to.func_wrap("now", |call: Call<'_>, ()| Ok((call.data().wasi.wall_clock(),)))?;
            to.func_wrap("resolution", |_, ()| Ok((Datetime { seconds: 0, nanoseconds: 1000 },)))
        }
        "clocks/monotonic-clock" => {
            to.func_wrap("now", |call: Call<'_>, ()| Ok((call.data().wasi.slept_nanoseconds,)))?;
            to.func_wrap("resolution", |_, ()| Ok((1u64,)))?;
            to.func_wrap("subscribe-duration", |mut call: Call<'_>, (duration,): (u64,)| {
                call.data_mut().wasi.sleep(duration);
                Ok((Handle::new_own(POLLABLE),))
            })?;
            to.func_wrap("subscribe-instant", |mut call: Call<'_>, (instant,): (u64,)| {
                let wasi = &mut call.data_mut().wasi;
                wasi.sleep(instant.saturating_sub(wasi.slept_nanoseconds));
                Ok((Handle::new_own(POLLABLE),))
            })
        }
        "filesystem/preopens" => {
            to.func_wrap("get-directories", |_, ()| Ok((Vec::<(Handle, String)>::new(),)))
        }
        "io/poll" => {
            // Nothing that can be waited for takes any time.
            to.func_wrap("[method]pollable.ready", |_, (_,): (Handle,)| Ok((true,)))?;
            to.func_wrap("[method]pollable.block", |_, (_,): (Handle,)| Ok(()))?;
            to.func_wrap("poll", |mut call: Call<'_>, (pollables,): (Vec<Handle>,)| {
                call.data_mut().charge(pollables.len().saturating_mul(size_of::<Handle>()))?;
                Ok(((0..pollables.len() as u32).collect::<Vec<u32>>(),))
            })
        }
        "io/streams" => add_streams(to),
        "random/random" => {
            to.func_wrap("get-random-bytes", random_bytes)?;
            to.func_wrap("get-random-u64", random_u64)
        }
        "random/insecure" => {
            to.func_wrap("get-insecure-random-bytes", random_bytes)?;
            to.func_wrap("get-insecure-random-u64", random_u64)
        }
        "random/insecure-seed" => to.func_wrap("insecure-seed", |mut call: Call<'_>, ()| {
            let random = &mut call.data_mut().wasi.random;
            Ok(((random.next(), random.next()),))
        }),
        _ => Ok(()),
    }
}

fn add_streams(to: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    type Written = Result<(), StreamError>;
    type Read = Result<Vec<u8>, StreamError>;
    for read in ["[method]input-stream.read", "[method]input-stream.blocking-read"] {
        to.func_wrap(read, |_, (_, _): (Handle, u64)| Ok((Read::Err(StreamError::Closed),)))?;
    }
    to.func_wrap("[method]output-stream.check-write", |_, (_,): (Handle,)| {
        Ok((Ok::<u64, StreamError>(WRITE_BYTES_MAX),))
    })?;
    for write in ["[method]output-stream.write", "[method]output-stream.blocking-write-and-flush"] {
        to.func_wrap(write, |mut call: Call<'_>, (stream, bytes): (Handle, Vec<u8>)| {
            call.data_mut().print(stream.rep(), &bytes)?;
            Ok((Written::Ok(()),))
        })?;
    }
    for flush in ["[method]output-stream.flush", "[method]output-stream.blocking-flush"] {
        to.func_wrap(flush, |_, (_,): (Handle,)| Ok((Written::Ok(()),)))?;
    }
    for subscribe in ["[method]output-stream.subscribe", "[method]input-stream.subscribe"] {
        to.func_wrap(subscribe, |_, (_,): (Handle,)| Ok((Handle::new_own(POLLABLE),)))?;
    }
    Ok(())
}

fn random_bytes(mut call: Call<'_>, (count,): (u64,)) -> wasmtime::Result<(Vec<u8>,)> {
    let guest = call.data_mut();
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    guest.charge(count)?;
    Ok((guest.wasi.random.bytes(count),))
}

fn random_u64(mut call: Call<'_>, (): ()) -> wasmtime::Result<(u64,)> {
    Ok((call.data_mut().wasi.random.next(),))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_however_they_were_written_and_none_is_kept_for_ever() {
        let mut wasi = Wasi::new(1);
        let mut lines = Vec::new();
        for text in ["one\ntw", "o\n\n  \nthr", "", "ee"] {
            wasi.lines(text, |line| lines.push(line));
        }
        assert_eq!(lines, ["one", "two"]);
        wasi.lines(&"x".repeat(WRITE_BYTES_MAX as usize), |line| lines.push(line));
        assert_eq!(lines[2].len(), 5 + WRITE_BYTES_MAX as usize, "`three` and what followed");
        // As much as a call may write in all: a look at each byte, not a move of all for each.
        wasi.lines(&"\n".repeat(4 << 20), |line| lines.push(line));
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn the_end_of_what_was_printed_as_an_error_is_kept() {
        let mut wasi = Wasi::new(1);
        assert_eq!(wasi.complaint(), None);
        for _ in 0..10_000 {
            wasi.complain("müde ");
        }
        wasi.complain(&"ö".repeat(100_000));
        wasi.complain(" panicked at the end\n");
        let complaint = wasi.complaint().expect("it complained");
        assert!(complaint.ends_with("ö panicked at the end"), "{complaint}");
        assert!(complaint.len() <= COMPLAINT_BYTES_MAX);
        wasi.begin(Timestamp(0));
        assert_eq!(wasi.complaint(), None);
    }
}
