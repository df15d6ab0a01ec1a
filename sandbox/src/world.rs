//! The one Revoiceit that all sockets talk about: tokens, faults, switches and calls. It outlives the servers.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::{
    calls::{Call, CallRecord, Calls, Effect},
    exchange::Request,
    fault::Fault,
    faults::{ActiveFault, Faults},
    kind::Kind,
    reply::{Answer, Carries},
    state::{Done, State},
    switches::{Rotation, Switches},
    time::UnixMillis,
    truth::{AccessToken, Line, Truth},
};

/// A local Revoiceit. Cheap to clone; all clones are the same one. Every method is one step: nothing happens in the middle of it.
#[derive(Clone, Debug)]
pub struct World {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    inner: Mutex<Inner>,
    /// Counts the changes; sent while the lock is held, so it never runs behind what can be seen.
    version: watch::Sender<u64>,
    /// Up to which change all is in the state file; every change, while there is none.
    saved: watch::Sender<u64>,
}

/// All there is; what the state file holds.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Inner {
    state: State,
    switches: Switches,
    faults: Faults,
    calls: Calls,
}

/// A call that was read, and the fault that it meets.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) seq: u64,
    pub(crate) fault: Option<(u64, Fault)>,
}

/// For tests, in the same process. The admin API has a request for each of these.
impl World {
    /// All tokens and clients, now.
    pub fn truth(&self) -> Truth {
        self.look(|inner| inner.state.truth(UnixMillis::now()))
    }

    /// The number of the last call: a mark for [`calls`](Self::calls) and [`count`](Self::count).
    pub fn mark(&self) -> u64 {
        self.look(|inner| inner.calls.last())
    }

    /// The calls after `mark`; 0 for all. Only the last 100,000 are kept.
    pub fn calls(&self, mark: u64) -> Vec<CallRecord> {
        self.look(|inner| inner.calls.after(mark).cloned().collect())
    }

    /// How many of this call there were after `mark`, whatever became of them.
    pub fn count(&self, call: Call, mark: u64) -> usize {
        self.look(|inner| inner.calls.after(mark).filter(|record| record.call == call).count())
    }

    /// Puts a fault into force. Returns what it is healed by.
    ///
    /// # Errors
    /// The fault asks for something that cannot be done, in words.
    pub fn inject(&self, fault: Fault) -> anyhow::Result<u64> {
        self.change(|inner| inner.faults.inject(fault)).map_err(anyhow::Error::msg)
    }

    /// The faults in force, in their order.
    pub fn faults(&self) -> Vec<ActiveFault> {
        self.look(|inner| inner.faults.list().to_vec())
    }

    /// Ends a fault; calls that hang on it go on. `false`: it was not in force.
    pub fn heal(&self, id: u64) -> bool {
        self.change(|inner| inner.faults.heal(id))
    }

    /// Ends all faults, and says how many there were.
    pub fn heal_all(&self) -> usize {
        self.change(|inner| inner.faults.heal_all())
    }

    /// Adds a client, enabled, or gives it another secret.
    pub fn add_client(&self, id: &str, secret: &str) {
        self.change(|inner| inner.state.add_client(id, secret));
    }

    /// Disables a client, or enables it again: it is rejected on issue and refresh meanwhile, and its lines stay.
    pub fn enable_client(&self, id: &str, enabled: bool) {
        self.change(|inner| inner.state.enable_client(id, enabled));
    }

    /// Deletes a client; its lines die. `false`: there was none.
    pub fn remove_client(&self, id: &str) -> bool {
        self.change(|inner| inner.state.remove_client(id, UnixMillis::now()))
    }

    /// Lets all lines of a client die, and says how many were live.
    pub fn kill_client(&self, id: &str) -> usize {
        self.change(|inner| inner.state.kill_client(id, UnixMillis::now()))
    }

    /// Lets a line die: each of its refresh tokens. `false`: none was live.
    pub fn kill_line(&self, number: u64) -> bool {
        self.change(|inner| inner.state.kill_line(number, UnixMillis::now()))
    }

    /// Lets one refresh token die. `false`: it was not live.
    pub fn kill_token(&self, refresh: &str) -> bool {
        self.change(|inner| inner.state.kill_token(refresh, UnixMillis::now()))
    }

    /// How it behaves where the document is silent.
    pub fn switches(&self) -> Switches {
        self.look(|inner| inner.switches.clone())
    }

    /// Changes how it behaves, from the next call on.
    ///
    /// # Errors
    /// The switches ask for something that cannot be served, in words; nothing is changed.
    pub fn switch(&self, change: impl FnOnce(&mut Switches)) -> anyhow::Result<()> {
        self.replace_switches(|switches| {
            let mut switches = switches.clone();
            change(&mut switches);
            Ok(switches)
        })
    }

    /// Waits until this holds, looking again after every change. `None`: it did not within `at_most`.
    pub async fn wait_for<T>(&self, at_most: Duration, mut look: impl FnMut(&Self) -> Option<T>) -> Option<T> {
        let mut changes = self.changes();
        let seen = async {
            while changes.changed().await.is_ok() {
                let seen = look(self);
                if seen.is_some() {
                    return seen;
                }
            }
            None
        };
        tokio::time::timeout(at_most, seen).await.ok().flatten()
    }
}

/// For the sockets.
impl World {
    pub(crate) fn new(inner: Inner) -> Self {
        let shared = Shared { inner: Mutex::new(inner), version: watch::Sender::new(0), saved: watch::Sender::new(u64::MAX) };
        Self { shared: Arc::new(shared) }
    }

    /// Puts other switches in place of those that are there, if they can be served.
    pub(crate) fn replace_switches(&self, other: impl FnOnce(&Switches) -> anyhow::Result<Switches>) -> anyhow::Result<()> {
        self.change(|inner| {
            let switches = other(&inner.switches)?;
            switches.check().map_err(anyhow::Error::msg)?;
            inner.switches = switches;
            Ok(())
        })
    }

    /// Puts these faults in place of those that came from the file of faults before. If one cannot be done, nothing is changed.
    pub(crate) fn replace_faults_of_file(&self, faults: Vec<Fault>) -> Result<(), String> {
        self.change(|inner| inner.faults.replace_those_of_file(faults))
    }

    /// The number of the last call, and the calls after `mark`, at one moment.
    pub(crate) fn mark_and_calls(&self, mark: u64) -> (u64, Vec<CallRecord>) {
        self.look(|inner| (inner.calls.last(), inner.calls.after(mark).cloned().collect()))
    }

    /// Opens the record of a call, and finds its fault.
    pub(crate) fn begin(&self, call: Call, request: Option<&Request>) -> Begun {
        self.change(|inner| {
            let (client, line, refresh) = match request {
                Some(Request::Issue { client_id, .. }) => (Some(client_id.clone()), None, None),
                Some(Request::Refresh { token } | Request::Revoke { token }) => match inner.state.whose_refresh(token) {
                    Some((line, number)) => (Some(line.client.clone()), Some(line.number), Some(number)),
                    None => (None, None, None),
                },
                None => (None, None, None),
            };
            let fault = inner.faults.take(call, client.as_deref());
            let record = inner.calls.begin(call, UnixMillis::now());
            (record.client, record.line, record.refresh, record.fault) = (client, line, refresh, fault.as_ref().map(|(id, _)| *id));
            Begun { seq: record.seq, fault }
        })
    }

    /// Opens the record of a request that is none of the three calls; no fault is for it.
    pub(crate) fn begin_other(&self, call: Call) -> u64 {
        self.change(|inner| inner.calls.begin(call, UnixMillis::now()).seq)
    }

    /// What the server shows as its time.
    pub(crate) fn server_clock(&self) -> SystemTime {
        UnixMillis::now().offset(self.look(|inner| inner.switches.clock_offset_ms)).into()
    }

    /// Lets a call do its work, and says what the documented answer is. No request: its body was not what the document asks for.
    pub(crate) fn process(&self, seq: u64, request: Option<&Request>, kind: Option<&Kind>) -> Answer {
        self.change(|inner| {
            let now = UnixMillis::now();
            let mut switches = inner.switches.clone();
            match (kind, request) {
                (Some(Kind::Die), Some(Request::Refresh { token } | Request::Revoke { token })) => {
                    inner.state.kill_token(token, now);
                }
                (Some(Kind::Rotate { old_lives }), _) => {
                    switches.rotation = if *old_lives { Rotation::OldLives } else { Rotation::OldDies };
                }
                _ => {}
            }
            let done = match request {
                Some(Request::Issue { client_id, client_secret }) => inner.state.issue(client_id, client_secret, &switches, now),
                Some(Request::Refresh { token }) => inner.state.refresh(token, &switches, now),
                Some(Request::Revoke { token }) => inner.state.revoke(token, &switches, now),
                None => Done::without_tokens(Effect::Rejected),
            };
            if let Some(record) = inner.calls.get_mut(seq) {
                record.effect = Some(done.effect);
                record.made = done.made;
                record.line = record.line.or(done.made.map(|made| made.line));
            }
            Answer::documented(&done, &switches)
        })
    }

    /// Closes the record of a call. `carries`: the answer went out whole.
    pub(crate) fn settle(&self, seq: u64, status: Option<u16>, carries: Option<Carries>) {
        self.change(|inner| {
            let Some(record) = inner.calls.get_mut(seq) else { return };
            record.finished_at = Some(UnixMillis::now());
            record.status = status;
            record.delivered = carries.is_some();
            if let Some(made) = record.made {
                let Carries { access, refresh } = carries.unwrap_or(Carries::LOST);
                inner.state.settle(made, access, refresh);
            }
            record.log();
        });
    }

    /// `GET /check`. Not saved by itself: pods may check often.
    pub(crate) fn check(&self, access: &str) -> Option<(Line, AccessToken)> {
        self.look(|inner| {
            let (line, token) = inner.state.check(access, UnixMillis::now())?;
            Some((Line { refresh: Vec::new(), access: Vec::new(), ..line.clone() }, token.clone()))
        })
    }

    /// Returns when this fault is no longer in force.
    pub(crate) async fn healed(&self, id: u64) {
        let mut changes = self.changes();
        while changes.changed().await.is_ok() && self.look(|inner| inner.faults.is_active(id)) {}
    }

    /// Returns when all that was changed so far is in the state file; at once if there is none.
    pub(crate) async fn saved(&self) {
        let version = *self.shared.version.borrow();
        let _ = self.shared.saved.subscribe().wait_for(|saved| *saved >= version).await;
    }

    /// All there is as JSON, and up to which change.
    pub(crate) fn snapshot(&self) -> (u64, serde_json::Result<Vec<u8>>) {
        self.look(|inner| (*self.shared.version.borrow(), serde_json::to_vec(&*inner)))
    }

    /// All up to this change is in the state file; from the first time on, [`saved`](Self::saved) waits.
    pub(crate) fn is_saved(&self, version: u64) {
        self.shared.saved.send_replace(version);
    }

    /// Tells of changes, the ones before included.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        let mut changes = self.shared.version.subscribe();
        changes.mark_changed();
        changes
    }

    fn look<T>(&self, look: impl FnOnce(&mut Inner) -> T) -> T {
        look(&mut self.shared.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        self.look(|inner| {
            let result = change(inner);
            self.shared.version.send_modify(|version| *version += 1);
            result
        })
    }
}

impl Inner {
    pub(crate) fn new(switches: Switches) -> anyhow::Result<Self> {
        switches.check().map_err(anyhow::Error::msg)?;
        Ok(Self { switches, ..Self::default() })
    }
}
