//! What a process needs that serves a cluster: leader election, admin server, metrics, telemetry, shutdown.

pub mod clock;
