//! The model check: the production `plan` and `fold` in a small world, in all its histories.
//!
//! The world is two servers (Kubernetes' and Revoiceit's), two replicas that are both always active, and adversity: lost replies, refused writes,
//! crashes, failing calls, users. A search goes breadth first through every state that they can reach together, within a budget of time, faults
//! and edits, and holds each against the invariants; and from every state, when nothing goes wrong any more, it has to come to rest.
//!
//! ```text
//! cargo test -p revoiceit-model                                     one or two minutes on two cores
//! make model                                                        some more: larger searches
//! cargo test -p revoiceit-model -- --ignored at_night --nocapture   the same, and very many random histories
//! ```
//!
//! Passes may begin at any time; in the scenarios of [`woken`] only when something wakes them.
//!
//! Not in it: the gate, clocks that step or differ, retry times, pauses after repairs, finalizers of others, a resource that cannot be read,
//! deletion of a namespace, and the 60 s between the check of a look's age and the sending.
//!
//! * the state: [`world`] (servers), [`sight`] (passes), [`state`]
//! * what happens: [`pass`] (the pass loop), [`perform`] and [`commit`] (the servers), [`clock`], [`edits`] and [`restores`] (users), [`adversity`]
//! * what must hold: [`check`] (the invariants), [`liveness`]
//! * the planner: [`brain`] asks it, [`codec`] translates
//! * the search: [`canon`] and [`walk`] (one form for states that are alike), [`search`], [`walks`] (random histories), [`story`]
//! * what is searched: [`scenario`], [`scenarios`], [`woken`] (with [`wake`]); that it would be found: [`breakages`],
//!   [`refreshes`], [`suspects`] and [`strangers`], with their stories in [`golden`]; to look for oneself: [`explore`]

#![cfg(test)]

mod adversity;
mod brain;
mod breakages;
mod canon;
mod check;
mod clock;
mod codec;
mod commit;
mod edits;
mod explore;
mod golden;
mod hash;
mod list;
mod liveness;
mod pass;
mod perform;
mod refreshes;
mod restores;
mod scenario;
mod scenarios;
mod search;
mod sight;
mod state;
mod story;
mod strangers;
mod suspects;
mod wake;
mod walk;
mod walks;
mod woken;
mod world;
