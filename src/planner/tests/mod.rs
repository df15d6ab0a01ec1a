//! The planner, told as tables and as lives: what it does in which situation, exactly.

mod bracket;
mod builders;
mod fixtures;
mod intents;
mod leaving;
mod life;
mod limits;
mod outcomes;
mod schedule;
mod story;
mod target;
mod words;
mod world;
