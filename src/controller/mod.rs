//! The I/O around the planner: watches, queue, gate, look, perform.

mod absence;
mod classify;
mod context;
mod drain;
mod error;
mod events;
mod facts;
mod gate;
mod index;
mod kept;
mod look;
mod own;
mod pass;
mod perform;
mod queue;
mod repairs;
mod serve;
mod slot;
mod status;
mod sweep;
mod synced;
mod taken;
mod watch;
mod work;

use crate::runtime::tolerant;

pub use self::{
    absence::Absences,
    context::Context,
    drain::{Broken, Held, Holdings, drain, held},
    error::Error,
    events::Events,
    facts::Facts,
    gate::{Gate, Limits},
    index::{Scope, Watched},
    repairs::Repairs,
    serve::serve,
    synced::{InSync, Synced, first_sync},
    taken::{Counts, Taken},
    watch::{resources, secrets},
};
