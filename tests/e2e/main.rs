//! End-to-end tests against a real API server.

mod credentials;
mod faults;
mod golden;
mod install;
mod leaders;
mod life;
mod manifests;
mod resource;
mod seen;
mod shared;
mod startup;
mod targets;
mod upgrade;
mod world;
