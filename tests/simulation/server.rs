//! The API server: HTTP around [`Objects`], and watches.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Response, StatusCode, request::Parts};
use http_body::{Body, Frame};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::{
    clock,
    objects::{Change, Key, Objects, Refused, Stored},
    witness::Witness,
};

/// So many changes can be asked for; a watch that asks for older ones is expired.
const KEPT: usize = 4000;

/// Cheap to clone; all clones are one server.
#[derive(Clone)]
pub(crate) struct Server(Arc<Mutex<Inner>>);

pub(crate) struct Inner {
    pub(crate) objects: Objects,
    pub(crate) witness: Witness,
    watches: Vec<Watch>,
    told: usize,
}

struct Watch {
    replica: usize,
    kind: String,
    namespace: Option<String>,
    form: Form,
    sink: UnboundedSender<Bytes>,
}

/// What of an object is wanted.
#[derive(Clone, Default)]
struct Form {
    metadata_only: bool,
    field_selector: String,
}

/// The body of an answer: whole, or a line for each event.
pub(crate) enum Reply {
    Whole(Option<Bytes>),
    Stream(UnboundedReceiver<Bytes>),
}

impl Server {
    pub(crate) fn new() -> Self {
        let inner = Inner { objects: Objects::default(), witness: Witness::default(), watches: Vec::new(), told: 0 };
        Self(Arc::new(Mutex::new(inner)))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a user does.
    pub(crate) fn by_user<T>(&self, change: impl FnOnce(&mut Objects) -> T) -> T {
        let mut inner = self.lock();
        let done = change(&mut inner.objects);
        self.tell(&mut inner, None);
        done
    }

    /// Ends the watches of this replica, as a broken connection does.
    pub(crate) fn cut(&self, replica: usize) {
        self.lock().watches.retain(|watch| watch.replica != replica);
    }

    /// Answers a request of a replica.
    pub(crate) fn answer(&self, replica: usize, parts: &Parts, body: &[u8]) -> Response<Reply> {
        let path: Vec<&str> = parts.uri.path().trim_matches('/').split('/').collect();
        let query =
            |name: &str| parts.uri.query().unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        let rest = if path[0] == "api" { &path[2..] } else { &path[3..] };
        let (namespace, kind, name, is_status) = match rest {
            ["namespaces", namespace, kind] => (Some(*namespace), *kind, None, false),
            ["namespaces", namespace, kind, name] => (Some(*namespace), *kind, Some(*name), false),
            ["namespaces", namespace, kind, name, _] => (Some(*namespace), *kind, Some(*name), true),
            [kind] => (None, *kind, None, false),
            _ => unreachable!("nothing else is asked for: {}", parts.uri),
        };
        let accept = parts.headers.get("accept").and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        let form = Form {
            metadata_only: accept.contains("PartialObjectMetadata"),
            field_selector: query("fieldSelector").map(decoded).unwrap_or_default(),
        };
        let sent: Value = serde_json::from_slice(body).unwrap_or_default();
        let dry = query("dryRun").is_some();
        let now = clock::truth();
        let mut inner = self.lock();
        if query("watch") == Some("true") {
            let from = query("resourceVersion").and_then(|version| version.parse().ok()).unwrap_or(0);
            let lists = query("sendInitialEvents") == Some("true");
            return watch(&mut inner, replica, kind, namespace, form, (!lists).then_some(from));
        }
        let key = |name: &str| -> Key { (kind.to_owned(), namespace.unwrap_or_default().to_owned(), name.to_owned()) };
        let objects = &mut inner.objects;
        let done = match (&parts.method, name) {
            // Nobody looks at them here, and nothing is decided from them.
            _ if kind == "events" => Ok(Stored::new(sent)),
            (&Method::GET, None) => return whole(StatusCode::OK, list(objects, kind, namespace, &form)),
            (&Method::GET, Some(name)) => objects.get(&key(name)).cloned(),
            (&Method::POST, None) => objects.create(&key(sent["metadata"]["name"].as_str().unwrap_or_default()), sent, dry, now),
            (&Method::PUT, Some(name)) => objects.replace(&key(name), sent, dry),
            (&Method::PATCH, Some(name)) => objects.patch(&key(name), &sent, is_status),
            (&Method::DELETE, Some(name)) => objects.delete(&key(name), &sent["preconditions"], now),
            _ => unreachable!("nothing else is asked for: {} {}", parts.method, parts.uri),
        };
        self.tell(&mut inner, Some(replica));
        match done {
            Ok(object) => whole(StatusCode::OK, object.text.clone()),
            Err(refused) => refusal(refused, kind, name.unwrap_or_default()),
        }
    }

    /// Shows what changed to who watches, and to the witness.
    fn tell(&self, inner: &mut Inner, by: Option<usize>) {
        let changes: Vec<Change> = inner.objects.changes[inner.told..].to_vec();
        inner.told = inner.objects.changes.len();
        if inner.told > KEPT {
            inner.objects.changes.drain(..KEPT / 2);
            inner.told -= KEPT / 2;
        }
        for change in &changes {
            inner.witness.saw(change, by);
            inner.watches.retain(|watch| !watch.is_for(change) || watch.sink.send(watch.form.event(change.word, &change.object)).is_ok());
            if change.word == "DELETED" && change.key.0 == "revoiceitcredentials" {
                self.collect_later();
            }
        }
    }

    fn collect_later(&self) {
        let server = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(fastrand::u64(10..3000))).await;
            server.by_user(Objects::collect);
        });
    }
}

/// What has changed after this version; without one, all that there is, before what will change.
fn watch(inner: &mut Inner, replica: usize, kind: &str, namespace: Option<&str>, form: Form, from: Option<u64>) -> Response<Reply> {
    let (sink, events) = unbounded_channel();
    let watch = Watch { replica, kind: kind.to_owned(), namespace: namespace.map(str::to_owned), form, sink };
    let Some(from) = from else {
        let objects = &inner.objects;
        for object in objects.list(kind, namespace).filter(|object| watch.form.selects(object)) {
            let _ = watch.sink.send(watch.form.event("ADDED", object));
        }
        let end = json!({ "resourceVersion": objects.version.to_string(), "annotations": { "k8s.io/initial-events-end": "true" } });
        let bookmark = json!({ "type": "BOOKMARK", "object": { "apiVersion": "v1", "kind": kind, "metadata": end } });
        let _ = watch.sink.send(Bytes::from(format!("{bookmark}\n")));
        inner.watches.push(watch);
        return Response::new(Reply::Stream(events));
    };
    if inner.objects.changes.first().is_some_and(|oldest| from + 1 < oldest.version) {
        let status = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "message": "", "code": 410 });
        let _ = watch.sink.send(Bytes::from(format!("{}\n", json!({ "type": "ERROR", "object": status }))));
        return Response::new(Reply::Stream(events));
    }
    let first = inner.objects.changes.partition_point(|change| change.version <= from);
    for change in inner.objects.changes[first..].iter().filter(|change| watch.is_for(change)) {
        let _ = watch.sink.send(watch.form.event(change.word, &change.object));
    }
    inner.watches.push(watch);
    Response::new(Reply::Stream(events))
}

impl Watch {
    fn is_for(&self, change: &Change) -> bool {
        change.key.0 == self.kind
            && self.namespace.as_ref().is_none_or(|namespace| *namespace == change.key.1)
            && self.form.selects(&change.object)
    }
}

impl Form {
    fn selects(&self, object: &Value) -> bool {
        let type_ = object["type"].as_str().unwrap_or_default();
        self.field_selector.split(',').all(|term| match (term.split_once("!="), term.split_once('=')) {
            (Some((_, value)), _) => type_ != value,
            (None, Some((_, value))) => type_ == value,
            (None, None) => true,
        })
    }

    /// The text of an object.
    fn of(&self, object: &Stored) -> Bytes {
        if self.metadata_only {
            let metadata = &object["metadata"];
            format!(r#"{{"apiVersion":"meta.k8s.io/v1","kind":"PartialObjectMetadata","metadata":{metadata}}}"#).into()
        } else {
            object.text.clone()
        }
    }

    fn event(&self, word: &str, object: &Stored) -> Bytes {
        let before = format!(r#"{{"type":"{word}","object":"#);
        [before.as_bytes(), &self.of(object), b"}\n"].concat().into()
    }
}

fn list(objects: &Objects, kind: &str, namespace: Option<&str>, form: &Form) -> Bytes {
    let items: Vec<Bytes> = objects.list(kind, namespace).filter(|object| form.selects(object)).map(|object| form.of(object)).collect();
    let before = format!(r#"{{"apiVersion":"v1","kind":"List","metadata":{{"resourceVersion":"{}"}},"items":["#, objects.version);
    [before.as_bytes(), &items.join(&b","[..]), b"]}"].concat().into()
}

fn whole(code: StatusCode, text: Bytes) -> Response<Reply> {
    let mut response = Response::new(Reply::Whole(Some(text)));
    *response.status_mut() = code;
    response
}

pub(crate) fn refusal(refused: Refused, kind: &str, name: &str) -> Response<Reply> {
    let (code, reason, field) = match refused {
        Refused::NotFound => (404, "NotFound", None),
        Refused::AlreadyExists => (409, "AlreadyExists", None),
        Refused::Conflict => (409, "Conflict", None),
        Refused::Invalid(field) => (422, "Invalid", Some(field)),
        Refused::Unavailable => (503, "ServiceUnavailable", None),
    };
    let causes: Vec<Value> = field.iter().map(|field| json!({ "field": field })).collect();
    let details = json!({ "name": name, "kind": kind, "causes": causes });
    let status = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code, "details": details });
    whole(StatusCode::from_u16(code).expect("valid"), status.to_string().into())
}

/// `%21%3D` and the like.
fn decoded(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let code = u8::from_str_radix(&after[..2], 16).expect("two hexadecimal digits");
        out.push(char::from(code));
        rest = &after[2..];
    }
    out + rest
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(events) => events.poll_recv(cx).map(|event| event.map(|event| Ok(Frame::data(event)))),
        }
    }
}
