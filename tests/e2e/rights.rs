//! Least privilege over a whole run: what operators and drains asked of the API server, against what their roles grant.
//!
//! When [`FOLDER`] names a folder, each test's world leaves a report there of what was asked under the service accounts of `deploy/`, and by
//! which kind of binding it was allowed. `make test` then runs the comparison below, which says something only when all other tests have run.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use revoiceit_harness::cluster::{Access, AuditEvent, AuditMark, Cluster};
use revoiceit_operator::api::names;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    drain,
    shared::{DRAIN_RIGHTS, INSTALL},
    world::World,
};

/// The folder of the reports.
const FOLDER: &str = "REVOICEIT_RIGHTS";

/// What the operator may do in a namespace that it serves, when it has no rights for the whole cluster.
pub(crate) const SERVED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/kustomize-namespaced/served/role.yaml");

/// One of the roles in `deploy/`. Of what is asked at home, the role there counts alone: the other need not be for the whole cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Role {
    OperatorEverywhere,
    OperatorWhereItServes,
    OperatorAtHome,
    DrainEverywhere,
    DrainWhereItServes,
    DrainAtHome,
}

impl Role {
    const ALL: [Self; 6] = [
        Self::OperatorEverywhere,
        Self::OperatorWhereItServes,
        Self::OperatorAtHome,
        Self::DrainEverywhere,
        Self::DrainWhereItServes,
        Self::DrainAtHome,
    ];

    /// The one that allowed a request of this account.
    fn of(account: &str, is_at_home: bool, access: Access) -> Option<Self> {
        let is_operator = account == names::OPERATOR;
        Some(match (access, is_at_home) {
            (Access::Everywhere, false) if is_operator => Self::OperatorEverywhere,
            (Access::Everywhere, false) => Self::DrainEverywhere,
            (Access::InNamespace, false) if is_operator => Self::OperatorWhereItServes,
            (Access::InNamespace, false) => Self::DrainWhereItServes,
            (Access::InNamespace, true) if is_operator => Self::OperatorAtHome,
            (Access::InNamespace, true) => Self::DrainAtHome,
            (Access::Everywhere, true) | (Access::Undecided | Access::Denied | Access::Otherwise, _) => return None,
        })
    }

    /// Whose it is.
    fn account(self) -> &'static str {
        match self {
            Self::OperatorEverywhere | Self::OperatorWhereItServes | Self::OperatorAtHome => names::OPERATOR,
            Self::DrainEverywhere | Self::DrainWhereItServes | Self::DrainAtHome => drain::ACCOUNT,
        }
    }

    /// The file that it is in, and of what kind it is there. A drain's role where it serves is in the chart alone, and a test of the chart has it
    /// be the same as the cluster role.
    fn place(self) -> (&'static str, &'static str) {
        match self {
            Self::OperatorEverywhere => (INSTALL, "ClusterRole"),
            Self::OperatorWhereItServes => (SERVED, "Role"),
            Self::OperatorAtHome => (INSTALL, "Role"),
            Self::DrainEverywhere | Self::DrainWhereItServes => (DRAIN_RIGHTS, "ClusterRole"),
            Self::DrainAtHome => (DRAIN_RIGHTS, "Role"),
        }
    }

    /// `verb what` of all that it grants.
    fn grants(self) -> Result<BTreeSet<String>> {
        let (file, kind) = self.place();
        let objects: Vec<Value> =
            serde_saphyr::from_multiple(&std::fs::read_to_string(file)?).with_context(|| format!("reading {file}"))?;
        let name = self.account();
        let is_it = |object: &&Value| object["kind"] == kind && object["metadata"]["name"] == name;
        let role = objects.iter().find(is_it).with_context(|| format!("no {kind} {name} in {file}"))?;
        Ok(granted(&role["rules"]))
    }
}

/// `verb what` of all that these rules grant.
fn granted(rules: &Value) -> BTreeSet<String> {
    let list =
        |value: &Value| -> Vec<String> { value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect() };
    let mut all = BTreeSet::new();
    for rule in rules.as_array().into_iter().flatten() {
        for group in list(&rule["apiGroups"]) {
            for resource in list(&rule["resources"]) {
                let (resource, subresource) = resource.split_once('/').unwrap_or((&resource, ""));
                let what = AuditEvent::name_of(&group, resource, subresource);
                all.extend(list(&rule["verbs"]).into_iter().map(|verb| format!("{verb} {what}")));
            }
        }
    }
    all
}

/// `verb what` of a request.
fn right(event: &AuditEvent) -> String {
    format!("{} {}", event.verb, event.what())
}

/// What is amiss with a role, if this is all that it is needed for.
fn compared(role: Role, used: &BTreeSet<String>) -> Result<Vec<String>> {
    let granted = role.grants()?;
    let unused = granted.difference(used).map(|right| format!("{role:?}: granted, and not asked for: {right}"));
    let other = used.difference(&granted).map(|right| format!("{role:?}: asked for, and not granted by it: {right}"));
    Ok(unused.chain(other).collect())
}

/// An error unless these requests of one account, at home in this namespace, need each right of these roles, and none was denied.
pub(crate) fn each_right_is_used(roles: &[Role], home: &str, asked: &[AuditEvent]) -> Result<()> {
    let denied = asked.iter().filter(|event| event.access == Access::Denied);
    let mut amiss: Vec<String> = denied.map(|event| format!("denied: {event}")).collect();
    for role in roles {
        let by_it = asked.iter().filter(|event| Role::of(role.account(), event.namespace == home, event.access) == Some(*role));
        amiss.extend(compared(*role, &by_it.map(right).collect())?);
    }
    ensure!(amiss.is_empty(), "{}", amiss.join("\n"));
    Ok(())
}

/// What one test leaves.
#[derive(Debug, Serialize, Deserialize)]
struct Report {
    test: String,
    /// `verb what` of all that a role allowed.
    used: BTreeMap<Role, BTreeSet<String>>,
    /// Of all that nothing allowed, with the account, but for what the test has taken away.
    denied: BTreeSet<String>,
    /// Of what the test has taken away, what was asked for all the same; and what was not.
    missed: BTreeSet<String>,
    not_missed: BTreeSet<String>,
}

/// Reports on a world when it is dropped.
pub(crate) struct Reporter {
    cluster: &'static Cluster,
    home: String,
    since: AuditMark,
    folder: PathBuf,
    changes: Mutex<Changes>,
}

/// What a test has changed about the rights of `deploy/`: `verb what` of each.
#[derive(Default)]
struct Changes {
    taken: BTreeSet<String>,
    given: BTreeSet<String>,
    /// Any right may be gone at any time.
    is_any_taken: bool,
}

impl Reporter {
    /// `None` unless somebody wants to know.
    pub(crate) async fn of(cluster: &'static Cluster, home: &str) -> Result<Option<Self>> {
        let Some(folder) = std::env::var_os(FOLDER) else { return Ok(None) };
        let since = cluster.audit_mark().await?;
        Ok(Some(Self { cluster, home: home.to_owned(), since, folder: folder.into(), changes: Mutex::default() }))
    }

    fn report(&self) -> Result<Report> {
        let prefix = format!("system:serviceaccount:{}:", self.home);
        let account = |event: &AuditEvent| {
            let account = event.user.strip_prefix(&prefix)?;
            [names::OPERATOR, drain::ACCOUNT].into_iter().find(|known| *known == account)
        };
        let changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut report = Report {
            test: std::thread::current().name().unwrap_or_default().to_owned(),
            used: BTreeMap::new(),
            denied: BTreeSet::new(),
            missed: BTreeSet::new(),
            not_missed: BTreeSet::new(),
        };
        for event in self.answered(|event| account(event).is_some())? {
            let (account, right) = (account(&event).unwrap_or_default(), right(&event));
            if event.access == Access::Denied {
                if changes.taken.contains(&right) {
                    report.missed.insert(right);
                } else if !changes.is_any_taken {
                    report.denied.insert(format!("{account}: {event}"));
                }
            } else if let Some(role) = Role::of(account, event.namespace == self.home, event.access)
                && !changes.given.contains(&right)
            {
                report.used.entry(role).or_default().insert(right);
            }
        }
        report.not_missed = changes.taken.difference(&report.missed).cloned().collect();
        Ok(report)
    }

    /// The requests that are meant. Who asked is dead by now, but for pods; what was under way has its answer in the log within moments.
    fn answered(&self, is_meant: impl Fn(&AuditEvent) -> bool) -> Result<Vec<AuditEvent>> {
        const PAUSE: Duration = Duration::from_millis(20);
        const PAUSES: usize = 100;
        for _ in 0..PAUSES {
            if self.cluster.unanswered_so_far(self.since, &is_meant)? == 0 {
                break;
            }
            std::thread::sleep(PAUSE);
        }
        self.cluster.audited_so_far(self.since, is_meant)
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        let report = self.report().and_then(|report| Ok(serde_json::to_string(&report)?));
        let file = self.folder.join(format!("{}-{}.json", self.home, std::process::id()));
        // What is no report fails the comparison; and where nothing can be written, it finds too little.
        if let Err(error) = std::fs::write(&file, report.unwrap_or_else(|error| format!("no report: {error:#}"))) {
            eprintln!("writing {}: {error}", file.display());
        }
    }
}

impl World {
    /// The test takes these rights away, each `verb what`, so they may be denied to the operator or the drain. At least one of them has to be.
    pub(crate) fn without(&self, rights: &[&str]) {
        self.change(|changes| changes.taken.extend(rights.iter().map(|&right| right.to_owned())));
    }

    /// Any right may be gone at any time, as while the namespace with the roles is being deleted.
    pub(crate) fn without_any_rights(&self) {
        self.change(|changes| changes.is_any_taken = true);
    }

    /// The test gives these rights by a role of its own.
    pub(crate) fn with_more_rights(&self, rights: &[&str]) {
        self.change(|changes| changes.given.extend(rights.iter().map(|&right| right.to_owned())));
    }

    fn change(&self, what: impl FnOnce(&mut Changes)) {
        if let Some(reporter) = &self.reporter {
            what(&mut reporter.changes.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

#[test]
#[ignore = "after all other tests, which leave their reports in the folder that REVOICEIT_RIGHTS names: make test"]
fn what_is_granted_is_what_was_asked_for_and_nothing_was_denied() -> Result<()> {
    let reports = reports(Path::new(&std::env::var_os(FOLDER).with_context(|| format!("{FOLDER} names no folder"))?))?;
    ensure!(!reports.is_empty(), "there are no reports");
    let mut amiss = Vec::new();
    for report in &reports {
        amiss.extend(report.denied.iter().map(|request| format!("denied in {}: {request}", report.test)));
        if report.missed.is_empty() && !report.not_missed.is_empty() {
            amiss.push(format!("{} takes away what nobody missed: {:?}", report.test, report.not_missed));
        }
    }
    for role in Role::ALL {
        let used: BTreeSet<String> = reports.iter().filter_map(|report| report.used.get(&role)).flatten().cloned().collect();
        amiss.extend(compared(role, &used)?);
    }
    ensure!(amiss.is_empty(), "in {} reports:\n{}", reports.len(), amiss.join("\n"));
    Ok(())
}

fn reports(folder: &Path) -> Result<Vec<Report>> {
    let files = std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let read = |file: std::io::Result<std::fs::DirEntry>| {
        let text = std::fs::read_to_string(file?.path())?;
        serde_json::from_str(&text).with_context(|| text.clone())
    };
    files.map(read).collect()
}
