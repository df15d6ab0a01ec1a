//! The admin port: the same as [`World`]'s methods, as JSON over HTTP. What it answers is in the state file.

use std::{convert::Infallible, sync::Arc};

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, RawQuery, State},
    http::{Request, StatusCode},
    response::{IntoResponse, Response},
    routing::{delete, get, post, put},
};
use hyper::{body::Incoming, service::Service};
use hyper_util::service::TowerToHyperService;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{calls::CallRecord, fault::Fault, server::Handler, switches::Switches, truth::Truth, world::World};

/// What `GET /calls` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CallList {
    /// The number of the last call: the mark for the next question.
    pub(crate) last: u64,
    /// The calls that were asked for.
    pub(crate) calls: Vec<CallRecord>,
}

/// What a command answers: how many things it changed; 0 means that what it named was not there, or had ended already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Count {
    pub(crate) count: usize,
}

/// What `POST /faults` answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Injected {
    pub(crate) id: u64,
}

/// The body of `PUT /clients/{id}`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClientBody {
    pub(crate) secret: String,
}

/// The body of `POST /tokens/kill`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct TokenBody {
    pub(crate) refresh_token: String,
}

/// What was asked for cannot be done; in words.
struct Refused(String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (StatusCode::BAD_REQUEST, Json(json!({ "message": self.0 }))).into_response()
    }
}

impl From<anyhow::Error> for Refused {
    fn from(error: anyhow::Error) -> Self {
        Self(format!("{error:#}"))
    }
}

/// Answers requests on the admin port.
pub(crate) fn handler(world: &World) -> Handler {
    let service = TowerToHyperService::new(router(world.clone()));
    Arc::new(move |request: Request<Incoming>| {
        let answer = service.call(request.map(Body::new));
        Box::pin(async { answer.await.map_err(|never: Infallible| match never {}) })
    })
}

fn router(world: World) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/truth", get(truth))
        .route("/calls", get(calls))
        .route("/faults", get(faults).post(inject).delete(heal_all))
        .route("/faults/{id}", delete(heal))
        .route("/clients/{id}", put(add_client).delete(remove_client))
        .route("/clients/{id}/enable", post(async |world, id| enable_client(world, id, true).await))
        .route("/clients/{id}/disable", post(async |world, id| enable_client(world, id, false).await))
        .route("/clients/{id}/kill", post(kill_client))
        .route("/lines/{number}/kill", post(kill_line))
        .route("/tokens/kill", post(kill_token))
        .route("/switches", get(switches).patch(switch))
        .with_state(world)
}

async fn truth(State(world): State<World>) -> Json<Truth> {
    Json(world.truth())
}

async fn calls(State(world): State<World>, RawQuery(query): RawQuery) -> Result<Json<CallList>, Refused> {
    let since = match query.as_deref() {
        None | Some("") => 0,
        Some(query) => {
            let number = query.strip_prefix("since=").and_then(|number| number.parse().ok());
            number.ok_or_else(|| Refused("use ?since= and the number of a call".into()))?
        }
    };
    let (last, calls) = world.mark_and_calls(since);
    Ok(Json(CallList { last, calls }))
}

async fn faults(State(world): State<World>) -> impl IntoResponse {
    Json(world.faults())
}

async fn inject(State(world): State<World>, Json(fault): Json<Fault>) -> Result<Json<Injected>, Refused> {
    let id = world.inject(fault)?;
    world.saved().await;
    Ok(Json(Injected { id }))
}

async fn heal(State(world): State<World>, Path(id): Path<u64>) -> Json<Count> {
    let count = usize::from(world.heal(id));
    done(&world, count).await
}

async fn heal_all(State(world): State<World>) -> Json<Count> {
    let count = world.heal_all();
    done(&world, count).await
}

async fn add_client(State(world): State<World>, Path(id): Path<String>, Json(body): Json<ClientBody>) -> Json<Count> {
    world.add_client(&id, &body.secret);
    done(&world, 1).await
}

async fn remove_client(State(world): State<World>, Path(id): Path<String>) -> Json<Count> {
    let count = usize::from(world.remove_client(&id));
    done(&world, count).await
}

async fn enable_client(State(world): State<World>, Path(id): Path<String>, enabled: bool) -> Json<Count> {
    world.enable_client(&id, enabled);
    done(&world, 1).await
}

async fn kill_client(State(world): State<World>, Path(id): Path<String>) -> Json<Count> {
    let count = world.kill_client(&id);
    done(&world, count).await
}

async fn kill_line(State(world): State<World>, Path(number): Path<u64>) -> Json<Count> {
    let count = usize::from(world.kill_line(number));
    done(&world, count).await
}

async fn kill_token(State(world): State<World>, Json(body): Json<TokenBody>) -> Json<Count> {
    let count = usize::from(world.kill_token(&body.refresh_token));
    done(&world, count).await
}

async fn switches(State(world): State<World>) -> Json<Switches> {
    Json(world.switches())
}

/// Changes the switches that the body names; the others stay.
async fn switch(State(world): State<World>, Json(body): Json<Map<String, Value>>) -> Result<Json<Switches>, Refused> {
    world.replace_switches(|switches| {
        let mut all = serde_json::to_value(switches)?;
        if let Value::Object(all) = &mut all {
            all.extend(body);
        }
        Ok(serde_json::from_value(all)?)
    })?;
    world.saved().await;
    Ok(Json(world.switches()))
}

async fn done(world: &World, count: usize) -> Json<Count> {
    world.saved().await;
    Json(Count { count })
}
