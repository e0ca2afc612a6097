//! Built for wasm32-wasip2: asks for the time, for random numbers, for its environment, for a
//! file and for the network, prints, and sleeps.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    net::TcpStream,
    time::{Duration, Instant, SystemTime},
};

use guests::{
    Batch, Behave, ConfigError, Description, Kind, Reply, Values, amounts, column, guest, poison,
    read, reply, write,
};

struct Wasi;

impl Behave for Wasi {
    fn configure(_config: &str) -> Result<Description, ConfigError> {
        Ok(Description {
            reads: vec![read("amount", Kind::Float64)],
            writes: vec![
                write("now", Kind::Int64),
                write("random", Kind::Int64),
                write("environment", Kind::Int64),
                write("slept", Kind::Int64),
                write("has_file", Kind::Boolean),
            ],
            rules: vec![],
            state: None,
        })
    }

    fn transform(batch: Batch) -> Reply {
        println!("hello from WASI");
        if poison(&batch).is_some() {
            // Without the hook the text goes to standard error, and from there to the host.
            let _ = std::panic::take_hook();
            panic!("nobody told the host of this");
        }
        if amounts(&batch).contains(&80.0) {
            TcpStream::connect("192.0.2.1:80").expect("a network");
        }
        let rows = batch.rows as usize;
        let started = Instant::now();
        std::thread::sleep(Duration::from_millis(1500));
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let random = RandomState::new().build_hasher().finish() as i64;
        let integers = |value: i64| column(Values::Int64(vec![value; rows]));
        reply(vec![
            integers(now.as_micros() as i64),
            integers(random),
            integers((std::env::vars().count() + std::env::args().count()) as i64),
            integers(started.elapsed().as_millis() as i64),
            column(Values::Boolean(vec![u8::from(std::fs::read("/etc/hostname").is_ok()); rows])),
        ])
    }
}

guest!(Wasi);
