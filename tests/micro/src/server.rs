//! An API server in memory, of which just so much is there as a pass asks for: objects by path, and watches that say no more than what there is.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Method, Request, Response, StatusCode, request::Parts};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::watch;

type Reply = BoxBody<Bytes, Infallible>;

/// Cheap to clone; all clones are one server.
#[derive(Clone, Debug)]
pub struct Server(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    objects: Mutex<BTreeMap<String, Value>>,
    served: watch::Sender<Served>,
}

/// How much was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// Reads of single objects.
    pub gets: usize,
    /// Writes, dry ones left out. It is also the resourceVersion.
    pub writes: usize,
    /// Of these, statuses.
    pub statuses: usize,
}

impl Default for Server {
    fn default() -> Self {
        Self(Arc::new(Inner { objects: Mutex::default(), served: watch::Sender::new(Served::default()) }))
    }
}

impl Server {
    /// Puts an object there.
    pub fn put(&self, path: String, object: Value) {
        self.objects().insert(path, object);
    }

    /// A client of it.
    pub fn client(&self) -> kube::Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await.unwrap_or_default();
                Ok::<_, Infallible>(server.answer(&parts, &body))
            }
        });
        kube::Client::new(service, "default")
    }

    /// Waits until so much was asked for.
    pub async fn has(&self, is_it: impl FnMut(&Served) -> bool) -> Served {
        // The sender is in `self`, so it does not close.
        self.0.served.subscribe().wait_for(is_it).await.map(|served| *served).unwrap_or_default()
    }

    fn answer(&self, parts: &Parts, body: &Bytes) -> Response<Reply> {
        let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
        let is_dry = query.contains("dryRun=All");
        let sent = || serde_json::from_slice::<Value>(body).unwrap_or_default();
        match parts.method {
            Method::GET if query.contains("watch=true") => self.watch(path, query),
            Method::GET if is_list(path) => self.list(path, query),
            Method::GET => {
                self.count(|served| served.gets += 1);
                self.objects().get(path).map_or_else(|| not_found(path), |object| whole(StatusCode::OK, object))
            }
            // Somebody is told, which is no write.
            Method::POST if path.ends_with("/events") => whole(StatusCode::CREATED, &sent()),
            Method::POST => {
                let mut object = sent();
                let path = format!("{path}/{}", object["metadata"]["name"].as_str().unwrap_or_default());
                object["metadata"]["uid"] = json!(path);
                if !is_dry {
                    self.store(path, &mut object);
                }
                whole(StatusCode::CREATED, &object)
            }
            Method::PATCH => {
                let of = path.strip_suffix("/status");
                let place = of.unwrap_or(path).to_owned();
                let mut object = self.objects().get(&place).cloned().unwrap_or_default();
                merge(&mut object, sent());
                if of.is_some() {
                    self.count(|served| served.statuses += 1);
                }
                self.store(place, &mut object);
                whole(StatusCode::OK, &object)
            }
            _ => {
                let mut object = sent();
                if !is_dry {
                    self.store(path.to_owned(), &mut object);
                }
                whole(StatusCode::OK, &object)
            }
        }
    }

    fn store(&self, path: String, object: &mut Value) {
        self.count(|served| served.writes += 1);
        object["metadata"]["resourceVersion"] = json!(self.0.served.borrow().writes.to_string());
        self.objects().insert(path, object.clone());
    }

    fn list(&self, path: &str, query: &str) -> Response<Reply> {
        let items = self.items(path, query);
        whole(StatusCode::OK, &json!({ "apiVersion": "v1", "kind": "List", "metadata": { "resourceVersion": "1" }, "items": items }))
    }

    /// All that there is, and then nothing happens.
    fn watch(&self, path: &str, query: &str) -> Response<Reply> {
        let mut events: Vec<Value> =
            self.items(path, query).into_iter().map(|object| json!({ "type": "ADDED", "object": object })).collect();
        let end = json!({ "resourceVersion": "1", "annotations": { "k8s.io/initial-events-end": "true" } });
        events.push(json!({ "type": "BOOKMARK", "object": { "apiVersion": "v1", "kind": "Any", "metadata": end } }));
        let frames = events.into_iter().map(|event| Ok::<_, Infallible>(Frame::data(Bytes::from(format!("{event}\n")))));
        Response::new(BodyExt::boxed(StreamBody::new(stream::iter(frames).chain(stream::pending()))))
    }

    /// All of the kind, whose namespaces are in their paths. Of Secrets these are the ledgers, or all others.
    fn items(&self, path: &str, query: &str) -> Vec<Value> {
        let kind = path.rsplit('/').next().unwrap_or_default();
        let of_ledgers = query.contains("fieldSelector=type%3D");
        let is_it = |path: &str| path.rsplit('/').nth(1) == Some(kind) && path.contains("/revoiceit-system/") == of_ledgers;
        self.objects().iter().filter(|(path, _)| is_it(path)).map(|(_, object)| object.clone()).collect()
    }

    fn count(&self, change: impl FnOnce(&mut Served)) {
        self.0.served.send_modify(change);
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Value>> {
        self.0.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_list(path: &str) -> bool {
    path.ends_with("/secrets") || path.ends_with("/revoiceitcredentials")
}

fn whole(status: StatusCode, object: &Value) -> Response<Reply> {
    let mut response = Response::new(Full::from(object.to_string()).boxed());
    *response.status_mut() = status;
    response
}

fn not_found(path: &str) -> Response<Reply> {
    let name = path.rsplit('/').next().unwrap_or_default();
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "message": format!("{name} not found"), "reason": "NotFound", "code": 404,
        "details": { "name": name },
    });
    whole(StatusCode::NOT_FOUND, &status)
}

/// A merge patch.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                if value.is_null() {
                    into.remove(&key);
                } else {
                    merge(into.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (into, from) => *into = from,
    }
}
