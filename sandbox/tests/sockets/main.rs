//! The sandbox as its users meet it: over sockets, with an HTTP client that knows nothing of it.

mod admin;
mod api;
mod caller;
mod faults;
mod process;
mod switches;
