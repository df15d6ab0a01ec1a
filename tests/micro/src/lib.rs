//! What one pass costs: the work that the micro-benchmarks time (`cargo bench --package revoiceit-micro`), and whose instructions and allocations
//! the test `guard` compares with what was recorded.
//!
//! * [`life`]: the planner alone, through a life in which nothing goes wrong
//! * [`passes`]: the whole controller, against an API server in memory ([`server`])
//! * [`texts`]: what is read and written: records, resources, Secrets

pub mod life;
pub mod passes;
pub mod server;
pub mod texts;
