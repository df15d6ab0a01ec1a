//! How long a pass of the planner takes, and what is read and written in it: `cargo bench --package revoiceit-micro`.
#![allow(missing_docs, reason = "criterion's macros make functions without")]

use std::{hint::black_box, time::Duration};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use k8s_openapi::api::core::v1::Secret;
use micro::{life::Life, texts};
use revoiceit_operator::{api::RevoiceitCredential, runtime::tolerant::Tolerant};

fn planner(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("plan and fold");
    group.bench_function("a new resource", |bencher| bencher.iter_batched(Life::default, |mut life| life.pass(), BatchSize::SmallInput));
    let rested = Life::served().later(Duration::from_secs(60));
    group.bench_function("at rest", |bencher| bencher.iter_batched(|| rested.clone(), |mut life| life.pass(), BatchSize::SmallInput));
    let due = Life::served().later(Duration::from_secs(50 * 60));
    group.bench_function("a refresh", |bencher| bencher.iter_batched(|| due.clone(), |mut life| life.pass(), BatchSize::SmallInput));
}

fn reading(criterion: &mut Criterion) {
    let (life, record) = (Life::served(), texts::record());
    let mut group = criterion.benchmark_group("record");
    group.bench_function("parse", |bencher| bencher.iter(|| life.parse(black_box(&record))));
    group.bench_function("render", |bencher| bencher.iter(|| texts::render(black_box(life.record()))));
    group.finish();
    let (resource, secret) = (texts::resource(), texts::secret());
    let mut group = criterion.benchmark_group("read");
    group.bench_function("a resource", |bencher| {
        bencher.iter(|| serde_json::from_slice::<Tolerant<RevoiceitCredential>>(black_box(&resource)).is_ok());
    });
    group.bench_function("a Secret", |bencher| bencher.iter(|| serde_json::from_slice::<Tolerant<Secret>>(black_box(&secret)).is_ok()));
}

criterion_group!(all, planner, reading);
criterion_main!(all);
