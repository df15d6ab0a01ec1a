//! Who is let through when, alone and in a crowd, in virtual time.

mod crowd;

use futures::{FutureExt, future::join_all};

use super::*;

const LIMITS: Limits = Limits { qps: 10, burst: 4, in_flight: 8 };

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("in range")
}

fn order(core: &mut Core<&'static str>, now: Instant) -> Vec<&'static str> {
    std::iter::from_fn(|| core.admit(now)).map(|(_, name)| name).collect()
}

#[tokio::test(start_paused = true)]
async fn calls_are_served_by_deadline_and_among_equals_by_arrival() {
    let now = Instant::now();
    let mut core = Core::new(LIMITS, now);
    for (deadline, name) in [(30, "late"), (10, "first"), (20, "second"), (20, "third")] {
        core.arrive(at(deadline), Lane::Refresh, name);
    }
    assert_eq!(order(&mut core, now), ["first", "second", "third", "late"]);
}

#[tokio::test(start_paused = true)]
async fn the_burst_is_served_at_once_and_the_rest_at_the_rate() {
    let now = Instant::now();
    let mut core = Core::new(Limits { in_flight: 100, ..LIMITS }, now);
    for _ in 0..10 {
        core.arrive(at(0), Lane::Refresh, "call");
    }
    assert_eq!(order(&mut core, now).len(), 4);
    assert_eq!(core.opens_at(), Some(now + Duration::from_millis(101)));
    assert_eq!(order(&mut core, now + Duration::from_millis(101)).len(), 1);
    assert_eq!(order(&mut core, now + Duration::from_millis(401)).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn no_endpoint_that_hangs_starves_another() {
    let now = Instant::now();
    let mut core = Core::new(Limits { qps: 1000, burst: 1000, in_flight: 8 }, now);
    for _ in 0..20 {
        core.arrive(at(0), Lane::Issue, "issue");
        core.arrive(at(0), Lane::Revoke, "revoke");
    }
    core.arrive(at(99), Lane::Refresh, "refresh");
    assert_eq!(core.waiting.each_ref().map(BTreeMap::len), [20, 1, 20]);
    let mut served = order(&mut core, now);
    served.sort_unstable();
    assert_eq!(served, ["issue", "issue", "issue", "issue", "refresh", "revoke", "revoke"]);
    core.leave(Lane::Revoke);
    assert_eq!(order(&mut core, now), ["revoke"]);
}

#[tokio::test(start_paused = true)]
async fn refreshes_that_hang_leave_places_to_the_others() {
    let now = Instant::now();
    let mut core = Core::new(Limits { qps: 1000, burst: 1000, in_flight: 8 }, now);
    for _ in 0..20 {
        core.arrive(at(0), Lane::Refresh, "refresh");
    }
    assert_eq!(order(&mut core, now), ["refresh"; 6]);
    core.arrive(at(99), Lane::Revoke, "revoke");
    core.arrive(at(98), Lane::Issue, "issue");
    assert_eq!(order(&mut core, now), ["issue", "revoke"]);
}

#[tokio::test(start_paused = true)]
async fn two_endpoints_that_hang_do_not_starve_the_third() {
    let now = Instant::now();
    for in_flight in [4, 5, 8, 16, 256] {
        for idle in LANES {
            let mut core = Core::new(Limits { qps: 10_000, burst: 10_000, in_flight }, now);
            for lane in LANES.into_iter().filter(|lane| *lane != idle) {
                for _ in 0..256 {
                    core.arrive(at(0), lane, "hangs");
                }
            }
            assert!(order(&mut core, now).len() >= 2, "{in_flight}");
            for _ in 0..3 {
                core.arrive(at(99), idle, "served");
                assert_eq!(order(&mut core, now), ["served"], "{idle:?} of {in_flight}");
                core.leave(idle);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_is_full_is_passed_over_and_its_first_is_the_next_when_a_place_is_free() {
    let now = Instant::now();
    let mut core = Core::new(Limits { qps: 1000, burst: 1000, in_flight: 4 }, now);
    for (deadline, lane, name) in
        [(1, Lane::Revoke, "first"), (2, Lane::Revoke, "second"), (3, Lane::Issue, "third"), (4, Lane::Refresh, "fourth")]
    {
        core.arrive(at(deadline), lane, name);
    }
    assert_eq!(order(&mut core, now), ["first", "third", "fourth"]);
    core.arrive(at(9), Lane::Issue, "fifth");
    core.leave(Lane::Revoke);
    assert_eq!(order(&mut core, now), ["second", "fifth"]);
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_is_asked_for_while_calls_wait_holds_each_of_them_up() {
    let gate = Gate::new(Limits { qps: 1000, burst: 1, in_flight: 16 });
    let held = gate.wait(at(0), Lane::Refresh).await;
    let began = Instant::now();
    let calls = LANES.into_iter().map(|lane| {
        let gate = gate.clone();
        async move {
            drop(gate.wait(at(0), lane).await);
            began.elapsed()
        }
    });
    let calls = tokio::spawn(join_all(calls));
    tokio::task::yield_now().await;
    gate.pause(Duration::from_secs(7));
    drop(held);
    for waited in calls.await.expect("they are served") {
        assert!((Duration::from_secs(7)..Duration::from_millis(7100)).contains(&waited), "{waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_for_all_and_for_a_minute_at_most() {
    let now = Instant::now();
    let mut core = Core::new(LIMITS, now);
    core.pause(Duration::from_secs(3600), now);
    core.pause(Duration::from_secs(1), now);
    core.arrive(at(0), Lane::Refresh, "call");
    assert_eq!(order(&mut core, now + Duration::from_millis(59_999)), [""; 0]);
    assert_eq!(core.opens_at(), Some(now + MAX_PAUSE));
    assert_eq!(order(&mut core, now + MAX_PAUSE), ["call"]);
}

#[tokio::test(start_paused = true)]
async fn all_who_wait_come_through_in_time() {
    let gate = Gate::new(LIMITS);
    let began = Instant::now();
    let calls = (0..40).map(|_| async { drop(gate.wait(at(0), Lane::Refresh).await) });
    join_all(calls).await;
    let took = began.elapsed();
    assert!((Duration::from_millis(3600)..Duration::from_millis(3800)).contains(&took), "{took:?}");
    assert_eq!((gate.depth(Lane::Refresh), gate.lock().core.held), (0, [0; 3]));
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_waiting_leaves_no_trace() {
    let gate = Gate::new(Limits { qps: 1, burst: 1, in_flight: 4 });
    assert!(gate.is_free(Lane::Issue));
    let permit = gate.wait(at(0), Lane::Issue).await;
    assert!(!gate.is_free(Lane::Issue));
    let mut gone = Box::pin(gate.wait(at(0), Lane::Issue));
    assert!((&mut gone).now_or_never().is_none());
    assert_eq!(gate.depth(Lane::Issue), 1);
    drop(gone);
    assert_eq!(gate.depth(Lane::Issue), 0);
    drop(permit);
    let began = Instant::now();
    drop(gate.wait(at(0), Lane::Issue).await);
    assert!(began.elapsed() <= Duration::from_millis(1001), "{:?}", began.elapsed());
    assert_eq!(gate.lock().core.held, [0; 3]);
}

#[tokio::test(start_paused = true)]
async fn a_permit_that_nobody_takes_any_more_is_passed_on() {
    let gate = Gate::new(Limits { qps: 1000, burst: 1000, in_flight: 4 });
    let held = gate.wait(at(0), Lane::Revoke).await;
    let mut first = Box::pin(gate.wait(at(1), Lane::Revoke));
    assert!((&mut first).now_or_never().is_none());
    let clone = gate.clone();
    let second = tokio::spawn(async move { drop(clone.wait(at(2), Lane::Revoke).await) });
    tokio::task::yield_now().await;
    // The permit is on its way to the first when it gives up.
    drop(held);
    drop(first);
    second.await.expect("it is served");
    assert_eq!(gate.lock().core.held, [0; 3]);
}
