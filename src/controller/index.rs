//! What the watches know: the resources, and the versions of the Secrets that they name.
//!
//! Of Secrets there is no store. Only names that some resource refers to are kept, each with its last resourceVersion; all else is dropped on
//! arrival. Memory does not grow with other people's Secrets, and no value of one is ever in here.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use kube::{Resource as _, ResourceExt, runtime::watcher::Event};
use tokio::sync::mpsc;

use super::{kept::Kept, own::Own, queue::Happened, tolerant::Tolerant};
use crate::{
    api::RevoiceitCredential,
    planner::{Name, ResourceId},
};

/// A key that something happened to.
pub(super) type Wake = (Arc<ResourceId>, Happened);

/// A Secret's namespace and name, with a slash between them. All that name a Secret share one.
type SecretKey = Arc<str>;

/// What the watches know.
#[derive(Debug)]
pub struct Watched {
    inner: Mutex<Inner>,
    wakes: mpsc::UnboundedSender<Wake>,
}

#[derive(Debug, Default)]
struct Inner {
    resources: HashMap<String, Known>,
    /// The resources that name each Secret, as credentials or as target, and what is known of it.
    secrets: HashMap<SecretKey, Named>,
    own: Own,
    /// What has been seen of a listing that is not complete: UIDs of resources, keys of Secrets. Also keys that the listing tells nothing of,
    /// since they were named, written or read after it began.
    listed: HashMap<Scope, HashSet<Arc<str>>>,
}

/// One stream: a kind in a namespace, or in all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    /// Secrets instead of resources.
    pub of_secrets: bool,
    /// `None` for all namespaces.
    pub namespace: Option<String>,
}

#[derive(Debug)]
struct Known {
    id: Arc<ResourceId>,
    version: Box<str>,
    /// What its status says.
    refresh_at: Option<Timestamp>,
    is_leaving: bool,
    object: Kept,
    names: Box<[SecretKey]>,
}

#[derive(Debug, Default)]
struct Named {
    /// By UID. Mostly one.
    by: Vec<Arc<ResourceId>>,
    version: Seen,
}

/// What is known of a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Seen {
    /// It was named only after its events had come: a GET has to tell.
    #[default]
    Unknown,
    /// It does not exist.
    Absent,
    /// It exists in this version.
    At(Arc<str>),
}

impl Watched {
    /// Nothing known yet. Whoever serves the queue reads the wakes from the other end.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Wake>) {
        let (wakes, receiver) = mpsc::unbounded_channel();
        (Self { inner: Mutex::default(), wakes }, receiver)
    }

    /// The resource with this UID, as the watch saw it last. `None` if there is none, or if it cannot be read or is too large to be kept.
    pub fn resource(&self, uid: &str) -> Option<RevoiceitCredential> {
        let kept = self.lock().resources.get(uid).map(|known| known.object.clone())?;
        kept.read()
    }

    /// The target that it names, as the watch saw it last.
    pub(super) fn target(&self, uid: &str) -> Option<Name> {
        self.lock().resources.get(uid)?.names.last().map(|key| Name::new(name_of(key)))
    }

    /// Whether there is one with this UID.
    pub(super) fn has(&self, uid: &str) -> bool {
        self.lock().resources.contains_key(uid)
    }

    /// Whether there is one that is not being deleted.
    pub(super) fn has_wanted(&self, uid: &str) -> bool {
        self.lock().resources.get(uid).is_some_and(|known| !known.is_leaving)
    }

    /// Every resource that there is.
    pub fn ids(&self) -> Vec<Arc<ResourceId>> {
        self.lock().resources.values().map(|known| known.id.clone()).collect()
    }

    /// The same, with when each may be due by what its status says: long ago, if that speaks of no refresh. A status may be old, or anybody's: it
    /// is good for an order.
    pub(super) fn ids_by_status(&self) -> Vec<(Arc<ResourceId>, Timestamp)> {
        self.lock().resources.values().map(|known| (known.id.clone(), known.refresh_at.unwrap_or(Timestamp::UNIX_EPOCH))).collect()
    }

    /// What is known of a Secret that some resource names.
    pub fn secret(&self, namespace: &str, name: &str) -> Seen {
        self.lock().secrets.get(&*joined(namespace, name)).map_or(Seen::Unknown, |named| named.version.clone())
    }

    /// A ledger was found whose resource the watch does not have.
    pub(super) fn wake_gone(&self, id: Arc<ResourceId>) {
        self.wake(id, Happened::Other);
    }

    /// A GET told what the watch could not.
    pub(super) fn read_secret(&self, namespace: &str, name: &str, seen: Seen) {
        let (mut inner, key) = (self.lock(), key(namespace, name));
        if let Some(named) = inner.secrets.get_mut(&key)
            && named.version == Seen::Unknown
        {
            named.version = seen;
            inner.not_in_listings(&key);
        }
    }

    /// The operator wrote this Secret: its event is no news.
    pub(super) fn wrote_secret(&self, namespace: &str, name: &str, version: &str) {
        let mut inner = self.lock();
        let version: Arc<str> = version.into();
        inner.own.add(version.clone());
        let key = key(namespace, name);
        if let Some(named) = inner.secrets.get_mut(&key) {
            named.version = Seen::At(version);
            inner.not_in_listings(&key);
        }
    }

    /// The operator patched this resource, which had the version `from`: its event is no news. What it is now is known before the event comes, or a
    /// pass that begins in between would rest on the status before this one, and tell of the change again.
    pub(super) fn wrote_resource(&self, from: Option<&str>, written: &Tolerant<RevoiceitCredential>) {
        let mut inner = self.lock();
        inner.own.add(written.resource_version().unwrap_or_default().into());
        if let Some(known) = inner.resources.get_mut(&written.uid().unwrap_or_default())
            && Some(&*known.version) == from
        {
            known.version = written.resource_version().unwrap_or_default().into();
            known.refresh_at = refresh_at(written);
            known.is_leaving = is_leaving(written);
            known.object = Kept::new(written);
        }
    }

    /// Whether the operator wrote this version.
    pub fn is_own(&self, version: &str) -> bool {
        self.lock().own.has(version)
    }

    /// Takes in what the watch of resources says.
    pub fn on_resource(&self, scope: &Scope, event: Event<Tolerant<RevoiceitCredential>>) {
        let mut inner = self.lock();
        match event {
            Event::Init => {
                inner.listed.insert(scope.clone(), HashSet::new());
            }
            Event::InitApply(object) => {
                let uid = object.uid().unwrap_or_default();
                inner.listed.entry(scope.clone()).or_default().insert(uid.into());
                self.apply_resource(&mut inner, &object);
            }
            Event::InitDone => {
                let listed = inner.listed.remove(scope).unwrap_or_default();
                let gone = |known: &Known| scope.covers(&known.id.namespace) && !listed.contains(known.id.uid.as_str());
                let gone: Vec<String> = inner.resources.values().filter(|known| gone(known)).map(|known| known.id.uid.clone()).collect();
                for uid in gone {
                    self.remove_resource(&mut inner, &uid);
                }
            }
            Event::Apply(object) => self.apply_resource(&mut inner, &object),
            Event::Delete(object) => self.remove_resource(&mut inner, &object.uid().unwrap_or_default()),
        }
    }

    /// Takes in what the watch of Secrets says: namespace, name and version, and nothing else.
    pub fn on_secret(&self, scope: &Scope, event: Event<(String, String, String)>) {
        let mut inner = self.lock();
        match event {
            Event::Init => {
                inner.listed.insert(scope.clone(), HashSet::new());
            }
            Event::InitApply((namespace, name, version)) => {
                if let Some((key, _)) = inner.secrets.get_key_value(&*joined(&namespace, &name)) {
                    let key = key.clone();
                    inner.listed.entry(scope.clone()).or_default().insert(key.clone());
                    self.apply_secret(&mut inner, &key, Seen::At(version.into()));
                }
            }
            Event::InitDone => {
                let listed = inner.listed.remove(scope).unwrap_or_default();
                let absent = |key: &SecretKey| scope.covers(namespace_of(key)) && !listed.contains(key);
                let absent: Vec<SecretKey> = inner.secrets.keys().filter(|key| absent(key)).cloned().collect();
                for key in absent {
                    self.apply_secret(&mut inner, &key, Seen::Absent);
                }
            }
            Event::Apply((namespace, name, version)) => self.apply_secret(&mut inner, &joined(&namespace, &name), Seen::At(version.into())),
            Event::Delete((namespace, name, _)) => self.apply_secret(&mut inner, &joined(&namespace, &name), Seen::Absent),
        }
    }

    fn apply_resource(&self, inner: &mut Inner, object: &Tolerant<RevoiceitCredential>) {
        let (Some(uid), Some(namespace)) = (object.uid(), object.namespace()) else { return };
        let version = object.resource_version().unwrap_or_default();
        let id = match inner.resources.get(&uid) {
            Some(known) if *known.version == *version => return,
            Some(known) => known.id.clone(),
            None => Arc::new(ResourceId { namespace, name: object.name_any(), uid: uid.clone() }),
        };
        let (names, names_others) = inner.refer(&id, named(object, &id.namespace));
        let (refresh_at, is_leaving, object) = (refresh_at(object), is_leaving(object), Kept::new(object));
        inner.resources.insert(uid, Known { id: id.clone(), version: version.as_str().into(), refresh_at, is_leaving, object, names });
        if names_others {
            // What happened to a Secret before it was named was not heard.
            self.wake(id, Happened::Other);
        } else if !inner.own.has(&version) {
            self.wake(id, Happened::Written(version.into()));
        }
    }

    fn remove_resource(&self, inner: &mut Inner, uid: &str) {
        if let Some(Known { id, names, .. }) = inner.resources.remove(uid) {
            inner.forget_names(&id, names.iter());
            self.wake(id, Happened::Other);
        }
    }

    fn apply_secret(&self, inner: &mut Inner, key: &str, seen: Seen) {
        let Some(named) = inner.secrets.get_mut(key) else { return };
        if named.version == seen {
            return;
        }
        named.version = seen.clone();
        let happened = match seen {
            Seen::At(version) if inner.own.has(&version) => return,
            Seen::At(version) => Happened::Written(version),
            // Also if no event had told of it: a pass may have read it there, found it foreign, and wait for its end.
            Seen::Absent | Seen::Unknown => Happened::Other,
        };
        for id in &named.by {
            self.wake(id.clone(), happened.clone());
        }
    }

    fn wake(&self, id: Arc<ResourceId>, happened: Happened) {
        // Nobody listens any more when the process stops.
        let _ = self.wakes.send((id, happened));
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// The resource names these Secrets, and no others any more. The names as all share them, and whether there is one among them that it did not
    /// name before.
    fn refer(&mut self, id: &Arc<ResourceId>, names: Vec<SecretKey>) -> (Box<[SecretKey]>, bool) {
        let before = self.resources.get_mut(&id.uid).map(|known| std::mem::take(&mut known.names)).unwrap_or_default();
        self.forget_names(id, before.iter().filter(|key| !names.contains(key)));
        let mut names_others = false;
        let shared = names.into_iter().map(|key| {
            if let Some(key) = before.iter().find(|it| **it == key) {
                return key.clone();
            }
            names_others = true;
            self.name(id, key)
        });
        (shared.collect(), names_others)
    }

    fn name(&mut self, id: &Arc<ResourceId>, key: SecretKey) -> SecretKey {
        let key = match self.secrets.get_key_value(&key) {
            Some((shared, _)) => shared.clone(),
            None => {
                self.not_in_listings(&key);
                key
            }
        };
        let by = &mut self.secrets.entry(key.clone()).or_default().by;
        if let Err(place) = place_of(id, by) {
            by.insert(place, id.clone());
        }
        key
    }

    /// The resource does not name these Secrets any more.
    fn forget_names<'a>(&mut self, id: &ResourceId, names: impl Iterator<Item = &'a SecretKey>) {
        for key in names {
            if let Some(named) = self.secrets.get_mut(key) {
                if let Ok(place) = place_of(id, &named.by) {
                    named.by.remove(place);
                }
                if named.by.is_empty() {
                    self.secrets.remove(key);
                }
            }
        }
    }

    /// A listing that is under way may have been made, or have passed this Secret, before: it is no proof of its absence. (Nor is one of an API
    /// server that lags behind, but its watch goes on from there, and passes read for themselves.)
    fn not_in_listings(&mut self, key: &SecretKey) {
        for (_, listed) in self.listed.iter_mut().filter(|(scope, _)| scope.of_secrets && scope.covers(namespace_of(key))) {
            listed.insert(key.clone());
        }
    }
}

impl Scope {
    fn covers(&self, namespace: &str) -> bool {
        self.namespace.as_deref().is_none_or(|own| own == namespace)
    }
}

/// When the status says that the token is refreshed.
fn refresh_at(object: &Tolerant<RevoiceitCredential>) -> Option<Timestamp> {
    Some(object.0.as_ref().ok()?.status.as_ref()?.refresh_at.as_ref()?.0)
}

fn is_leaving(object: &Tolerant<RevoiceitCredential>) -> bool {
    object.meta().deletion_timestamp.is_some()
}

/// Where it is, or where it is to be. Thousands may name one Secret, and all be deleted: each is found without going through all.
fn place_of(id: &ResourceId, by: &[Arc<ResourceId>]) -> Result<usize, usize> {
    by.binary_search_by(|other| other.uid.cmp(&id.uid))
}

/// The Secrets that a resource names, each once, its target last.
fn named(object: &Tolerant<RevoiceitCredential>, namespace: &str) -> Vec<SecretKey> {
    let Ok(resource) = &object.0 else { return Vec::new() };
    let mut names = [&resource.spec.credentials_secret_ref.name, &resource.spec.target.name].map(|name| key(namespace, name)).to_vec();
    names.dedup();
    names
}

fn key(namespace: &str, name: &str) -> SecretKey {
    joined(namespace, name).into()
}

fn joined(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
}

/// No namespace has a slash in its name.
fn namespace_of(key: &str) -> &str {
    key.split_once('/').map_or(key, |(namespace, _)| namespace)
}

fn name_of(key: &str) -> &str {
    key.split_once('/').map_or(key, |(_, name)| name)
}

#[cfg(test)]
mod tests;
