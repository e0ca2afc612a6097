//! What is seen of a run while it runs: a bar on a terminal, a line now and then otherwise, and
//! what happens in the log. All on standard error.

use std::{
    io::{self, IsTerminal, Write},
    sync::{Arc, OnceLock},
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tidegate_core::Position;
use tidegate_pipeline::{Event, Progress, progress::Snapshot};
use tokio::time::{Instant, interval};

/// How often a bar moves.
const BAR_EVERY: Duration = Duration::from_millis(200);
/// How often a line says how far it is.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// The bars of this process, so that log lines don't run through them.
static BARS: OnceLock<MultiProgress> = OnceLock::new();

/// Standard error, around the bars.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AroundBars;

impl Write for AroundBars {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match BARS.get() {
            Some(bars) => bars.suspend(|| io::stderr().write(bytes)),
            None => io::stderr().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Shows a run's progress until it is aborted.
pub(super) async fn show(progress: Arc<Progress>, records: Option<u64>) {
    if io::stderr().is_terminal() {
        show_bar(&progress, records).await;
    } else {
        show_lines(&progress).await;
    }
}

/// Takes the bars away.
pub(super) fn clear() {
    if let Some(bars) = BARS.get() {
        // A terminal that can't be written to is nothing that a run should end with.
        let _ = bars.clear();
    }
}

async fn show_bar(progress: &Progress, records: Option<u64>) {
    let bar = BARS.get_or_init(MultiProgress::new).add(match records {
        Some(records) => ProgressBar::new(records),
        None => ProgressBar::new_spinner(),
    });
    let template = match records {
        Some(_) => "{bar:30} {percent:>3} %  {msg}",
        None => "{spinner} {msg}",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    let mut ticks = interval(BAR_EVERY);
    let started = Instant::now();
    loop {
        ticks.tick().await;
        let now = progress.snapshot();
        bar.set_position(now.records_read);
        bar.set_message(line(&now, started.elapsed()));
        bar.tick();
    }
}

async fn show_lines(progress: &Progress) {
    let mut ticks = interval(LINE_EVERY);
    let started = Instant::now();
    // The first tick comes at once and has nothing to say.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        tracing::info!("{}", line(&progress.snapshot(), started.elapsed()));
    }
}

fn line(now: &Snapshot, elapsed: Duration) -> String {
    let rate = now.records_read as f64 / elapsed.as_secs_f64().max(1e-9);
    let mut line = format!(
        "{} read ({rate:.0}/s), {} delivered, {} dead-lettered, {} of {} partitions done",
        now.records_read, now.delivered, now.dead_lettered, now.partitions_ended, now.partitions,
    );
    if now.waiting > 0 {
        line.push_str(&format!(", {} waiting", now.waiting));
    }
    line
}

/// Writes what happens to the log.
pub(super) fn log_event(event: &Event) {
    match event {
        Event::Listed { .. } => {}
        Event::Joined { partitions } => {
            tracing::info!(partitions, "shares the source with other hosts");
        }
        Event::Opened { partition, after } => {
            tracing::debug!(%partition, after = after.map(|it| it.to_string()), "opened");
        }
        Event::CheckpointMoved { partition, from, to } if from == to => {
            tracing::warn!(
                %partition,
                "somebody else has taken away the intent of a range, of which objects may be visible: \
                 exactly once ends there"
            );
        }
        Event::CheckpointMoved { partition, from, to } => {
            let place =
                |it: &Option<Position>| it.map_or("its beginning".to_owned(), |it| it.to_string());
            let (from, to) = (place(from), place(to));
            tracing::warn!(
                %partition, from, to,
                "somebody else has moved the checkpoint: what lies in between was delivered by their \
                 word, and exactly once ends there"
            );
        }
        Event::Recovered { partition, range, how } => {
            tracing::info!(%partition, range, ?how, "finished a range of an earlier run");
        }
        Event::Committed { partition, range, counts, objects, .. } => {
            tracing::debug!(%partition, range, read = counts.read.records, objects, "committed");
        }
        Event::Swapped { partition, to, after, pause, .. } => {
            let after = after.map(|it| it.to_string());
            tracing::info!(%partition, generation = to.short(), after, ?pause, "swapped");
        }
        Event::Waiting { partition, seam, attempts, delay, message } => {
            let partition = partition.as_ref().map(ToString::to_string);
            tracing::warn!(partition, attempts, ?delay, "waiting for {seam}: {message}");
        }
        Event::Resumed { partition, seam, attempts } => {
            let partition = partition.as_ref().map(ToString::to_string);
            tracing::info!(partition, attempts, "{seam} works again");
        }
        Event::Ended { partition, outcome, message } => match message {
            Some(message) => tracing::error!(%partition, "stopped: {message}"),
            None => tracing::debug!(%partition, ?outcome, "ended"),
        },
    }
}
