//! What is between a replica and the API server: time, and everything that can happen to a request.

use std::{cell::Cell, io, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use kube::client::Body;

use crate::{
    objects::Refused,
    server::{Reply, Server, refusal},
};

/// As the operator's client has it.
const TIMEOUT: Duration = Duration::from_secs(30);

thread_local! {
    static WEATHER: Cell<[Weather; 2]> = const { Cell::new([Weather::Fair; 2]) };
}

/// How the link of a replica is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    Fair,
    /// Some requests are refused, some late, some answers lost.
    Foul,
    /// Nothing comes through.
    Cut,
}

pub(crate) fn set_weather(replica: usize, weather: Weather) {
    let mut all = WEATHER.get();
    all[replica] = weather;
    WEATHER.set(all);
}

pub(crate) fn weather(replica: usize) -> Weather {
    WEATHER.get()[replica]
}

/// A client of this replica.
pub(crate) fn client(server: &Server, replica: usize) -> kube::Client {
    let server = server.clone();
    let service = tower::service_fn(move |request: Request<Body>| send(server.clone(), replica, request));
    kube::Client::new(service, "default")
}

async fn send(server: Server, replica: usize, request: Request<Body>) -> Result<Response<Reply>, io::Error> {
    let (parts, body) = request.into_parts();
    let body: Bytes = body.collect_bytes().await.map_err(io::Error::other)?;
    if weather(replica) == Weather::Cut {
        tokio::time::sleep(Duration::from_millis(fastrand::u64(1..2000))).await;
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    let is_foul = weather(replica) == Weather::Foul;
    let chance = |percent: u8| is_foul && fastrand::u8(..100) < percent;
    if chance(5) {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    if chance(5) {
        return Ok(refusal(Refused::Unavailable, "", ""));
    }
    // Now and then a request takes as long as the server gives it, a minute.
    let way = if chance(2) { Duration::from_millis(fastrand::u64(1000..60_000)) } else { Duration::from_millis(fastrand::u64(1..20)) };
    // It goes on when the one who sent it has given up, or is dead.
    let answer = tokio::spawn(async move {
        tokio::time::sleep(way).await;
        server.answer(replica, &parts, &body)
    });
    let answer = tokio::time::timeout(TIMEOUT, answer).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
    tokio::time::sleep(Duration::from_millis(fastrand::u64(1..20))).await;
    if chance(5) || weather(replica) == Weather::Cut {
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    answer.map_err(io::Error::other)
}
