//! The model check: the production `plan` and `fold` in a small world, in all its histories.
//!
//! The world is two servers (Kubernetes' and Revoiceit's), two replicas that are both always active, and adversity: lost replies, refused writes,
//! crashes, failing calls, users. A search goes breadth first through every state that they can reach together, within a budget of time, faults
//! and edits, and holds each against the invariants of DESIGN section 9; and from every state, when nothing goes wrong any more, it has to come
//! to rest.
//!
//! * the state: [`world`] (servers), [`sight`] (passes), [`state`]
//! * what happens: [`pass`] (the pass loop), [`perform`] and [`commit`] (the servers), [`clock`], [`edits`] (users), [`adversity`]
//! * what must hold: [`check`] (the invariants), [`liveness`]
//! * the planner: [`brain`] asks it, [`codec`] translates
//! * the search: [`canon`] and [`walk`] (one form for states that are alike), [`search`], [`walks`] (random histories), [`story`]
//! * what is searched: [`scenario`], [`scenarios`]; that it would be found: [`breakages`]; to look for oneself: [`explore`]

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
mod hash;
mod list;
mod liveness;
mod pass;
mod perform;
mod scenario;
mod scenarios;
mod search;
mod sight;
mod state;
mod story;
mod walk;
mod walks;
mod world;
