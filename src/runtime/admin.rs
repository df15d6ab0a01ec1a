//! The admin server: `/livez`, `/readyz` and `/metrics`.
//!
//! Alive means that the loops which do the work turn; ready means that the process could take over at any moment. A
//! standby is ready: a rolling update would wait for it for ever otherwise.

use std::{
    fmt::{Display, Write},
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use tokio::{net::TcpListener, time::Instant};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::info;

use super::metrics::Metrics;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// A client that never finishes its request must not hold up the end of the process.
const LAST_ANSWERS: Duration = Duration::from_secs(1);
/// How often the executor itself gives a sign of life, and how long it may be silent.
const EXECUTOR_TURNS: Duration = Duration::from_secs(1);
const EXECUTOR_PATIENCE: Duration = Duration::from_secs(10);

/// What has to be true before the process could do its work. Nothing registered means not ready.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    checks: Arc<Mutex<Vec<Check>>>,
}

/// One condition of [`Readiness`]. It starts as missing.
#[derive(Clone, Debug)]
pub struct Check {
    name: Arc<str>,
    met: Arc<AtomicBool>,
}

impl Readiness {
    /// Adds a condition. The name stands in the answer while it is missing, for example "CRD served".
    pub fn register(&self, name: impl Into<Arc<str>>) -> Check {
        let check = Check { name: name.into(), met: Arc::default() };
        self.checks.lock().unwrap_or_else(PoisonError::into_inner).push(check.clone());
        check
    }

    /// The conditions that are not met, in the order of their registration.
    pub fn missing(&self) -> Vec<Arc<str>> {
        let checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        if checks.is_empty() {
            return vec!["start".into()];
        }
        checks.iter().filter(|check| !check.met.load(Ordering::Relaxed)).map(|check| check.name.clone()).collect()
    }
}

impl Check {
    /// Whether the condition is met now. It may cease to be.
    pub fn set(&self, met: bool) {
        self.met.store(met, Ordering::Relaxed);
    }
}

/// The loops that have to turn for the process to be of use.
#[derive(Clone, Debug)]
pub struct Liveness {
    start: Instant,
    loops: Arc<Mutex<Vec<Loop>>>,
}

#[derive(Clone, Debug)]
struct Loop {
    name: &'static str,
    patience: Duration,
    /// Milliseconds since the start of [`Liveness`].
    last: Arc<AtomicU64>,
}

/// The pulse of one loop. Dropping it takes the loop out of the account.
#[derive(Debug)]
pub struct Pulse {
    of: Loop,
    liveness: Liveness,
}

impl Default for Liveness {
    fn default() -> Self {
        Self { start: Instant::now(), loops: Arc::default() }
    }
}

impl Liveness {
    /// A loop that says [`Pulse::beat`] each time it turns, and is stuck if it has not for `patience`.
    pub fn register(&self, name: &'static str, patience: Duration) -> Pulse {
        let of = Loop { name, patience, last: Arc::new(AtomicU64::new(self.now())) };
        self.loops.lock().unwrap_or_else(PoisonError::into_inner).push(of.clone());
        Pulse { of, liveness: self.clone() }
    }

    /// The loops that are stuck, and for how long.
    pub fn stuck(&self) -> Vec<(&'static str, Duration)> {
        let now = self.now();
        let loops = self.loops.lock().unwrap_or_else(PoisonError::into_inner);
        let silent = |of: &Loop| Duration::from_millis(now.saturating_sub(of.last.load(Ordering::Relaxed)));
        loops.iter().filter(|of| silent(of) > of.patience).map(|of| (of.name, silent(of))).collect()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Pulse {
    /// The loop turned.
    pub fn beat(&self) {
        self.of.last.store(self.liveness.now(), Ordering::Relaxed);
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        let mut loops = self.liveness.loops.lock().unwrap_or_else(PoisonError::into_inner);
        loops.retain(|of| !Arc::ptr_eq(&of.last, &self.of.last));
    }
}

/// The address of `--listen` cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: choose another address with --listen, or stop what uses it")]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    #[source]
    source: io::Error,
}

/// The admin server, bound and not yet serving.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
}

/// What the admin server tells.
#[derive(Clone, Debug)]
pub struct Told {
    /// For `/readyz`.
    pub readiness: Readiness,
    /// For `/livez`.
    pub liveness: Liveness,
    /// For `/metrics`.
    pub metrics: Arc<Metrics>,
}

impl Admin {
    /// Takes the address, so that an error is told before anything else begins.
    pub async fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let listener = TcpListener::bind(address).await.map_err(|source| BindError { address, source })?;
        Ok(Self { listener })
    }

    /// Where it listens: of interest when the port was given as 0.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` is cancelled and the answers that are under way have been sent, for one second at most.
    pub async fn serve(self, told: Told, stop: CancellationToken) -> io::Result<()> {
        info!(address = %self.local_addr()?, "admin server listens");
        // A task of its own: it needs a free worker and a timer that works, as everything else does.
        let pulse = told.liveness.register("executor", EXECUTOR_PATIENCE);
        let _executor = AbortOnDropHandle::new(tokio::spawn(async move {
            loop {
                pulse.beat();
                tokio::time::sleep(EXECUTOR_TURNS).await;
            }
        }));
        let router =
            Router::new().route("/livez", get(livez)).route("/readyz", get(readyz)).route("/metrics", get(scrape)).with_state(told);
        let too_long = async {
            stop.cancelled().await;
            tokio::time::sleep(LAST_ANSWERS).await;
        };
        tokio::select! {
            served = axum::serve(self.listener, router).with_graceful_shutdown(stop.clone().cancelled_owned()) => served,
            () = too_long => Ok(()),
        }
    }
}

async fn livez(State(told): State<Told>) -> impl IntoResponse {
    verdict("stuck", told.liveness.stuck().into_iter().map(|(name, silent)| format!("{name}, for {}s", silent.as_secs())))
}

async fn readyz(State(told): State<Told>) -> impl IntoResponse {
    verdict("missing", told.readiness.missing().into_iter())
}

fn verdict(what: &str, faults: impl Iterator<Item = impl Display>) -> (StatusCode, String) {
    let mut text = String::new();
    for fault in faults {
        let _ = writeln!(text, "{what}: {fault}");
    }
    if text.is_empty() { (StatusCode::OK, "ok\n".into()) } else { (StatusCode::SERVICE_UNAVAILABLE, text) }
}

async fn scrape(State(told): State<Told>) -> impl IntoResponse {
    ([(CONTENT_TYPE, OPENMETRICS)], told.metrics.encode())
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
        task::JoinHandle,
    };

    use super::*;

    struct Running {
        address: SocketAddr,
        readiness: Readiness,
        liveness: Liveness,
        stop: CancellationToken,
        served: JoinHandle<io::Result<()>>,
    }

    async fn running() -> Running {
        let admin = Admin::bind("127.0.0.1:0".parse().expect("an address")).await.expect("a free port");
        let address = admin.local_addr().expect("bound");
        let (readiness, liveness, stop) = (Readiness::default(), Liveness::default(), CancellationToken::new());
        let told = Told { readiness: readiness.clone(), liveness: liveness.clone(), metrics: Arc::new(Metrics::new()) };
        let serve = admin.serve(told, stop.clone());
        Running { address, readiness, liveness, stop, served: tokio::spawn(serve) }
    }

    async fn request(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("listens");
        let request = format!("GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("takes a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answers");
        answer
    }

    #[tokio::test]
    async fn readyz_says_what_is_missing() {
        let admin = running().await;
        assert!(request(admin.address, "/readyz").await.ends_with("\r\n\r\nmissing: start\n"));
        let (crd, caches) = (admin.readiness.register("CRD served"), admin.readiness.register("resources synced"));
        let answer = request(admin.address, "/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.ends_with("\r\n\r\nmissing: CRD served\nmissing: resources synced\n"), "{answer}");
        crd.set(true);
        assert!(request(admin.address, "/readyz").await.ends_with("\r\n\r\nmissing: resources synced\n"));
        caches.set(true);
        let answer = request(admin.address, "/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nok\n"), "{answer}");
        crd.set(false);
        assert!(request(admin.address, "/readyz").await.starts_with("HTTP/1.1 503 "));
    }

    #[tokio::test]
    async fn livez_says_what_is_stuck() {
        let admin = running().await;
        assert!(request(admin.address, "/livez").await.ends_with("\r\n\r\nok\n"));
        let _stuck = admin.liveness.register("queue", Duration::ZERO);
        tokio::time::sleep(Duration::from_millis(10)).await;
        let answer = request(admin.address, "/livez").await;
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("\r\n\r\nstuck: queue, for 0s\n"), "{answer}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_is_stuck_when_it_is_silent_for_too_long() {
        let liveness = Liveness::default();
        let quick = liveness.register("quick", Duration::from_secs(10));
        let slow = liveness.register("slow", Duration::from_secs(60));
        tokio::time::advance(Duration::from_secs(11)).await;
        assert_eq!(liveness.stuck(), [("quick", Duration::from_secs(11))]);
        quick.beat();
        assert_eq!(liveness.stuck(), []);
        tokio::time::advance(Duration::from_secs(61)).await;
        assert_eq!(liveness.stuck(), [("quick", Duration::from_secs(61)), ("slow", Duration::from_secs(72))]);
        drop(slow);
        assert_eq!(liveness.stuck(), [("quick", Duration::from_secs(61))]);
    }

    #[tokio::test]
    async fn metrics_are_openmetrics() {
        let admin = running().await;
        let answer = request(admin.address, "/metrics").await;
        assert!(answer.contains(&format!("content-type: {OPENMETRICS}\r\n")), "{answer}");
        assert!(answer.contains("\n# TYPE revoiceit_leader gauge\n"), "{answer}");
        assert!(answer.ends_with("# EOF\n"), "{answer}");
    }

    #[tokio::test]
    async fn a_client_that_says_nothing_does_not_hold_up_the_end() {
        let admin = running().await;
        let mut silent = TcpStream::connect(admin.address).await.expect("listens");
        silent.write_all(b"GET /livez HTTP/1.1\r\n").await.expect("takes half a request");
        request(admin.address, "/livez").await;
        tokio::time::pause();
        let start = Instant::now();
        admin.stop.cancel();
        assert!(admin.served.await.expect("no panic").is_ok());
        assert!(start.elapsed() < LAST_ANSWERS * 2, "{:?}", start.elapsed());
    }

    #[tokio::test]
    async fn an_address_in_use_is_told_with_what_to_do() {
        let first = Admin::bind("127.0.0.1:0".parse().expect("an address")).await.expect("a free port");
        let address = first.local_addr().expect("bound");
        let error = Admin::bind(address).await.expect_err("in use");
        assert_eq!(error.to_string(), format!("cannot listen on {address}: choose another address with --listen, or stop what uses it"));
    }
}
