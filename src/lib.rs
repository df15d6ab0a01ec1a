//! Keeps Kubernetes Secrets supplied with valid Revoiceit access tokens.
//!
//! The operator's own program is the one user of this crate; its tests and its model check are the others.

pub mod api;
pub mod cli;
pub mod controller;
pub mod planner;
pub mod revoiceit;
pub mod runtime;
