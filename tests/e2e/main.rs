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
mod life;
mod lines;
mod manifests;
mod names;
mod outcomes;
mod poison;
mod refusals;
mod resource;
mod restart;
mod revocations;
mod seen;
mod shared;
mod startup;
mod targets;
mod upgrade;
mod world;
