//! Who asked the API server what: its audit log, read so that requests can be counted exactly.
//!
//! The server writes a line when a request comes, *before* it goes on with it, and another when it has answered, which may
//! be *after* the client has the answer. So the harness asks for something itself. When it has its answer, each request that
//! anybody had an answer to before is in the log with its first line; for those the second line is waited for.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, ensure};
use k8s_openapi::jiff::Timestamp;

use super::Cluster;
use super::audit_log::Log;
use crate::wait::{GENEROUS, eventually};

/// The path the harness asks for. There is nothing there; a number follows, so that each request is a different one.
const MARKER: &str = "/revoiceit-audit-marker/";

/// One request to the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEvent {
    /// When the request came.
    pub time: Timestamp,
    /// Who asked; a service account is `system:serviceaccount:<namespace>:<name>`.
    pub user: String,
    /// The client's `User-Agent`, empty if it sent none.
    pub user_agent: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// The API group, empty for the one without a name.
    pub group: String,
    /// The plural, like `secrets`; empty if the request was for something else than a resource.
    pub resource: String,
    /// Like `status`; mostly empty.
    pub subresource: String,
    /// Empty for what is in no namespace.
    pub namespace: String,
    /// Empty for lists, watches, and creations that left the name to the server.
    pub name: String,
    /// Path and query.
    pub uri: String,
    /// Whether it said `dryRun=All` in the query. (A deletion can say so in its body as well, which the log does not hold.)
    pub dry_run: bool,
    /// The HTTP status code, of a watch as soon as it has begun. `None` if the server was killed before it answered: what was
    /// asked may have been done or not.
    pub code: Option<u16>,
    /// What the rights of the one who asked had to say to it.
    pub access: Access,
}

/// Whether a request is allowed, and by what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// It was not decided: the server was killed before, or did not know who asked.
    #[default]
    Undecided,
    /// By nothing.
    Denied,
    /// By a ClusterRoleBinding. These are looked at first.
    Everywhere,
    /// By a RoleBinding in the request's namespace.
    InNamespace,
    /// By something else than a role.
    Otherwise,
}

impl AuditEvent {
    /// Whether it changed something, or would have if it had been allowed.
    pub fn is_write(&self) -> bool {
        !self.dry_run && matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
    }

    /// What was asked for, as `kubectl auth can-i` calls it: `secrets`, `deployments.apps/scale`; a path if it is no resource.
    pub fn what(&self) -> String {
        if self.resource.is_empty() {
            return self.uri.split('?').next().unwrap_or_default().to_owned();
        }
        Self::name_of(&self.group, &self.resource, &self.subresource)
    }

    /// The same of a resource, with or without a subresource.
    pub fn name_of(group: &str, resource: &str, subresource: &str) -> String {
        let dot = if group.is_empty() { "" } else { "." };
        let slash = if subresource.is_empty() { "" } else { "/" };
        format!("{resource}{dot}{group}{slash}{subresource}")
    }
}

/// `patch revoiceitcredentials/status team-a/speech 200`
impl fmt::Display for AuditEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verb, resource, subresource, namespace, name, uri, dry_run, code, .. } = self;
        match (resource.as_str(), subresource.as_str()) {
            ("", _) => write!(f, "{verb} {uri}")?,
            (_, "") => write!(f, "{verb} {resource} {namespace}/{name}")?,
            _ => write!(f, "{verb} {resource}/{subresource} {namespace}/{name}")?,
        }
        if *dry_run {
            f.write_str(" (dry run)")?;
        }
        match code {
            Some(code) => write!(f, " {code}"),
            None => f.write_str(" unanswered"),
        }
    }
}

/// A moment in the order in which requests came.
#[derive(Clone, Copy, Debug)]
pub struct AuditMark(usize);

impl Cluster {
    /// Marks the present: every request that somebody already has an answer to is before it.
    pub async fn audit_mark(&self) -> Result<AuditMark> {
        let uri = format!("{MARKER}{}", self.audit.markers.fetch_add(1, Ordering::Relaxed));
        let request = http::Request::get(&uri).body(Vec::new()).context("the audit log's marker")?;
        match self.client().await?.request_text(request).await {
            // Nothing is there, and this is what the server says when it has looked.
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error).context("asking the API server for a line in its audit log"),
            Ok(_) => {}
        }
        self.audit.read()?.place_of(&uri).map(AuditMark).with_context(|| format!("GET {uri} is not in the audit log"))
    }

    /// All requests since the mark that somebody already has an answer to, and all watches that have begun, in the order in
    /// which they came. Waits for the answers to those that are under way, so it fails while a component is frozen.
    ///
    /// The harness' own marks are left out, as are the API server's requests to itself, and `/readyz` and the like.
    pub async fn audit_since(&self, mark: AuditMark) -> Result<Vec<AuditEvent>> {
        let places = mark.0..self.audit_mark().await?.0;
        eventually("all requests in the audit log to be answered", GENEROUS, async || {
            let log = self.audit.read()?;
            let unanswered: Vec<String> = log.unanswered(&places).map(ToString::to_string).collect();
            ensure!(unanswered.is_empty(), "{}", unanswered.join(", "));
            Ok::<_, anyhow::Error>(log.at(places.clone()).iter().filter(|event| !event.uri.starts_with(MARKER)).cloned().collect())
        })
        .await
    }
}

impl Cluster {
    /// All requests since the mark that are in the log by now, answered or not. For when nothing can be waited for.
    pub fn audited_so_far(&self, mark: AuditMark, is_meant: impl Fn(&AuditEvent) -> bool) -> Result<Vec<AuditEvent>> {
        let log = self.audit.read()?;
        Ok(log.at(mark.0..log.len()).iter().filter(|event| is_meant(event)).cloned().collect())
    }

    /// How many of them may still be answered.
    pub fn unanswered_so_far(&self, mark: AuditMark, is_meant: impl Fn(&AuditEvent) -> bool) -> Result<usize> {
        let log = self.audit.read()?;
        Ok(log.unanswered(&(mark.0..log.len())).filter(|event| is_meant(event)).count())
    }
}

/// The log and where it is.
#[derive(Debug)]
pub(super) struct Audit {
    path: PathBuf,
    log: Mutex<Log>,
    /// How many marks there are.
    markers: AtomicU32,
}

impl Audit {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), log: Mutex::default(), markers: AtomicU32::new(0) }
    }

    /// To be called when the API server is dead.
    pub(super) fn server_died(&self) -> Result<()> {
        self.read()?.server_died();
        Ok(())
    }

    /// The log, after a look at what is new in it.
    fn read(&self) -> Result<MutexGuard<'_, Log>> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.read_on(&self.path)?;
        Ok(log)
    }
}
