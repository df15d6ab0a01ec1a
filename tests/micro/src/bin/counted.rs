//! Does a kind of work so often, for the guard to count what it takes: `counted pass-new 30`.

use std::{hint::black_box, time::Duration};

use kube::runtime::watcher::Event;
use micro::{life::Life, passes, texts};
use revoiceit_operator::{
    api::RevoiceitCredential,
    controller::{Scope, Watched},
    runtime::tolerant::Tolerant,
};

fn main() {
    let mut args = std::env::args().skip(1);
    let (Some(work), Some(times)) = (args.next(), args.next().and_then(|times| times.parse::<usize>().ok())) else {
        panic!("usage: counted WORK TIMES")
    };
    match work.as_str() {
        "plan-new" => repeat(times, || {
            Life::default().pass();
        }),
        "plan-rest" => {
            let mut life = Life::served().later(Duration::from_secs(60));
            repeat(times, || {
                life.pass();
            });
        }
        "plan-refresh" => {
            let life = Life::served().later(Duration::from_secs(50 * 60));
            repeat(times, || {
                life.clone().pass();
            });
        }
        "record-parse" => {
            let (life, json) = (Life::served(), texts::record());
            repeat(times, || {
                black_box(life.parse(&json));
            });
        }
        "record-render" => {
            let life = Life::served();
            repeat(times, || {
                black_box(texts::render(life.record()));
            });
        }
        "resource-read" => {
            let json = texts::resource();
            repeat(times, || {
                black_box(serde_json::from_slice::<Tolerant<RevoiceitCredential>>(&json).is_ok());
            });
        }
        "index" => {
            let json = texts::resource();
            let (watched, wakes) = Watched::new();
            // Nobody listens: what is told is no part of what is kept.
            drop(wakes);
            let scope = Scope { of_secrets: false, namespace: None };
            for number in 0..times {
                watched.on_resource(&scope, Event::Apply(texts::numbered(&json, number)));
            }
            // It is counted at the end, like what an operator keeps for as long as it runs.
            std::mem::forget(watched);
        }
        "pass-new" => block_on(async {
            passes::new_resources(times).await;
        }),
        "pass-new-and-rest" => block_on(async {
            let server = passes::new_resources(times).await;
            passes::looked_at_again(&server, times).await;
        }),
        other => panic!("no work is called {other}"),
    }
}

fn repeat(times: usize, mut work: impl FnMut()) {
    for _ in 0..times {
        work();
    }
}

/// On one thread, so that nothing is done twice or in another order.
fn block_on(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(work);
}
