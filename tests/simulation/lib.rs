//! The operator's own controller - watches, queue, gate, passes, election - in simulated time, through long random histories.
//!
//! One thread, tokio's paused clock, an API server and a Revoiceit in memory: a day takes seconds, and a history with the same seed is the
//! same history. Every request can be late, refused, or lose its answer after it was done; processes die, machines sleep, clocks are wrong.
//!
//! ```text
//! cargo test -p revoiceit-simulation                                                     some days of each kind
//! cargo test --profile night -p revoiceit-simulation -- --ignored at_night --nocapture   some hundred days; HISTORIES=1000 for more
//! SEED=7 cargo test -p revoiceit-simulation one_history -- --ignored --nocapture
//! ```
//!
//! * what there is: [`objects`] and [`server`] (the API server), [`revoiceit`], [`replica`] (the operator), [`link`] (what is between them), [`clock`]
//! * what happens: [`history`], [`storms`] and [`users`]
//! * what must hold: [`witness`] (of each change), [`looks`] (what pods see, and the end)
//! * which are run: [`histories`], and a long [`outage`]

#![cfg(test)]

mod clock;
mod histories;
mod history;
mod link;
mod looks;
mod objects;
mod outage;
mod replica;
mod revoiceit;
mod server;
mod storms;
mod users;
mod witness;
