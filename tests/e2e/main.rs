//! End-to-end tests against a real API server.

mod counts;
mod crd;
mod credentials;
mod deletion;
mod depth;
mod faults;
mod golden;
mod gone;
mod hanging;
mod install;
mod leaders;
mod ledgers;
mod life;
mod manifests;
mod poison;
mod recreated;
mod resource;
mod restart;
mod seen;
mod shared;
mod startup;
mod targets;
mod upgrade;
mod world;
