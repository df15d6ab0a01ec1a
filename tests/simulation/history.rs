//! One history: resources, users, weather and crashes, drawn from a seed.

use std::time::Duration;

use jiff::Timestamp;
use revoiceit_operator::controller::Limits;
use tokio::time::sleep;

use crate::{clock, objects::Key, replica::Replica, revoiceit::Revoiceit, server::Server};

pub(crate) const NAMESPACE: &str = "team-a";
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
/// What is drawn from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) resources: usize,
    pub(crate) hours: u32,
    /// Users edit.
    pub(crate) edits: bool,
    /// Not only Revoiceit: processes die, connections break, clocks are wrong, machines sleep, lines of tokens end.
    pub(crate) faults: bool,
    /// How often something goes wrong with Revoiceit, a link, a clock or a process: times a day, of each.
    pub(crate) storms: u32,
    /// How long it does, in minutes, at least and less than.
    pub(crate) last: (i64, i64),
    /// Refreshes bring another refresh token.
    pub(crate) rotates: bool,
    /// And the old one lives on.
    pub(crate) old_lives: bool,
    /// Both replicas take themselves for the leader, always.
    pub(crate) both_lead: bool,
    /// Of each replica's gate.
    pub(crate) limits: Limits,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// Looks of a pod at its token, one a minute and resource.
    pub(crate) looks: u64,
    /// Looks that found one that had expired.
    pub(crate) expired: u64,
    /// Looks that found none.
    pub(crate) absent: u64,
    /// Looks at which promise 1 would have allowed neither.
    pub(crate) judged: u64,
    pub(crate) issues: u64,
    pub(crate) suspects: u64,
    /// Refresh tokens that live on and that nobody can know of.
    pub(crate) unknown: u64,
    pub(crate) writes: u64,
    pub(crate) digest: u64,
    pub(crate) violations: Vec<String>,
}

/// A resource as its user wants it.
pub(crate) struct Wanted {
    pub(crate) name: String,
    pub(crate) target: String,
    pub(crate) renames: u32,
    pub(crate) exists: bool,
    /// It is to be created again as soon as its name is free.
    pub(crate) comes_back: bool,
    pub(crate) suspended: bool,
    pub(crate) secret: u32,
    /// How often a new line is to be expected at most.
    pub(crate) causes: u32,
    pub(crate) edited_at: Timestamp,
}

pub(crate) struct History {
    pub(crate) kind: Kind,
    pub(crate) server: Server,
    pub(crate) revoiceit: Revoiceit,
    pub(crate) wanted: Vec<Wanted>,
    pub(crate) replicas: Vec<Option<Replica>>,
    /// Until when something is wrong with Revoiceit, with each replica's link, with the clock.
    pub(crate) revoiceit_until: Timestamp,
    pub(crate) link_until: [Timestamp; 2],
    pub(crate) down_until: [Timestamp; 2],
    pub(crate) clock_until: Timestamp,
    /// Since when all has been well enough for a refresh, and nothing waits because the clock was set back.
    pub(crate) well_since: Timestamp,
    /// When that had lasted for [`LONG`] last.
    pub(crate) long_well_at: Timestamp,
    pub(crate) report: Report,
}

/// Runs a history from its first to its last day, and holds it against what must be.
pub(crate) fn run(kind: Kind, seed: u64) -> Report {
    simulated(kind, seed, History::run)
}

/// Runs this with a new history, in simulated time.
pub(crate) fn simulated<T: Send + 'static, F: Future<Output = T>>(
    kind: Kind,
    seed: u64,
    run: impl FnOnce(History) -> F + Send + 'static,
) -> T {
    // What one history leaves in its thread is none of the next one's business.
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        fastrand::seed(seed);
        runtime.block_on(async {
            clock::begin();
            run(History::new(kind)).await
        })
    });
    thread.join().unwrap_or_else(|_| panic!("seed {seed} of {kind:?} panicked"))
}

impl History {
    fn new(kind: Kind) -> Self {
        let (server, revoiceit) = (Server::new(), Revoiceit::default());
        server.lock().witness.revoiceit = revoiceit.clone();
        (revoiceit.lock().rotates, revoiceit.lock().old_lives) = (kind.rotates, kind.old_lives);
        let now = clock::truth();
        let wanted = (0..kind.resources).map(|number| Wanted {
            name: format!("speech-{number}"),
            target: format!("token-{number}"),
            renames: 0,
            exists: false,
            comes_back: false,
            suspended: false,
            secret: 0,
            causes: 0,
            edited_at: now,
        });
        Self {
            kind,
            wanted: wanted.collect(),
            server,
            revoiceit,
            replicas: vec![None, None],
            revoiceit_until: now,
            link_until: [now; 2],
            down_until: [now; 2],
            clock_until: now,
            well_since: now,
            long_well_at: now,
            report: Report::default(),
        }
    }

    async fn run(mut self) -> Report {
        for number in 0..self.wanted.len() {
            self.write_credentials(number);
            self.create(number);
        }
        self.start_replicas();
        for _ in 0..self.kind.hours * 60 {
            sleep(MINUTE).await;
            self.weather();
            self.bring_back();
            self.edit();
            self.start_replicas();
            self.look();
        }
        self.heal();
        self.settle(4 * 60).await;
        self.check_rest().await;
        self.delete_all();
        self.settle(2 * 60).await;
        self.check_end();
        let inner = self.server.lock();
        let issues = self.revoiceit.lock().issues.values().map(|issues| u64::from(*issues)).sum();
        let suspects = inner.witness.suspects.values().sum();
        let witness = &inner.witness;
        let violations = witness.violations.clone();
        Report { issues, suspects, writes: witness.writes, digest: witness.digest, violations, ..self.report }
    }

    pub(crate) fn start_replicas(&mut self) {
        let now = clock::truth();
        for (number, replica) in self.replicas.iter_mut().enumerate() {
            if replica.as_ref().is_none_or(Replica::is_over) && now >= self.down_until[number] {
                *replica = Some(Replica::start(&self.server, &self.revoiceit, number, &self.kind));
            }
        }
    }

    pub(crate) async fn settle(&mut self, minutes: u32) {
        for _ in 0..minutes {
            sleep(MINUTE).await;
            self.start_replicas();
            self.bring_back();
        }
    }
}

pub(crate) fn key(kind: &str, name: &str) -> Key {
    (kind.to_owned(), NAMESPACE.to_owned(), name.to_owned())
}
