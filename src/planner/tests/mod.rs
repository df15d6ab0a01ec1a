//! The planner, told as tables and as lives: what it does in which situation, exactly.

mod arbitrary;
mod bracket;
mod builders;
mod delivery;
mod draining;
mod fixtures;
mod golden;
mod gone;
mod histories;
mod intents;
mod leaving;
mod life;
mod limits;
mod line;
mod messages;
mod outcomes;
mod properties;
mod purity;
mod record;
mod revocations;
mod schedule;
mod status;
mod story;
mod target;
mod words;
mod world;
