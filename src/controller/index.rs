//! What the watches know: the resources, and the versions of the Secrets that they name.
//!
//! Of Secrets there is no store. Only names that some resource refers to are kept, each with its last resourceVersion; all else is dropped on
//! arrival. Memory does not grow with other people's Secrets, and no value of one is ever in here.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kube::{ResourceExt, runtime::watcher::Event};
use tokio::sync::mpsc;

use super::{queue::Happened, tolerant::Tolerant};
use crate::{api::RevoiceitCredential, planner::ResourceId};

/// So many of the operator's own writes are known again when their events come. Events come within milliseconds of a write.
const OWN: usize = 8192;

/// A key that something happened to.
pub(super) type Wake = (Arc<ResourceId>, Happened);

/// A Secret's namespace and name.
type SecretKey = (String, String);

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
    listed: HashMap<Scope, HashSet<String>>,
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
    object: Arc<Tolerant<RevoiceitCredential>>,
    names: Vec<SecretKey>,
}

#[derive(Debug, Default)]
struct Named {
    by: HashSet<String>,
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

/// The versions that the operator wrote last.
#[derive(Debug, Default)]
struct Own {
    versions: HashSet<Arc<str>>,
    order: VecDeque<Arc<str>>,
}

impl Own {
    fn add(&mut self, version: Arc<str>) {
        if self.versions.insert(version.clone()) {
            self.order.push_back(version);
        }
        if self.order.len() > OWN
            && let Some(oldest) = self.order.pop_front()
        {
            self.versions.remove(&oldest);
        }
    }
}

impl Watched {
    /// Nothing known yet. Whoever serves the queue reads the wakes from the other end.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Wake>) {
        let (wakes, receiver) = mpsc::unbounded_channel();
        (Self { inner: Mutex::default(), wakes }, receiver)
    }

    /// The resource with this UID, as the watch saw it last.
    pub fn resource(&self, uid: &str) -> Option<Arc<Tolerant<RevoiceitCredential>>> {
        self.lock().resources.get(uid).map(|known| known.object.clone())
    }

    /// Every resource that there is.
    pub fn ids(&self) -> Vec<Arc<ResourceId>> {
        self.lock().resources.values().map(|known| known.id.clone()).collect()
    }

    /// What is known of a Secret that some resource names.
    pub fn secret(&self, namespace: &str, name: &str) -> Seen {
        self.lock().secrets.get(&key(namespace, name)).map_or(Seen::Unknown, |named| named.version.clone())
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
            && known.object.resource_version().as_deref() == from
        {
            known.object = Arc::new(without_copy(written.clone()));
        }
    }

    /// Whether the operator wrote this version.
    pub fn is_own(&self, version: &str) -> bool {
        self.lock().own.versions.contains(version)
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
                inner.listed.entry(scope.clone()).or_default().insert(uid);
                self.apply_resource(&mut inner, object);
            }
            Event::InitDone => {
                let listed = inner.listed.remove(scope).unwrap_or_default();
                let gone = |known: &Known| scope.covers(&known.id.namespace) && !listed.contains(&known.id.uid);
                let gone: Vec<String> = inner.resources.values().filter(|known| gone(known)).map(|known| known.id.uid.clone()).collect();
                for uid in gone {
                    self.remove_resource(&mut inner, &uid);
                }
            }
            Event::Apply(object) => self.apply_resource(&mut inner, object),
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
                let key = (namespace, name);
                if inner.secrets.contains_key(&key) {
                    inner.listed.entry(scope.clone()).or_default().insert(joined(&key));
                    self.apply_secret(&mut inner, &key, Seen::At(version.into()));
                }
            }
            Event::InitDone => {
                let listed = inner.listed.remove(scope).unwrap_or_default();
                let absent = |key: &SecretKey| scope.covers(&key.0) && !listed.contains(&joined(key));
                let absent: Vec<SecretKey> = inner.secrets.keys().filter(|key| absent(key)).cloned().collect();
                for key in absent {
                    self.apply_secret(&mut inner, &key, Seen::Absent);
                }
            }
            Event::Apply((namespace, name, version)) => self.apply_secret(&mut inner, &(namespace, name), Seen::At(version.into())),
            Event::Delete((namespace, name, _)) => self.apply_secret(&mut inner, &(namespace, name), Seen::Absent),
        }
    }

    fn apply_resource(&self, inner: &mut Inner, object: Tolerant<RevoiceitCredential>) {
        let object = without_copy(object);
        let (Some(uid), Some(namespace)) = (object.uid(), object.namespace()) else { return };
        let version = object.resource_version().unwrap_or_default();
        let id = match inner.resources.get(&uid) {
            Some(known) if known.object.resource_version().as_deref() == Some(&version) => return,
            Some(known) => known.id.clone(),
            None => Arc::new(ResourceId { namespace, name: object.name_any(), uid: uid.clone() }),
        };
        let names = named(&object, &id.namespace);
        let names_others = inner.refer(&uid, &names);
        inner.resources.insert(uid, Known { id: id.clone(), object: Arc::new(object), names });
        if names_others {
            // What happened to a Secret before it was named was not heard.
            self.wake(id, Happened::Other);
        } else if !inner.own.versions.contains(version.as_str()) {
            self.wake(id, Happened::Written(version.into()));
        }
    }

    fn remove_resource(&self, inner: &mut Inner, uid: &str) {
        inner.refer(uid, &[]);
        if let Some(known) = inner.resources.remove(uid) {
            self.wake(known.id, Happened::Other);
        }
    }

    fn apply_secret(&self, inner: &mut Inner, key: &SecretKey, seen: Seen) {
        let Some(named) = inner.secrets.get_mut(key) else { return };
        if named.version == seen {
            return;
        }
        named.version = seen.clone();
        let happened = match seen {
            Seen::At(version) if inner.own.versions.contains(&version) => return,
            Seen::At(version) => Happened::Written(version),
            // Also if no event had told of it: a pass may have read it there, found it foreign, and wait for its end.
            Seen::Absent | Seen::Unknown => Happened::Other,
        };
        for known in named.by.iter().filter_map(|uid| inner.resources.get(uid)) {
            self.wake(known.id.clone(), happened.clone());
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
    /// The resource names these Secrets, and no others any more. Whether there is one among them that it did not name before.
    fn refer(&mut self, uid: &str, names: &[SecretKey]) -> bool {
        let before = self.resources.get(uid).map(|known| known.names.clone()).unwrap_or_default();
        for key in before.iter().filter(|key| !names.contains(key)) {
            if let Some(named) = self.secrets.get_mut(key) {
                named.by.remove(uid);
                if named.by.is_empty() {
                    self.secrets.remove(key);
                }
            }
        }
        for key in names {
            if !self.secrets.contains_key(key) {
                self.not_in_listings(key);
            }
            self.secrets.entry(key.clone()).or_default().by.insert(uid.to_owned());
        }
        names.iter().any(|key| !before.contains(key))
    }

    /// A listing that is under way may have been made, or have passed this Secret, before: it is no proof of its absence.
    fn not_in_listings(&mut self, key: &SecretKey) {
        for (_, listed) in self.listed.iter_mut().filter(|(scope, _)| scope.of_secrets && scope.covers(&key.0)) {
            listed.insert(joined(key));
        }
    }
}

impl Scope {
    fn covers(&self, namespace: &str) -> bool {
        self.namespace.as_deref().is_none_or(|own| own == namespace)
    }
}

/// Without the annotation that repeats the whole object, in text.
fn without_copy(mut object: Tolerant<RevoiceitCredential>) -> Tolerant<RevoiceitCredential> {
    object.annotations_mut().remove("kubectl.kubernetes.io/last-applied-configuration");
    object
}

/// The Secrets that a resource names.
fn named(object: &Tolerant<RevoiceitCredential>, namespace: &str) -> Vec<SecretKey> {
    let Ok(resource) = &object.0 else { return Vec::new() };
    [&resource.spec.credentials_secret_ref.name, &resource.spec.target.name].map(|name| key(namespace, name)).into()
}

fn key(namespace: &str, name: &str) -> SecretKey {
    (namespace.to_owned(), name.to_owned())
}

fn joined((namespace, name): &SecretKey) -> String {
    format!("{namespace}/{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: fn(bool) -> Scope = |of_secrets| Scope { of_secrets, namespace: None };

    fn credential(name: &str, version: &str) -> Tolerant<RevoiceitCredential> {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "revoiceit.com/v1", "kind": "RevoiceitCredential",
            "metadata": { "name": name, "namespace": "ns", "uid": name, "resourceVersion": version },
            "spec": { "credentialsSecretRef": { "name": "client" }, "target": { "name": format!("{name}-token") } },
        }))
        .expect("an object")
    }

    fn secret(name: &str, version: &str) -> (String, String, String) {
        ("ns".into(), name.into(), version.into())
    }

    fn woken(wakes: &mut mpsc::UnboundedReceiver<Wake>) -> Vec<String> {
        let mut names: Vec<String> = std::iter::from_fn(|| wakes.try_recv().ok()).map(|(id, _)| id.name.clone()).collect();
        names.sort();
        names
    }

    fn with_two() -> (Watched, mpsc::UnboundedReceiver<Wake>) {
        let (watched, mut wakes) = Watched::new();
        watched.on_resource(&ALL(false), Event::Init);
        for name in ["a", "b"] {
            watched.on_resource(&ALL(false), Event::InitApply(credential(name, "1")));
        }
        watched.on_resource(&ALL(false), Event::InitDone);
        watched.on_secret(&ALL(true), Event::Init);
        watched.on_secret(&ALL(true), Event::InitApply(secret("client", "2")));
        watched.on_secret(&ALL(true), Event::InitApply(secret("stranger", "3")));
        watched.on_secret(&ALL(true), Event::InitDone);
        woken(&mut wakes);
        (watched, wakes)
    }

    #[test]
    fn a_secret_wakes_every_resource_that_names_it_and_a_stranger_none() {
        let (watched, mut wakes) = with_two();
        watched.on_secret(&ALL(true), Event::Apply(secret("client", "4")));
        assert_eq!(woken(&mut wakes), ["a", "b"]);
        watched.on_secret(&ALL(true), Event::Apply(secret("a-token", "5")));
        assert_eq!(woken(&mut wakes), ["a"]);
        watched.on_secret(&ALL(true), Event::Delete(secret("a-token", "6")));
        assert_eq!(woken(&mut wakes), ["a"]);
        watched.on_secret(&ALL(true), Event::Apply(secret("stranger", "7")));
        assert_eq!(woken(&mut wakes), [""; 0]);
        assert_eq!(watched.secret("ns", "stranger"), Seen::Unknown);
        assert_eq!((watched.secret("ns", "client"), watched.secret("ns", "b-token")), (Seen::At("4".into()), Seen::Absent));
    }

    #[test]
    fn the_end_of_a_secret_that_was_there_before_its_name_was_known_wakes_too() {
        let (watched, mut wakes) = with_two();
        watched.on_resource(&ALL(false), Event::Apply(credential("c", "11")));
        assert_eq!(woken(&mut wakes), ["c"]);
        watched.on_secret(&ALL(true), Event::Delete(secret("c-token", "12")));
        assert_eq!(woken(&mut wakes), ["c"]);
    }

    #[test]
    fn a_listing_that_says_nothing_new_wakes_nobody() {
        let (watched, mut wakes) = with_two();
        watched.on_resource(&ALL(false), Event::Init);
        watched.on_resource(&ALL(false), Event::InitApply(credential("a", "1")));
        watched.on_resource(&ALL(false), Event::InitApply(credential("b", "1")));
        watched.on_resource(&ALL(false), Event::InitDone);
        watched.on_secret(&ALL(true), Event::Init);
        watched.on_secret(&ALL(true), Event::InitApply(secret("client", "2")));
        watched.on_secret(&ALL(true), Event::InitDone);
        assert_eq!(woken(&mut wakes), [""; 0]);
    }

    #[test]
    fn what_a_listing_lacks_is_gone() {
        let (watched, mut wakes) = with_two();
        watched.on_secret(&ALL(true), Event::Init);
        watched.on_secret(&ALL(true), Event::InitDone);
        assert_eq!(woken(&mut wakes), ["a", "b"]);
        watched.on_resource(&ALL(false), Event::Init);
        watched.on_resource(&ALL(false), Event::InitApply(credential("b", "1")));
        watched.on_resource(&ALL(false), Event::InitDone);
        assert_eq!(woken(&mut wakes), ["a"]);
        assert!(watched.resource("a").is_none());
    }

    #[test]
    fn own_writes_wake_nobody() {
        let (watched, mut wakes) = with_two();
        watched.wrote_secret("ns", "a-token", "8");
        watched.on_secret(&ALL(true), Event::Apply(secret("a-token", "8")));
        watched.wrote_resource(Some("1"), &credential("a", "9"));
        watched.on_resource(&ALL(false), Event::Apply(credential("a", "9")));
        assert_eq!(woken(&mut wakes), [""; 0]);
        watched.on_resource(&ALL(false), Event::Apply(credential("a", "10")));
        assert_eq!(woken(&mut wakes), ["a"]);
    }

    #[test]
    fn an_own_patch_is_known_before_its_event_and_never_takes_the_place_of_a_later_version() {
        let (watched, _wakes) = with_two();
        let version = || watched.resource("a").and_then(|resource| resource.resource_version());
        watched.wrote_resource(Some("1"), &credential("a", "9"));
        assert_eq!(version().as_deref(), Some("9"));
        watched.on_resource(&ALL(false), Event::Apply(credential("a", "11")));
        watched.wrote_resource(Some("9"), &credential("a", "10"));
        assert_eq!(version().as_deref(), Some("11"));
        watched.on_resource(&ALL(false), Event::Delete(credential("a", "12")));
        watched.wrote_resource(Some("11"), &credential("a", "12"));
        assert_eq!(version(), None);
    }

    #[test]
    fn a_secret_that_is_named_late_is_unknown_until_it_is_read_and_forgotten_with_its_last_name() {
        let (watched, mut wakes) = with_two();
        watched.on_resource(&ALL(false), Event::Apply(credential("c", "11")));
        assert_eq!(watched.secret("ns", "c-token"), Seen::Unknown);
        watched.read_secret("ns", "c-token", Seen::At("12".into()));
        watched.read_secret("ns", "c-token", Seen::At("1".into()));
        assert_eq!(watched.secret("ns", "c-token"), Seen::At("12".into()));
        watched.on_resource(&ALL(false), Event::Delete(credential("c", "13")));
        assert_eq!(woken(&mut wakes), ["c", "c"]);
        assert!(!watched.lock().secrets.contains_key(&key("ns", "c-token")));
        assert!(watched.lock().secrets.contains_key(&key("ns", "client")));
    }

    #[test]
    fn a_listing_is_no_proof_against_what_came_up_after_it_began() {
        let (watched, mut wakes) = with_two();
        watched.on_secret(&ALL(true), Event::Init);
        watched.on_secret(&ALL(true), Event::InitApply(secret("client", "2")));
        // Its Secrets were passed over as strangers, or exist only since the server made the list.
        watched.on_resource(&ALL(false), Event::Apply(credential("c", "14")));
        watched.read_secret("ns", "c-token", Seen::At("13".into()));
        watched.wrote_secret("ns", "b-token", "15");
        woken(&mut wakes);
        watched.on_secret(&ALL(true), Event::InitDone);
        assert_eq!(woken(&mut wakes), [""; 0]);
        assert_eq!((watched.secret("ns", "c-token"), watched.secret("ns", "b-token")), (Seen::At("13".into()), Seen::At("15".into())));
    }

    #[test]
    fn a_secret_that_is_named_for_the_first_time_by_an_own_write_is_looked_at() {
        let (watched, mut wakes) = with_two();
        let mut edited = credential("a", "16");
        edited.0.as_mut().expect("readable").spec.credentials_secret_ref.name = "other".into();
        watched.wrote_resource(None, &edited);
        watched.on_resource(&ALL(false), Event::Apply(edited));
        assert_eq!(woken(&mut wakes), ["a"]);
    }

    #[test]
    fn a_listing_that_is_begun_anew_forgets_what_the_first_one_saw() {
        let (watched, mut wakes) = with_two();
        watched.on_secret(&ALL(true), Event::Init);
        watched.on_secret(&ALL(true), Event::InitApply(secret("client", "2")));
        watched.on_secret(&ALL(true), Event::Init);
        watched.on_secret(&ALL(true), Event::InitDone);
        assert_eq!(woken(&mut wakes), ["a", "b"]);
        assert_eq!(watched.secret("ns", "client"), Seen::Absent);
    }

    #[test]
    fn a_namespaces_listing_says_nothing_of_another_namespace() {
        let (watched, mut wakes) = with_two();
        let other = |of_secrets| Scope { of_secrets, namespace: Some("other".into()) };
        for scope in [other(false), other(true)] {
            watched.on_resource(&scope, Event::Init);
            watched.on_resource(&scope, Event::InitDone);
            watched.on_secret(&scope, Event::Init);
            watched.on_secret(&scope, Event::InitDone);
        }
        assert_eq!(woken(&mut wakes), [""; 0]);
        assert!(watched.resource("a").is_some());
    }

    #[test]
    fn only_so_many_own_writes_are_remembered() {
        let (watched, _wakes) = with_two();
        for version in 0..=OWN {
            watched.wrote_resource(None, &credential("c", &version.to_string()));
        }
        assert!(!watched.is_own("0") && watched.is_own("1"));
    }
}
