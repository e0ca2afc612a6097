//! Where partitions are worked on: worker threads, or the calling thread.
//!
//! CPU-bound work (projection, plugin calls, encoding) must not wait for other CPU-bound work, so
//! there is one thread a core, and a partition stays on its thread. Each thread runs a
//! current-thread runtime: what a partition's task awaits never moves it.

use std::{future::Future, io, pin::Pin, thread, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    task::{JoinSet, LocalSet},
};

/// The executor of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// So many threads.
    Threads(usize),
    /// The thread that runs the pipeline: with a paused clock, the same seed gives the same trace.
    Here,
}

impl Workers {
    /// One thread for each processor that this process may use.
    pub fn one_a_core() -> Self {
        Workers::Threads(thread::available_parallelism().map_or(1, usize::from))
    }

    /// How many there are.
    pub fn count(self) -> usize {
        match self {
            Workers::Threads(threads) => threads.max(1),
            Workers::Here => 1,
        }
    }
}

type LocalTask = Pin<Box<dyn Future<Output = ()>>>;

/// Makes a task on the thread that it stays on.
pub(crate) type Job = Box<dyn FnOnce() -> LocalTask + Send>;

/// The workers of a run that is under way. Dropping it drops all tasks where they stand.
pub(crate) enum Crew {
    Threads(Vec<Worker>),
    Here(JoinSet<()>),
}

pub(crate) struct Worker {
    jobs: mpsc::Sender<Job>,
    ended: oneshot::Receiver<()>,
}

impl Crew {
    /// Starts the workers. `jobs_max` is how many jobs one has at a time.
    pub(crate) fn start(workers: Workers, jobs_max: usize) -> io::Result<Self> {
        let Workers::Threads(_) = workers else { return Ok(Crew::Here(JoinSet::new())) };
        let threads = (0..workers.count()).map(|number| Worker::start(number, jobs_max));
        Ok(Crew::Threads(threads.collect::<io::Result<_>>()?))
    }

    /// Hands a job to a worker.
    pub(crate) async fn spawn(&mut self, worker: usize, job: Job) {
        match self {
            Crew::Threads(workers) => {
                // A worker lives until its queue is closed, which only dropping the crew does.
                let _ = workers[worker].jobs.send(job).await;
            }
            Crew::Here(tasks) => {
                while tasks.try_join_next().is_some() {}
                tasks.spawn_local(job());
            }
        }
    }

    /// Waits until all threads are gone.
    pub(crate) async fn dismiss(self) {
        if let Crew::Threads(workers) = self {
            for Worker { jobs, ended } in workers {
                drop(jobs);
                let _ = ended.await;
            }
        }
    }
}

impl Worker {
    fn start(number: usize, jobs_max: usize) -> io::Result<Self> {
        let (jobs, mut queue) = mpsc::channel::<Job>(jobs_max.max(1));
        let (ends, ended) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name(format!("tidegate-worker-{number}")).spawn(move || {
            let tasks = LocalSet::new();
            tasks.block_on(&runtime, async {
                let mut running = JoinSet::new();
                // A closed queue means that the run is over, or was dropped: so are its tasks.
                while let Some(job) = queue.recv().await {
                    while running.try_join_next().is_some() {}
                    running.spawn_local(job());
                }
            });
            drop(tasks);
            // A file that is being written on a blocking thread has this long to get there.
            runtime.shutdown_timeout(Duration::from_secs(1));
            let _ = ends.send(());
        })?;
        Ok(Worker { jobs, ended })
    }
}
