//! The API's own port: the three documented calls, and `GET /check` as an example of the calls that pods make.

use std::sync::Arc;

use axum::{
    body::{Body, to_bytes},
    http::{Method, Request as HttpRequest, Response, StatusCode, header},
};
use hyper::body::Incoming;
use serde_json::json;
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    calls::Call,
    exchange::{Request, exchange, refuse},
    outgoing::respond,
    reply::{Answer, Cut},
    server::Handler,
    time::UnixMillis,
    world::World,
};

/// A request body that is longer is invalid input.
const MAX_REQUEST_BYTES: usize = 64 << 10;

/// How long calls may go on: until the server is stopped. Whoever stops it waits until no clone of `working` is left.
#[derive(Clone, Debug)]
pub(crate) struct Until {
    pub(crate) stopped: watch::Receiver<bool>,
    pub(crate) working: mpsc::Sender<()>,
}

/// Answers requests on the API's port.
pub(crate) fn handler(world: World, until: Until) -> Handler {
    Arc::new(move |request| Box::pin(answer(world.clone(), until.clone(), request)))
}

async fn answer(world: World, until: Until, request: HttpRequest<Incoming>) -> Result<Response<Body>, Cut> {
    let call = match request.uri().path() {
        "/auth/token" => Call::Issue,
        "/auth/refresh" => Call::Refresh,
        "/auth/revoke" => Call::Revoke,
        "/check" if request.method() == Method::GET => return Ok(check(&world, &request)),
        "/check" => {
            let refusal = Answer::message(StatusCode::METHOD_NOT_ALLOWED, "Use GET").with(header::ALLOW, "GET");
            return Ok(respond(refusal, world.server_clock(), None));
        }
        _ => return Ok(refuse(&world, Call::Other, Answer::message(StatusCode::NOT_FOUND, "Not found"))),
    };
    if request.method() != Method::POST {
        return Ok(refuse(&world, call, Answer::message(StatusCode::METHOD_NOT_ALLOWED, "Use POST").with(header::ALLOW, "POST")));
    }
    let is_json = is_json(&request);
    let Ok(body) = to_bytes(Body::new(request.into_body()), MAX_REQUEST_BYTES).await else {
        return Ok(refuse(&world, call, Answer::rejection(&world.switches())));
    };
    let asked = if is_json { Request::read(call, &body) } else { None };
    in_a_task_of_its_own(world, call, asked, until).await
}

/// A caller that hangs up does not stop what it asked for, as with a real server.
async fn in_a_task_of_its_own(world: World, call: Call, asked: Option<Request>, until: Until) -> Result<Response<Body>, Cut> {
    let (mut answer, answered) = oneshot::channel();
    tokio::spawn(async move {
        let Until { mut stopped, working } = until;
        let ready = tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => Err(Cut::CLOSE),
            ready = exchange(world, call, asked, answer.closed()) => ready,
        };
        // Who does not wait any more drops it, and so it is on record as not delivered.
        let _ = answer.send(ready);
        drop(working);
    });
    answered.await.unwrap_or(Err(Cut::CLOSE))
}

fn is_json(request: &HttpRequest<Incoming>) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    content_type.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

/// Whether the access token in `Authorization` is valid: with `Bearer` before it or, as the document also has it, alone.
fn check(world: &World, request: &HttpRequest<Incoming>) -> Response<Body> {
    let value = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let access = value.strip_prefix("Bearer ").unwrap_or(value);
    let answer = match world.check(access) {
        Some((line, token)) => {
            let left_ms = token.expires_at.since(UnixMillis::now()).as_millis();
            Answer::json(StatusCode::OK, &json!({ "client": line.client, "line": line.number, "validForMs": left_ms as u64 }))
        }
        None => Answer::message(StatusCode::UNAUTHORIZED, "The access token is not valid"),
    };
    respond(answer, world.server_clock(), None)
}
