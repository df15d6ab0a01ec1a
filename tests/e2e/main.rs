//! End-to-end tests against a real API server.

mod counts;
mod credentials;
mod deletion;
mod depth;
mod faults;
mod golden;
mod hanging;
mod install;
mod leaders;
mod leaks;
mod life;
mod manifests;
mod operator;
mod poison;
mod resource;
mod restart;
mod seen;
mod shared;
mod startup;
mod targets;
mod upgrade;
mod world;
