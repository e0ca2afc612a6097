//! What happens to a fleet: the seed decides.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tidegate_connectors::leases::MemoryTable;
use tidegate_core::batcher::{BatchLimit, RangeLimit};
use tidegate_pipeline::{
    Settings,
    memory::{MemorySink, Storm},
    retry::RetryPolicy,
};
use tokio::time::{Instant, sleep};

use super::{
    Bug, Objects, Oracle, Verdict,
    host::{Fleet, GENERATIONS, Host},
    ledger::Ledger,
    stream::{Fate, Stream},
    weather::{Spell, Weather},
};

/// When nothing goes wrong any more, everything is done within this.
const DONE_WITHIN: Duration = Duration::from_secs(300);

/// How large everything is.
struct Shape {
    hosts: usize,
    shards: u64,
    keys: Vec<String>,
    /// How long things go wrong.
    lasts: Duration,
    /// How many records come at a time, at most.
    burst: usize,
    /// The hosts are not all of one build.
    builds: bool,
}

impl Shape {
    fn draw(random: &mut ChaCha8Rng) -> Self {
        let letter = |random: &mut ChaCha8Rng| char::from(random.random_range(b'a'..=b'z'));
        let keys = random.random_range(2..40);
        Shape {
            hosts: random.random_range(2..=8),
            shards: 1 << random.random_range(0..=6),
            keys: (0..keys).map(|_| [letter(random), letter(random)].iter().collect()).collect(),
            lasts: Duration::from_secs(random.random_range(20..60)),
            burst: random.random_range(2..16),
            builds: random.random_bool(0.3),
        }
    }
}

fn settings(random: &mut ChaCha8Rng, failover: Duration) -> Settings {
    Settings {
        batch: BatchLimit { records_max: random.random_range(1..20), bytes_max: 1 << 12 },
        range: RangeLimit {
            records_max: random.random_range(5..60),
            bytes_max: 1 << 14,
            age_max: Duration::from_millis(random.random_range(500..8_000)),
            spooled_bytes_max: 1 << 14,
            open_objects_max: 8,
        },
        read_bytes_max: random.random_range(50..2_000),
        memory_bytes_max: random.random_range(64 << 10..4 << 20),
        // As many as a host follows: the last one that lives may have all that a reshard has made.
        partitions_per_worker: 1_024,
        retry: RetryPolicy {
            delay_max: Duration::from_secs(5),
            timeout: Duration::from_secs(20),
            ..RetryPolicy::default()
        },
        renew_every: failover / 3,
        discover_every: Duration::from_secs(5),
        drain_max: Duration::from_secs(20),
    }
}

fn storm(random: &mut ChaCha8Rng) -> Storm {
    Storm {
        seed: random.random(),
        trouble_per_mille: random.random_range(0..120),
        delay_max: Duration::from_millis(random.random_range(0..100)),
    }
}

/// Lives a seed.
pub(super) async fn tell(seed: u64, bug: Option<Bug>) -> Verdict {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let shape = Shape::draw(&mut random);
    let weather = Arc::new(Weather::new(random.random()));
    let stream = Stream::new(shape.shards, weather.clone());
    let [archive, letters] = ["archive", "dead-letters"].map(MemorySink::named);
    let ledger = Ledger::new(weather.clone());
    let oracle =
        Arc::new(Oracle::new(stream.clone(), archive.clone(), letters.clone(), ledger.clone()));
    let hears = oracle.clone();
    let hears = move |write: &_| hears.wrote(write);
    let table = match bug {
        Some(Bug::NoFence) => MemoryTable::unfenced(hears),
        _ => MemoryTable::heard(hears),
    };
    oracle.sees(table.clone());
    let failover = Duration::from_secs(random.random_range(4..12));
    let fleet = Fleet {
        objects: Objects::in_weather(weather.clone()),
        ledger,
        settings: settings(&mut random, failover),
        seeds: RefCell::new(ChaCha8Rng::seed_from_u64(random.random())),
        runs: Cell::new(0),
        weather,
        stream,
        table,
        archive,
        letters,
        oracle,
        failover,
        bug,
    };
    fleet.archive.storm(Some(storm(&mut random)));
    fleet.letters.storm(Some(storm(&mut random)));

    let produces = tokio::task::spawn_local(produce(
        fleet.stream.clone(),
        shape.keys.clone(),
        shape.burst,
        Instant::now() + shape.lasts,
        ChaCha8Rng::seed_from_u64(random.random()),
    ));
    let mut trouble = Trouble { fleet: &fleet, shape, random, generation: 0, hosts: Vec::new() };
    trouble.begin().await;
    let _ = produces.await;
    trouble.end().await;

    let sum = fleet.oracle.sum_up();
    let (violations, trace, ranges) = fleet.oracle.told();
    Verdict {
        faults: fleet.weather.faults(),
        produced: sum.produced,
        lost: sum.lost,
        duplicated: sum.duplicated,
        ranges,
        violations,
        trace,
    }
}

/// Puts records into the stream.
async fn produce(
    stream: Stream,
    keys: Vec<String>,
    burst: usize,
    until: Instant,
    mut random: ChaCha8Rng,
) {
    while Instant::now() < until {
        for _ in 0..random.random_range(0..burst) {
            let fate = match random.random_range(0..100) {
                0..4 => Fate::Torn,
                4..6 => Fate::Poison,
                6..14 => Fate::Slow,
                14..24 => Fate::Dropped,
                _ => Fate::Good,
            };
            stream.put(&keys[random.random_range(0..keys.len())], fate);
        }
        sleep(Duration::from_millis(random.random_range(50..500))).await;
    }
}

/// Does to the fleet what a seed says.
struct Trouble<'a> {
    fleet: &'a Fleet,
    shape: Shape,
    random: ChaCha8Rng,
    generation: usize,
    /// None where a host is down.
    hosts: Vec<Rc<RefCell<Option<Host>>>>,
}

impl Trouble<'_> {
    /// Things go wrong for a while.
    async fn begin(&mut self) {
        let ends = Instant::now() + self.shape.lasts;
        for number in 0..self.shape.hosts {
            let host = self.start(number);
            self.hosts.push(Rc::new(RefCell::new(Some(host))));
            self.wait(0..1_500).await;
        }
        while Instant::now() < ends {
            self.wait(0..3_000).await;
            self.strike().await;
        }
    }

    /// Nothing goes wrong any more, and everything has to be done soon.
    async fn end(&mut self) {
        let fleet = self.fleet;
        fleet.oracle.note("calm");
        fleet.weather.calm_down();
        fleet.archive.storm(None);
        fleet.letters.storm(None);
        fleet.archive.land_delayed_writes();
        fleet.letters.land_delayed_writes();
        // Perhaps all are down, or about to stop.
        let another = self.start(self.hosts.len());
        self.hosts.push(Rc::new(RefCell::new(Some(another))));
        let calm_since = Instant::now();
        while let Some(what) = fleet.oracle.unfinished() {
            if calm_since.elapsed() > DONE_WITHIN {
                let seconds = DONE_WITHIN.as_secs();
                fleet.oracle.broken(format!("I9: after {seconds} s of calm {what}"));
                break;
            }
            sleep(Duration::from_secs(1)).await;
        }
        let hosts = self.hosts.iter().filter_map(|it| it.borrow_mut().take());
        let hosts: Vec<Host> = hosts.collect();
        hosts.iter().for_each(Host::drain);
        let since = Instant::now();
        while hosts.iter().any(|it| !it.is_gone()) {
            if since.elapsed() > DONE_WITHIN {
                fleet.oracle.broken("I9: a host does not stop".to_owned());
                break;
            }
            sleep(Duration::from_millis(100)).await;
        }
        hosts.into_iter().for_each(Host::crash);
    }

    fn start(&mut self, number: usize) -> Host {
        let build = if self.shape.builds { self.random.random_range(0..2) } else { 0 };
        self.fleet.start(number, self.generation, build)
    }

    async fn wait(&mut self, milliseconds: std::ops::Range<u64>) {
        sleep(Duration::from_millis(self.random.random_range(milliseconds))).await;
    }

    /// One thing goes wrong.
    async fn strike(&mut self) {
        let fleet = self.fleet;
        let number = self.random.random_range(0..self.hosts.len());
        let slot = self.hosts[number].clone();
        let is_up = slot.borrow().as_ref().is_some_and(|it| !it.is_gone());
        let struck = |what: &'static str| {
            fleet.oracle.note(&format!("{what} {number}"));
            fleet.weather.struck(what);
        };
        match self.random.random_range(0..100) {
            0..15 if is_up => {
                struck("crash");
                slot.borrow_mut().take().into_iter().for_each(Host::crash);
                if self.random.random_bool(0.5) {
                    self.wait(0..2_000).await;
                    fleet.archive.land_delayed_writes();
                    fleet.letters.land_delayed_writes();
                }
            }
            15..30 if is_up => {
                struck("zombie");
                let lasts = fleet.failover.mul_f64(self.random.random_range(0.5..3.0));
                slot.borrow().iter().for_each(|it| it.stand_still(lasts));
            }
            30..38 if is_up => {
                struck("stop");
                slot.borrow().iter().for_each(Host::drain);
            }
            0..45 => {
                if !is_up {
                    fleet.oracle.note(&format!("start {number}"));
                    let host = self.start(number);
                    *slot.borrow_mut() = Some(host);
                }
            }
            45..62 => {
                // A storm of them now and then.
                for _ in 0..if self.random.random_bool(0.1) { 8 } else { 1 } {
                    if fleet.stream.reshard(&mut self.random) {
                        struck("reshard");
                    }
                }
            }
            62..72 => {
                struck("swap");
                self.generation = self.random.random_range(0..GENERATIONS);
                for host in self.hosts.clone() {
                    host.borrow().iter().for_each(|it| it.swap(self.generation));
                    self.wait(0..400).await;
                }
            }
            72..90 => {
                let spell = Spell::ALL[self.random.random_range(0..Spell::ALL.len())];
                fleet.oracle.note(&format!("{spell:?} begins"));
                let lasts = Duration::from_millis(self.random.random_range(200..6_000));
                fleet.weather.begin(spell, lasts);
            }
            90..95 if is_up => {
                struck("clock_jump");
                let by = Duration::from_millis(self.random.random_range(0..60_000));
                let back = self.random.random_bool(0.5);
                slot.borrow().iter().for_each(|it| it.set_clock(by, back));
            }
            _ => {
                let leases = fleet.table.leases();
                for lease in leases.iter().filter(|it| it.checkpoint.finished) {
                    fleet.stream.forget(&lease.partition.0);
                }
            }
        }
    }
}
