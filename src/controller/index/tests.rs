//! What wakes whom.

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
