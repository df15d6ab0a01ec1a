//! The election in virtual time: several candidates, one Lease, and a wire that can be cut.

use std::sync::{Arc, Mutex};

use k8s_openapi::{api::coordination::v1::LeaseSpec, apimachinery::pkg::apis::meta::v1::MicroTime, jiff::SignedDuration};
use tokio::task::JoinHandle;

use super::*;

/// What the API server has.
#[derive(Default)]
struct Server {
    lease: Mutex<Option<Lease>>,
}

impl Server {
    /// A conditional write as the real server does it, a PUT of an absent Lease included.
    fn put(&self, lease: &Lease) -> Option<Lease> {
        let mut stored = self.lease.lock().expect("not poisoned");
        let current = stored.as_ref().and_then(|lease| lease.metadata.resource_version.clone());
        if current.is_some() && current != lease.metadata.resource_version {
            return None;
        }
        let version = current.map_or(1, |version| version.parse::<u64>().expect("a number") + 1);
        let mut lease = lease.clone();
        lease.metadata.resource_version = Some(version.to_string());
        stored.insert(lease).clone().into()
    }

    fn edit(&self, edit: impl FnOnce(&mut Lease)) {
        let mut lease = self.lease.lock().expect("not poisoned").clone().unwrap_or_default();
        edit(&mut lease);
        self.put(&lease).expect("nobody else writes");
    }

    fn hold(&self, holder: &str, seconds: i32) {
        let spec = LeaseSpec { holder_identity: Some(holder.into()), lease_duration_seconds: Some(seconds), ..LeaseSpec::default() };
        self.edit(|lease| lease.spec = Some(spec));
    }

    fn spec(&self) -> LeaseSpec {
        self.lease.lock().expect("not poisoned").clone().and_then(|lease| lease.spec).expect("there is a lease")
    }
}

/// What is wrong between one candidate and the server.
#[derive(Clone, Copy, Default)]
struct Faults {
    cut: bool,
    refuse: bool,
    /// So many writes take place, and their answer never arrives.
    lose_answers: u32,
    clock_off_by: SignedDuration,
}

#[derive(Clone)]
struct Wire {
    server: Arc<Server>,
    faults: Arc<Mutex<Faults>>,
}

impl Wire {
    fn set(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.faults.lock().expect("not poisoned"));
    }

    async fn send(&self) -> Result<(), kube::Error> {
        sleep(Duration::from_millis(3)).await;
        let faults = *self.faults.lock().expect("not poisoned");
        if faults.cut {
            std::future::pending::<()>().await;
        }
        if faults.refuse { Err(kube::Error::Service("connection refused".into())) } else { Ok(()) }
    }
}

impl Leases for Wire {
    async fn get(&self) -> Result<Option<Lease>, kube::Error> {
        self.send().await?;
        Ok(self.server.lease.lock().expect("not poisoned").clone())
    }

    async fn put(&self, lease: &Lease) -> Result<Option<Lease>, kube::Error> {
        self.send().await?;
        let mut lease = lease.clone();
        let mut lost = false;
        self.set(|faults| {
            let MicroTime(time) = lease.spec.as_mut().and_then(|spec| spec.renew_time.as_mut()).expect("always stated");
            *time += faults.clock_off_by;
            lost = faults.lose_answers > 0;
            faults.lose_answers = faults.lose_answers.saturating_sub(1);
        });
        let written = self.server.put(&lease);
        if lost {
            std::future::pending::<()>().await;
        }
        Ok(written)
    }
}

struct Candidate {
    wire: Wire,
    leadership: Leadership,
    stop: CancellationToken,
    run: JoinHandle<Result<(), Lost>>,
}

impl Candidate {
    fn join(server: &Arc<Server>, me: &str) -> Self {
        Self::join_with(server, me, 15, Faults::default())
    }

    fn join_with(server: &Arc<Server>, me: &str, seconds: u64, faults: Faults) -> Self {
        let wire = Wire { server: server.clone(), faults: Arc::new(Mutex::new(faults)) };
        let timing = Timing::for_lease(Duration::from_secs(seconds)).expect("whole seconds");
        let (elector, leadership) = Elector::new(wire.clone(), me, timing);
        let stop = CancellationToken::new();
        let run = tokio::spawn(elector.run(stop.clone()));
        Self { wire, leadership, stop, run }
    }

    async fn leading(server: &Arc<Server>, me: &str) -> Self {
        let mut candidate = Self::join(server, me);
        candidate.leadership.began().await;
        candidate
    }
}

/// Lets the time pass in small steps, and asserts in each that at most one leads. Returns when each began and ceased to
/// lead, in seconds from now.
async fn watch(seconds: u64, candidates: &[&Candidate]) -> Vec<(Option<f32>, Option<f32>)> {
    let start = Instant::now();
    let mut was: Vec<bool> = candidates.iter().map(|candidate| candidate.leadership.is_leading()).collect();
    let mut changes = vec![(None, None); candidates.len()];
    while start.elapsed() < Duration::from_secs(seconds) {
        sleep(Duration::from_millis(20)).await;
        let is: Vec<bool> = candidates.iter().map(|candidate| candidate.leadership.is_leading()).collect();
        assert!(is.iter().filter(|leads| **leads).count() <= 1, "two leaders after {:?}", start.elapsed());
        for (i, change) in changes.iter_mut().enumerate() {
            let at = Some(start.elapsed().as_secs_f32());
            match (was[i], is[i]) {
                (false, true) => change.0 = at,
                (true, false) => change.1 = at,
                _ => {}
            }
        }
        was = is;
    }
    changes
}

fn between(value: Option<f32>, from: f32, to: f32) -> bool {
    value.is_some_and(|value| (from..=to).contains(&value))
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_steps_down_before_another_leads() {
    for refuse in [false, true] {
        let server = Arc::new(Server::default());
        let old = Candidate::leading(&server, "old").await;
        let new = Candidate::join(&server, "new");
        assert_eq!(watch(20, &[&old, &new]).await, [(None, None), (None, None)]);

        old.wire.set(|faults| (faults.cut, faults.refuse) = (!refuse, refuse));
        let changes = watch(20, &[&old, &new]).await;
        assert!(between(changes[0].1, 7.9, 10.1), "{changes:?}");
        assert!(between(changes[1].0, 13.0, 17.1), "{changes:?}");
        let lost = old.run.await.expect("no panic").expect_err("it was lost");
        let trouble = if refuse { "connection refused" } else { "no answer within 5s" };
        assert_eq!(lost.to_string(), format!("leadership lost: the lease was not renewed for 10s ({trouble})"));
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_gets_lost_loses_nothing() {
    let server = Arc::new(Server::default());
    let one = Faults { lose_answers: 1, ..Faults::default() };
    let leader = Candidate::join_with(&server, "leader", 15, one);
    let standby = Candidate::join(&server, "standby");
    // Already the first write is one without an answer: the lease is ours, and found out about when it is read again.
    let changes = watch(30, &[&leader, &standby]).await;
    assert!(between(changes[0].0, 5.0, 5.1), "{changes:?}");
    assert_eq!(changes[1], (None, None));

    for _ in 0..3 {
        leader.wire.set(|faults| faults.lose_answers = 1);
        assert_eq!(watch(30, &[&leader, &standby]).await, [(None, None), (None, None)]);
    }
    assert_eq!(server.spec().lease_transitions, Some(0));
}

#[tokio::test(start_paused = true)]
async fn one_call_that_hangs_is_tried_again_in_time() {
    let server = Arc::new(Server::default());
    let leader = Candidate::leading(&server, "leader").await;
    leader.wire.set(|faults| faults.cut = true);
    watch(6, &[&leader]).await;
    leader.wire.set(|faults| faults.cut = false);
    assert_eq!(watch(60, &[&leader]).await, [(None, None)]);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_released_is_taken_within_two_seconds() {
    let server = Arc::new(Server::default());
    let old = Candidate::leading(&server, "old").await;
    let new = Candidate::join(&server, "new");
    watch(33, &[&old, &new]).await;

    old.stop.cancel();
    let changes = watch(5, &[&old, &new]).await;
    assert!(between(changes[0].1, 0.0, 0.03), "{changes:?}");
    assert!(between(changes[1].0, 0.0, 2.03), "{changes:?}");
    assert!(old.run.await.expect("no panic").is_ok());
    assert_eq!(server.spec().lease_transitions, Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_release_that_gets_no_answer_holds_the_process_up_for_two_seconds() {
    let server = Arc::new(Server::default());
    let mut leader = Candidate::leading(&server, "leader").await;
    leader.wire.set(|faults| faults.cut = true);
    leader.stop.cancel();
    let start = Instant::now();
    leader.leadership.ended().await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert!(leader.run.await.expect("no panic").is_ok());
    assert_eq!(start.elapsed().as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_standby_has_nothing_to_release_and_ends_at_once() {
    let server = Arc::new(Server::default());
    server.hold("other", 15);
    let standby = Candidate::join_with(&server, "standby", 15, Faults { cut: true, ..Faults::default() });
    watch(3, &[&standby]).await;
    standby.stop.cancel();
    let start = Instant::now();
    assert!(standby.run.await.expect("no panic").is_ok());
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn what_was_written_without_an_answer_is_released_all_the_same() {
    let server = Arc::new(Server::default());
    let candidate = Candidate::join_with(&server, "candidate", 15, Faults { lose_answers: 1, ..Faults::default() });
    watch(1, &[&candidate]).await;
    assert_eq!(server.spec().holder_identity.as_deref(), Some("candidate"));
    candidate.stop.cancel();
    assert!(candidate.run.await.expect("no panic").is_ok());
    assert_eq!(server.spec().holder_identity.as_deref(), Some(""));
}

#[tokio::test(start_paused = true)]
async fn of_candidates_that_race_one_leads() {
    let server = Arc::new(Server::default());
    let candidates: Vec<Candidate> = (0..8).map(|i| Candidate::join(&server, &format!("c{i}"))).collect();
    let candidates: Vec<&Candidate> = candidates.iter().collect();
    let changes = watch(60, &candidates).await;
    assert_eq!(changes.iter().filter(|(began, _)| began.is_some()).count(), 1, "{changes:?}");
    assert!(changes.iter().all(|(_, ceased)| ceased.is_none()), "{changes:?}");
}

#[tokio::test(start_paused = true)]
async fn the_lease_of_a_process_that_crashed_is_taken_when_it_has_run_out() {
    let server = Arc::new(Server::default());
    server.hold("crashed", 15);
    let (a, b) = (Candidate::join(&server, "a"), Candidate::join(&server, "b"));
    let changes = watch(30, &[&a, &b]).await;
    let began = changes.iter().find_map(|(began, _)| *began);
    assert!(between(began, 15.0, 17.1), "{changes:?}");
    assert_eq!(server.spec().lease_transitions, Some(1));
}

#[tokio::test(start_paused = true)]
async fn clocks_that_differ_do_not_matter() {
    for hours in [-24, -1, 1, 24] {
        let server = Arc::new(Server::default());
        let off = Faults { clock_off_by: SignedDuration::from_hours(hours), ..Faults::default() };
        let leader = Candidate::join_with(&server, "leader", 15, off);
        watch(1, &[&leader]).await;
        let standby = Candidate::join(&server, "standby");
        assert_eq!(watch(60, &[&leader, &standby]).await, [(None, None), (None, None)], "{hours} hours off");
        leader.wire.set(|faults| faults.cut = true);
        let changes = watch(20, &[&leader, &standby]).await;
        assert!(between(changes[1].0, 13.0, 17.1), "{hours} hours off: {changes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn leadership_ends_by_itself_when_the_elector_is_stuck() {
    let server = Arc::new(Server::default());
    let mut leader = Candidate::leading(&server, "leader").await;
    leader.run.abort();
    let start = Instant::now();
    leader.leadership.ended().await;
    // Counted from the start of the request, whose answer took 3 ms.
    assert!(between(Some(start.elapsed().as_secs_f32()), 9.99, 9.998), "{:?}", start.elapsed());
    assert!(!leader.leadership.is_leading());
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_finds_another_in_the_lease_steps_down() {
    let server = Arc::new(Server::default());
    let leader = Candidate::leading(&server, "leader").await;
    server.hold("usurper", 15);
    watch(3, &[&leader]).await;
    assert_eq!(leader.run.await.expect("no panic").expect_err("lost").to_string(), "leadership lost: the lease is held by usurper");
    assert_eq!(server.spec().holder_identity.as_deref(), Some("usurper"));
}

#[tokio::test(start_paused = true)]
async fn a_leader_survives_the_deletion_of_the_lease_and_edits_beside_the_spec() {
    let server = Arc::new(Server::default());
    let leader = Candidate::leading(&server, "leader").await;
    *server.lease.lock().expect("not poisoned") = None;
    assert_eq!(watch(15, &[&leader]).await, [(None, None)]);
    server.edit(|lease| lease.metadata.labels = Some([("team".to_owned(), "a".to_owned())].into()));
    assert_eq!(watch(15, &[&leader]).await, [(None, None)]);
    assert!(server.lease.lock().expect("not poisoned").as_ref().is_some_and(|lease| lease.metadata.labels.is_some()));
}

#[tokio::test(start_paused = true)]
async fn a_short_lease_makes_everything_faster() {
    let server = Arc::new(Server::default());
    let old = Candidate::join_with(&server, "old", 3, Faults::default());
    watch(1, &[&old]).await;
    let new = Candidate::join_with(&server, "new", 3, Faults::default());
    watch(10, &[&old, &new]).await;
    old.wire.set(|faults| faults.cut = true);
    let changes = watch(5, &[&old, &new]).await;
    assert!(between(changes[0].1, 1.5, 2.1) && between(changes[1].0, 2.5, 3.5), "{changes:?}");
}

#[tokio::test(start_paused = true)]
async fn without_an_election_one_leads_without_end() {
    let mut leadership = Leadership::always();
    leadership.began().await;
    assert!(timeout(Duration::from_secs(3600), leadership.ended()).await.is_err());
    assert!(leadership.is_leading());
}

/// Whoever may write the Lease can write a time into it that there is not.
#[test]
fn a_lease_that_cannot_be_understood_is_nobodys() {
    let read = |time: &str| {
        let spec = serde_json::json!({ "holderIdentity": "other", "leaseDurationSeconds": 15, "renewTime": time });
        let managers = serde_json::json!([{ "manager": "x", "time": time }]);
        let metadata = serde_json::json!({ "name": "lease", "resourceVersion": "7", "managedFields": managers });
        understood(serde_json::from_value(serde_json::json!({ "metadata": metadata, "spec": spec })).expect("it never fails on an object"))
    };
    let decided = |lease: &Lease| {
        let seen = Sighting { lease: lease.clone(), since: Instant::now() };
        lease::decide("me", Some(&seen), Instant::now(), &Timing::for_lease(Duration::from_secs(15)).expect("whole seconds"))
    };
    let fine = read("2026-01-01T08:00:00.000000Z");
    assert_eq!(decided(&fine), Decision::Wait);
    let broken = read("9999-12-31T23:59:59.000000Z");
    assert_eq!((decided(&broken), broken.metadata.resource_version.as_deref()), (Decision::Take, Some("7")));
}
