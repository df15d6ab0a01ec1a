//! What a process needs that serves a cluster: leader election, admin server, metrics, telemetry, shutdown.

pub mod admin;
pub mod client;
pub mod clock;
pub mod describe;
pub mod identity;
mod labels;
pub mod leader;
pub mod lease;
pub mod metrics;
mod process;
mod proxy;
mod scrape;
pub mod shutdown;
pub mod telemetry;
pub mod tolerant;
