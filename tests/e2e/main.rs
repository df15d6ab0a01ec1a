//! End-to-end tests against a real API server.

mod counts;
mod deletion;
mod golden;
mod install;
mod life;
mod manifests;
mod resource;
mod restart;
mod shared;
mod upgrade;
mod world;
