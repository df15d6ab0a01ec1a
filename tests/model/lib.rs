//! The model check: the production `plan` and `fold` in a small world, in all its histories.
//!
//! The world is two servers (Kubernetes' and Revoiceit's), two replicas that are both always active, and adversity: lost replies, refused writes,
//! crashes, failing calls, users. A search goes breadth first through every state that they can reach together, within a budget of time, faults
//! and edits, and holds each against the invariants of DESIGN section 9; and from every state, when nothing goes wrong any more, it has to come
//! to rest.
//!
//! * the state: [`world`] (servers), [`sight`] (passes), [`state`]
//! * what happens: [`pass`] (the pass loop), [`perform`] and [`commit`] (the servers), [`adversity`]
//! * the planner: [`brain`] asks it, [`codec`] translates
//! * the search: [`canon`] and [`walk`] (one form for states that are alike), [`search`], [`liveness`], [`story`]
//! * what is searched: [`scenarios`]; and that it would be found: [`breakages`]

#![cfg(test)]

mod adversity;
mod brain;
mod breakages;
mod canon;
mod codec;
mod commit;
mod hash;
mod list;
mod liveness;
mod pass;
mod perform;
mod scenarios;
mod search;
mod sight;
mod state;
mod story;
mod walk;
mod walks;
mod world;
