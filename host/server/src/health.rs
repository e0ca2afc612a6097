//! What a running pipeline shows of itself over HTTP: whether it lives, whether it works, and its
//! metrics.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use anyhow::Context;
use axum::{Router, extract::State, http::StatusCode, routing::get};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::{net::TcpListener, sync::watch};

/// Where a pipeline is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Plugins are compiled, pending ranges are finished; no partition is read yet.
    Starting = 0,
    /// Records flow.
    Ready = 1,
    /// It was told to stop, and finishes what it has.
    Draining = 2,
}

/// Where a pipeline is in its life, for whoever asks.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<AtomicU8>);

impl Health {
    /// Says where it is.
    pub fn set(&self, phase: Phase) {
        self.0.store(phase as u8, Ordering::Relaxed);
    }

    /// Says that it works, unless it was told to stop meanwhile.
    pub fn set_ready(&self) {
        let (starting, ready) = (Phase::Starting as u8, Phase::Ready as u8);
        // An error says that it was one of the others already.
        let _ = self.0.compare_exchange(starting, ready, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Where it is.
    pub fn phase(&self) -> Phase {
        match self.0.load(Ordering::Relaxed) {
            0 => Phase::Starting,
            1 => Phase::Ready,
            _ => Phase::Draining,
        }
    }
}

#[derive(Clone)]
struct Shown {
    health: Health,
    metrics: PrometheusHandle,
}

/// Takes the port. Kept apart from serving, so that a port that is taken ends the run at its start.
pub async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("failed to listen on {address}"))
}

/// Serves until `stop` says so.
pub async fn serve(
    listener: TcpListener,
    health: Health,
    metrics: PrometheusHandle,
    mut stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let router = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(render))
        .with_state(Shown { health, metrics });
    axum::serve(listener, router)
        .with_graceful_shutdown(async move {
            // An error means that the sender is gone: the run is over.
            let _ = stop.wait_for(|stop| *stop).await;
        })
        .await
        .context("failed to serve")
}

/// Checks no dependency: a restart would not mend one.
async fn livez() -> &'static str {
    "ok\n"
}

async fn readyz(State(shown): State<Shown>) -> (StatusCode, &'static str) {
    match shown.health.phase() {
        Phase::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        Phase::Ready => (StatusCode::OK, "ok\n"),
        Phase::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
    }
}

async fn render(State(shown): State<Shown>) -> ([(&'static str, &'static str); 1], String) {
    shown.metrics.run_upkeep();
    ([("content-type", "text/plain; version=0.0.4; charset=utf-8")], shown.metrics.render())
}
