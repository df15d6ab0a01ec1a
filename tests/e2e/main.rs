//! End-to-end tests against a real API server.

mod counts;
mod credentials;
mod deletion;
mod depth;
mod drain;
mod faults;
mod golden;
mod hanging;
mod install;
mod leaders;
mod life;
mod manifests;
mod poison;
mod resource;
mod restart;
mod scope;
mod seen;
mod shared;
mod startup;
mod targets;
mod upgrade;
mod world;
