//! Starting and stopping: two ports, one world.

use std::{
    net::{Ipv4Addr, SocketAddr},
    ops::Deref,
    path::PathBuf,
};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinSet,
};

use crate::{
    admin,
    api::{self, Until},
    client::Admin,
    fault_file::FaultFile,
    ports::Reservation,
    server::serve,
    store,
    switches::Switches,
    world::{Inner, World},
};

/// How a sandbox begins.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the API listens; port 0 is a free one.
    pub api: SocketAddr,
    /// Where the admin API listens; port 0 is a free one.
    pub admin: SocketAddr,
    /// Ids and secrets of clients, added to what the state file has.
    pub clients: Vec<(String, String)>,
    /// How it behaves at first; what the state file has takes precedence.
    pub switches: Switches,
    /// The file that keeps everything over restarts, also after a kill: written before a call is answered.
    pub state: Option<PathBuf>,
    /// A file whose faults are in force, and that is read again when it changes.
    pub faults: Option<PathBuf>,
}

impl Default for Config {
    /// Free ports on the loopback interface, no clients, no file.
    fn default() -> Self {
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self { api: free, admin: free, clients: Vec::new(), switches: Switches::default(), state: None, faults: None }
    }
}

impl Config {
    /// The default with one client more.
    #[must_use]
    pub fn client(mut self, id: impl Into<String>, secret: impl Into<String>) -> Self {
        self.clients.push((id.into(), secret.into()));
        self
    }

    /// The default with these switches.
    #[must_use]
    pub fn switches(self, switches: Switches) -> Self {
        Self { switches, ..self }
    }
}

/// Where a sandbox listens. The binary prints this as its first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// The API.
    pub api: SocketAddr,
    /// The admin API.
    pub admin: SocketAddr,
}

impl Addresses {
    /// What an operator's `--api-url` would be.
    pub fn api_url(&self) -> String {
        format!("http://{}", self.api)
    }

    /// The root of the admin API.
    pub fn admin_url(&self) -> String {
        format!("http://{}", self.admin)
    }
}

/// A local Revoiceit in this process. It is also its [`World`]: `sandbox.truth()`, `sandbox.inject(…)`.
///
/// Dropping it closes its ports and connections at once.
#[derive(Debug)]
pub struct Sandbox {
    world: World,
    addresses: Addresses,
    servers: Option<Servers>,
    /// Keeps the state file and follows the file of faults, if there are such.
    keepers: JoinSet<anyhow::Error>,
    /// So that they are still free at a restart.
    _ports: [Reservation; 2],
}

/// What runs between a start and a stop.
#[derive(Debug)]
struct Servers {
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
    at_work: mpsc::Receiver<()>,
}

impl Sandbox {
    /// Starts a sandbox.
    ///
    /// # Errors
    /// A port is taken, the state file cannot be read, or the switches cannot be served.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let Config { api, admin, clients, switches, state, faults } = config;
        let reserve = |address: SocketAddr| Reservation::of(address).with_context(|| format!("listening on {address}"));
        let ports = [reserve(api)?, reserve(admin)?];
        let addresses = Addresses { api: ports[0].address()?, admin: ports[1].address()? };
        let saved = state.as_deref().map(store::load).transpose()?.flatten();
        let world = World::new(saved.map_or_else(|| Inner::new(switches), Ok)?);
        for (id, secret) in clients {
            world.add_client(&id, &secret);
        }
        let mut keepers = JoinSet::new();
        if let Some(path) = faults {
            let mut file = FaultFile::new(path);
            // Before the first call can come.
            file.look(&world).await;
            keepers.spawn(file.follow(world.clone()));
        }
        if let Some(path) = state {
            store::save(&world, &path).await?;
            keepers.spawn(store::keep_saved(world.clone(), path));
        }
        let servers = Servers::start(&world, addresses).await?;
        Ok(Self { world, addresses, servers: Some(servers), keepers, _ports: ports })
    }

    /// Where it listens, also while it is stopped.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// What an operator's `--api-url` would be.
    pub fn api_url(&self) -> String {
        self.addresses.api_url()
    }

    /// A client of its admin API.
    pub fn admin(&self) -> Admin {
        Admin::new(self.addresses.admin)
    }

    /// Everything that it knows. It can be used while the sandbox is stopped, too.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// Closes its ports and every connection, as a process that dies: connections are refused, calls in flight get no answer and what
    /// was not processed will not be. On return nothing is at work any more.
    pub async fn stop(&mut self) {
        let Some(Servers { mut tasks, stop, mut at_work }) = self.servers.take() else { return };
        stop.send_replace(true);
        tasks.shutdown().await;
        while at_work.recv().await.is_some() {}
    }

    /// Stops it and starts it again on the same ports, with all that it knows.
    ///
    /// # Errors
    /// Those of the operating system; its ports were kept for it.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.stop().await;
        self.servers = Some(Servers::start(&self.world, self.addresses).await?);
        Ok(())
    }

    /// Returns only when it cannot go on, with the reason.
    pub async fn failed(&mut self) -> anyhow::Error {
        let Self { keepers, servers, .. } = self;
        let server = async {
            match servers {
                Some(servers) => servers.tasks.join_next().await,
                None => None,
            }
        };
        tokio::select! {
            Some(ended) = keepers.join_next() => ended.unwrap_or_else(anyhow::Error::from),
            Some(ended) = server => match ended {
                Ok(()) => anyhow::anyhow!("a server ended by itself"),
                Err(error) => error.into(),
            },
            else => std::future::pending().await,
        }
    }
}

impl Deref for Sandbox {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl Servers {
    async fn start(world: &World, at: Addresses) -> anyhow::Result<Self> {
        let bind = async |address: SocketAddr| TcpListener::bind(address).await.with_context(|| format!("listening on {address}"));
        let (api, admin) = (bind(at.api).await?, bind(at.admin).await?);
        let (stop, stopped) = watch::channel(false);
        let (working, at_work) = mpsc::channel(1);
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(api, api::handler(world.clone(), Until { stopped, working })));
        tasks.spawn(serve(admin, admin::handler(world)));
        Ok(Self { tasks, stop, at_work })
    }
}
