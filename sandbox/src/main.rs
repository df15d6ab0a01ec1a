//! `revoiceit-sandbox`: a local Revoiceit auth API as a process of its own.

use std::{
    io::{IsTerminal, Write},
    net::SocketAddr,
    path::PathBuf,
    time::Duration,
};

use anyhow::Context;
use clap::Parser;
use revoiceit_sandbox::{Config, RejectionBody, Rotation, Sandbox, SecondIssue, Switches, TokenForm, parse_duration};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// A local Revoiceit auth API: the documented behaviour, with ground truth and faults on demand over a second port.
///
/// The first line on standard output says where it listens: {"api":"127.0.0.1:8080","admin":"127.0.0.1:8081"}.
/// Logs go to standard error: one line for each call, never with a token.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Where the API listens; port 0 is a free one
    #[arg(long, env = "REVOICEIT_SANDBOX_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Where the admin API listens; port 0 is a free one. Whoever reaches it sees every token
    #[arg(long, env = "REVOICEIT_SANDBOX_ADMIN_LISTEN", default_value = "127.0.0.1:8081", value_name = "ADDRESS")]
    admin_listen: SocketAddr,
    /// A client that may ask for tokens; repeatable, or separated by commas
    #[arg(long = "client", env = "REVOICEIT_SANDBOX_CLIENTS", value_parser = pair, value_delimiter = ',', hide_env_values = true, value_name = "ID=SECRET")]
    clients: Vec<(String, String)>,
    /// Accept every client, whatever its secret
    #[arg(long, env = "REVOICEIT_SANDBOX_ANY_CLIENT")]
    any_client: bool,
    /// Keep everything in this file, over restarts and kills. What it holds takes precedence over the flags below
    #[arg(long, env = "REVOICEIT_SANDBOX_STATE", value_name = "FILE")]
    state: Option<PathBuf>,
    /// A file with a list of faults, in YAML or JSON. They are in force as long as they are in it: it is read again when it changes
    #[arg(long, env = "REVOICEIT_SANDBOX_FAULTS", value_name = "FILE")]
    faults: Option<PathBuf>,
    /// How long an access token is valid
    #[arg(long, env = "REVOICEIT_SANDBOX_LIFETIME", default_value = "1h", value_parser = parse_duration, value_name = "DURATION")]
    lifetime: Duration,
    /// What an access token looks like
    #[arg(long, env = "REVOICEIT_SANDBOX_TOKEN_FORM", value_enum, default_value = "opaque", value_name = "FORM")]
    token_form: TokenForm,
    /// Revoking a refresh token ends the access tokens of its line
    #[arg(long, env = "REVOICEIT_SANDBOX_REVOKE_ENDS_ACCESS")]
    revoke_ends_access: bool,
    /// Revoking one refresh token of a line ends the others too
    #[arg(long, env = "REVOICEIT_SANDBOX_REVOKE_ENDS_LINE")]
    revoke_ends_line: bool,
    /// Answer the revocation of a token that is unknown, or has ended, with 200
    #[arg(long, env = "REVOICEIT_SANDBOX_REVOKE_ACCEPTS_UNKNOWN")]
    revoke_accepts_unknown: bool,
    /// What becomes of a client's earlier lines when it asks for another one
    #[arg(long, env = "REVOICEIT_SANDBOX_SECOND_ISSUE", value_enum, default_value = "independent", value_name = "WHAT")]
    second_issue: SecondIssue,
    /// The status of every rejection
    #[arg(long, env = "REVOICEIT_SANDBOX_REJECTION_STATUS", default_value_t = 400, value_name = "STATUS")]
    rejection_status: u16,
    /// The body of every rejection
    #[arg(long, env = "REVOICEIT_SANDBOX_REJECTION_BODY", value_enum, default_value = "json", value_name = "BODY")]
    rejection_body: RejectionBody,
    /// Whether a refresh hands out a new refresh token, and what becomes of the old one
    #[arg(long, env = "REVOICEIT_SANDBOX_ROTATION", value_enum, default_value = "none", value_name = "HOW")]
    rotation: Rotation,
    /// After how many refreshes a refresh token dies [default: never]
    #[arg(long, env = "REVOICEIT_SANDBOX_REFRESH_USES", value_name = "N")]
    refresh_uses: Option<u32>,
    /// How far the server's clock is off, in milliseconds
    #[arg(long, env = "REVOICEIT_SANDBOX_CLOCK_OFFSET_MS", default_value_t = 0, allow_negative_numbers = true, value_name = "MS")]
    clock_offset_ms: i64,
    /// What is logged, as `tracing` filters are written
    #[arg(long, env = "REVOICEIT_SANDBOX_LOG", default_value = "info", value_name = "FILTER")]
    log: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (config, log) = Args::parse().split();
    let filter = EnvFilter::try_new(&log).context("--log")?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal()).init();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    let mut sandbox = Sandbox::start(config).await?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{}", serde_json::to_string(&sandbox.addresses())?)?;
    stdout.flush()?;

    // Everything that was answered is in the state file already, so it ends at once.
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        error = sandbox.failed() => Err(error),
    }
}

impl Args {
    fn split(self) -> (Config, String) {
        let Self {
            listen,
            admin_listen,
            clients,
            any_client,
            state,
            faults,
            lifetime,
            token_form,
            revoke_ends_access,
            revoke_ends_line,
            revoke_accepts_unknown,
            second_issue,
            rejection_status,
            rejection_body,
            rotation,
            refresh_uses,
            clock_offset_ms,
            log,
        } = self;
        let switches = Switches {
            lifetime,
            token_form,
            any_client,
            revoke_ends_access,
            revoke_ends_line,
            second_issue,
            rejection_status,
            rejection_body,
            revoke_accepts_unknown,
            rotation,
            refresh_uses,
            clock_offset_ms,
        };
        (Config { api: listen, admin: admin_listen, clients, switches, state, faults }, log)
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((id, secret)) if !id.is_empty() && !secret.is_empty() => Ok((id.to_owned(), secret.to_owned())),
        _ => Err("write it as ID=SECRET".into()),
    }
}
