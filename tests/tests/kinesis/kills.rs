//! The story of a fleet of which one host after another is killed: each record lies in the bucket once,
//! and `verify` says so.

use std::{
    collections::BTreeMap,
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use tidegate_tests::{
    program::root,
    running::replace,
    s3::{BUCKET, S3},
};

use super::{
    fleet::Fleet,
    server::Kinesis,
    stories::{PATIENCE, Run, Writers},
};

/// Records written between two kills.
const RECORDS: u64 = 4_000;

/// How long that takes.
const BETWEEN: Duration = Duration::from_millis(1_500);

const HOSTS: [&str; 3] = ["a", "b", "c"];

const STAGES: &str = r#"
stages:
  - name: categorize
    plugin: ${TIDEGATE_PLUGINS}/categorize.wasm
    config_file: categorize.yaml
"#;

/// A number from the environment, as `cargo xtask test` sets it.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|it| it.parse().ok()).unwrap_or(default)
}

/// Numbers that a seed makes, which is printed.
struct Seeded(u64);

impl Seeded {
    fn next(&mut self, below: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or_default() % below
    }
}

#[test]
fn however_often_hosts_are_killed_each_record_lies_in_the_bucket_once() {
    let Some(fleet) =
        Fleet::with("however_often_hosts_are_killed", STAGES, || Some(Kinesis::start(4)))
    else {
        return;
    };
    let s3 = S3::start();
    // Fifty with `--full`.
    let kills = match setting("TIDEGATE_KILLS", 5) {
        50.. => 50,
        fewer => fewer.min(5),
    };
    let seed = setting("TIDEGATE_SEED", 7);
    println!("seed {seed}, {kills} kills");
    let rules = root().join("examples/kinesis-to-s3/categorize.yaml");
    let rules = fs::read_to_string(rules).expect("the example is there");
    let rules_file = fleet.folder.path().join("categorize.yaml");
    replace(&rules_file, &rules);
    let directory = r#"directory: { path: "${OUT}/out" }"#;
    let bucket = format!(
        r#"s3: {{ bucket: {BUCKET}, prefix: processed, path_style: true, region: us-east-1, endpoint: "{}" }}"#,
        s3.endpoint()
    );
    fleet.edit(|text| text.replace(directory, &bucket));

    let writers = Writers::new(4, 25, RECORDS * kills / 100);
    writers.allowed.store(0, Ordering::Relaxed);
    let mut random = Seeded(seed);
    let mut hosts: BTreeMap<&str, Run> = HOSTS.iter().map(|it| (*it, fleet.host(it))).collect();
    fleet.until("all hosts have something", |owners| {
        owners.len() == HOSTS.len() && !owners.contains_key("")
    });
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let watching = scope.spawn(|| longest_gap(&fleet, &over));
        writers.write(&fleet.kinesis, |_| {
            let begun = Instant::now();
            for kill in 1..=kills {
                let until = BETWEEN * u32::try_from(kill).expect("some kills");
                // Records come all the time.
                while begun.elapsed() < until {
                    let share =
                        begun.elapsed().as_secs_f64() / (BETWEEN.as_secs_f64() * kills as f64);
                    let allowed = (writers.records as f64 * share) as u64;
                    writers.allowed.store(allowed, Ordering::Relaxed);
                    thread::sleep(Duration::from_millis(20));
                }
                if kill == kills.div_ceil(3) {
                    let open = fleet.kinesis.open_shards();
                    fleet.kinesis.split(&open[0]);
                    fleet.kinesis.merge(&open[2], &open[3]);
                }
                if kill == (kills * 2).div_ceil(3) {
                    replace(&rules_file, rules.replace("above: 1000 }", "above: 500 }"));
                }
                let name = HOSTS[random.next(HOSTS.len())];
                // It may be dead already: some stay so until the next kill, and their leases expire.
                let is_dead = hosts.remove(name).is_none();
                if is_dead || hosts.len() < 2 || random.next(3) > 0 {
                    for name in HOSTS {
                        hosts.entry(name).or_insert_with(|| fleet.host(name));
                    }
                }
            }
        });
        let started = Instant::now();
        while records(&s3) < writers.total() {
            let came = records(&s3);
            assert!(started.elapsed() < PATIENCE, "{came} of {} came", writers.total());
            thread::sleep(Duration::from_millis(500));
        }
        over.store(true, Ordering::Relaxed);
        let (shard, gap) = watching.join().expect("it watches");
        println!("{kills} kills: the longest gap in progress was {gap:?}, of {shard}");
    });
    for host in hosts.into_values() {
        host.terminate();
    }
    let lines: Vec<Vec<u8>> = s3
        .tree("processed")
        .into_values()
        .flat_map(|it| {
            it.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>()
        })
        .collect();
    writers.check_lines(&lines);
    fleet.nothing_is_dead();
    let verified = fleet.program("a").data("verify", &[]);
    assert_eq!(verified["conserved"], true, "{verified:#}");
    assert_eq!(verified["read"].as_u64(), Some(writers.total()), "{verified:#}");
    assert_eq!(verified["delivered"].as_u64(), Some(writers.total()), "{verified:#}");
}

/// How many records the bucket holds.
fn records(s3: &S3) -> u64 {
    let lines = |it: Vec<u8>| it.iter().filter(|byte| **byte == b'\n').count() as u64;
    s3.tree("processed").into_values().map(lines).sum()
}

/// The longest time that an unfinished shard's checkpoint has stood still, while records came, and
/// which shard's. Printed, and not asserted: it is a busy machine's.
fn longest_gap(fleet: &Fleet, over: &AtomicBool) -> (String, Duration) {
    let (mut seen, mut longest) = (BTreeMap::new(), (String::new(), Duration::ZERO));
    while !over.load(Ordering::Relaxed) {
        let now = Instant::now();
        for (shard, checkpoint) in fleet.checkpoints() {
            if checkpoint == "SHARD_END" {
                seen.remove(&shard);
                continue;
            }
            let (before, since) = seen.entry(shard.clone()).or_insert((checkpoint.clone(), now));
            if *before != checkpoint {
                if now - *since > longest.1 {
                    longest = (shard, now - *since);
                }
                (*before, *since) = (checkpoint, now);
            }
        }
        thread::sleep(Duration::from_millis(50));
    }
    longest
}
