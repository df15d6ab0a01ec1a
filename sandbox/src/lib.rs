//! A local Revoiceit auth API for tests, demos and staging: the documented behaviour, with ground truth and faults on demand.
//!
//! [`Sandbox`] serves the API on one port and the admin API on another. In the same process, its methods (those of [`World`]) say what
//! is true and order what goes wrong; from another process, [`Admin`] does the same.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use revoiceit_sandbox::{Call, Config, Fault, Sandbox};
//!
//! let sandbox = Sandbox::start(Config::default().client("client", "secret")).await?;
//! sandbox.inject(Fault::lost_answer().on(Call::Issue).once())?;
//! // … let the operator work with sandbox.api_url() …
//! assert_eq!(sandbox.truth().live().count(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! What the vendor's document leaves open is a field of [`Switches`] each; `docs/assumptions.md` says what is assumed.

mod admin;
mod api;
mod calls;
mod client;
mod exchange;
mod fault;
mod fault_file;
mod faults;
mod kind;
mod outgoing;
mod ports;
mod reply;
mod sandbox;
mod server;
mod state;
mod store;
mod switches;
mod time;
mod tokens;
mod truth;
mod world;

pub use self::{
    calls::{Call, CallRecord, Effect, Made},
    client::Admin,
    fault::Fault,
    faults::ActiveFault,
    kind::{Body, Kind, Which, Wrong},
    ports::Reservation,
    sandbox::{Addresses, Config, Sandbox},
    switches::{RejectionBody, Rotation, SecondIssue, Switches, TokenForm},
    time::{UnixMillis, parse_duration},
    truth::{AccessToken, Checks, Client, Delivery, Line, LineState, RefreshState, RefreshToken, Truth},
    world::World,
};
