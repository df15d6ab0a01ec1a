//! End-to-end tests against a real API server.

mod golden;
mod install;
mod life;
mod manifests;
mod poison;
mod resource;
mod shared;
mod upgrade;
mod world;
