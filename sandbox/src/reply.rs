//! What goes back to the caller: the documented answers, and what faults make of them.

use std::time::{Duration, SystemTime};

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use crate::{
    calls::Effect,
    kind::{Body, Kind, Which, Wrong},
    state::Done,
    switches::{RejectionBody, Switches},
    truth::Delivery,
};

/// What the connection does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// Sends this.
    Answer(Answer),
    /// Ends, perhaps after a part of an answer.
    Cut(Cut),
}

/// An HTTP answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// The pause before each byte of the body; none: it goes out in one.
    pub(crate) pause: Option<Duration>,
    /// What becomes of the access and the refresh token if this goes out whole.
    pub(crate) carries: Carries,
}

/// What becomes of the two tokens of an answer that goes out whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Carries {
    pub(crate) access: Delivery,
    pub(crate) refresh: Delivery,
}

/// The end of a connection without an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Bytes to write first: a part of an answer.
    pub(crate) first: Vec<u8>,
    /// Reset (RST) instead of closed.
    pub(crate) reset: bool,
}

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection is ended on purpose")
    }
}

impl std::error::Error for Cut {}

impl Carries {
    const WHOLE: Self = Self { access: Delivery::Delivered, refresh: Delivery::Delivered };
    const NEITHER: Self = Self { access: Delivery::Garbled, refresh: Delivery::Garbled };
    /// What holds when no answer went out.
    pub(crate) const LOST: Self = Self { access: Delivery::Lost, refresh: Delivery::Lost };
}

impl Cut {
    /// Without a byte.
    pub(crate) const CLOSE: Self = Self { first: Vec::new(), reset: false };
    const RESET: Self = Self { first: Vec::new(), reset: true };
}

impl Answer {
    fn of(status: StatusCode, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))]);
        Self { status, headers, body: body.into(), pause: None, carries: Carries::NEITHER }
    }

    pub(crate) fn json(status: StatusCode, body: &Value) -> Self {
        Self::of(status, "application/json", body.to_string())
    }

    /// A JSON object with a `message`.
    pub(crate) fn message(status: StatusCode, message: &str) -> Self {
        Self::json(status, &json!({ "message": message }))
    }

    fn html(status: StatusCode) -> Self {
        let title = status.canonical_reason().unwrap_or("Answer");
        Self::of(
            status,
            "text/html",
            format!("<!doctype html><html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n"),
        )
    }

    fn empty(status: StatusCode) -> Self {
        Self { headers: HeaderMap::new(), ..Self::of(status, "", "") }
    }

    pub(crate) fn with(mut self, name: HeaderName, value: &str) -> Self {
        match HeaderValue::from_str(value) {
            Ok(value) => drop(self.headers.insert(name, value)),
            Err(_) => unreachable!("header values are checked when a fault is injected"),
        }
        self
    }

    /// What a rejection looks like.
    pub(crate) fn rejection(switches: &Switches) -> Self {
        let status = StatusCode::from_u16(switches.rejection_status).unwrap_or(StatusCode::BAD_REQUEST);
        match switches.rejection_body {
            RejectionBody::Json => Self::message(status, "Invalid input"),
            RejectionBody::JsonString => Self::json(status, &json!("Invalid input")),
            RejectionBody::Text => Self::of(status, "text/plain", "Invalid input\n"),
            RejectionBody::Empty => Self::empty(status),
        }
    }

    /// The documented answer to a call that did this.
    pub(crate) fn documented(done: &Done, switches: &Switches) -> Self {
        let mut body = Map::new();
        match done.effect {
            Effect::Rejected => return Self::rejection(switches),
            Effect::Revoked | Effect::Ignored => return Self::message(StatusCode::OK, "Token revoked successfully"),
            Effect::Issued | Effect::Refreshed | Effect::Rotated => {
                body.extend(done.access.clone().map(|token| ("accessToken".into(), token.into())));
                body.extend(done.refresh.clone().map(|token| ("refreshToken".into(), token.into())));
            }
        }
        Self { carries: Carries::WHOLE, ..Self::json(StatusCode::OK, &body.into()) }
    }

    /// The bytes of this answer up to the middle of its body; something is always missing.
    fn first_half(&self, date: SystemTime) -> Vec<u8> {
        let mut bytes = format!("HTTP/1.1 {}\r\ncontent-type: application/json\r\n", self.status).into_bytes();
        let date = httpdate::fmt_http_date(date);
        bytes.extend(format!("content-length: {}\r\ndate: {date}\r\n\r\n", self.body.len().max(1)).into_bytes());
        bytes.extend_from_slice(&self.body[..self.body.len() / 2]);
        bytes
    }
}

/// What a fault makes of the ordinary answer, which is there whenever the call was processed. `date` is what the server's clock shows.
pub(crate) fn reply(kind: &Kind, ordinary: Option<Answer>, date: SystemTime) -> Reply {
    let ordinary = || ordinary.unwrap_or_else(|| Answer::message(StatusCode::INTERNAL_SERVER_ERROR, "not processed"));
    Reply::Answer(match kind {
        Kind::Delay | Kind::Hang | Kind::Rotate { .. } | Kind::Die => ordinary(),
        Kind::Drop | Kind::LostAnswer => return Reply::Cut(Cut::CLOSE),
        Kind::Reset => return Reply::Cut(Cut::RESET),
        Kind::PartialBody => return Reply::Cut(Cut { first: ordinary().first_half(date), reset: false }),
        Kind::Status { code, body, retry_after: None } => status(*code, body),
        Kind::Status { code, body, retry_after: Some(after) } => status(*code, body).with(header::RETRY_AFTER, after),
        Kind::Redirect { code, location } => status(*code, &Body::Json).with(header::LOCATION, location),
        Kind::NotJson => Answer::html(StatusCode::OK),
        Kind::Drip { pause_ms } => Answer { pause: Some(Duration::from_millis(*pause_ms)), ..ordinary() },
        Kind::BadToken { which, how } => spoil(ordinary(), *which, *how),
        Kind::HugeBody { bytes } => pad(ordinary(), *bytes),
    })
}

fn status(code: u16, body: &Body) -> Answer {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let reason = status.canonical_reason().unwrap_or("As ordered");
    match body {
        _ if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) => Answer::empty(status), // they cannot have one
        Body::Json => Answer::message(status, reason),
        Body::Text => Answer::of(status, "text/plain", format!("{reason}\n")),
        Body::Html => Answer::html(status),
        Body::Empty => Answer::empty(status),
        Body::Custom { content_type, text } => Answer::of(status, "", text.clone()).with(header::CONTENT_TYPE, content_type),
    }
}

/// Makes one or both tokens of a 200 unusable. The field is put in where it was not, so that a refresh that does not rotate can answer
/// with a refresh token that is empty.
fn spoil(mut answer: Answer, which: Which, how: Wrong) -> Answer {
    if answer.status != StatusCode::OK {
        return answer;
    }
    let Ok(Value::Object(mut body)) = serde_json::from_slice(&answer.body) else { return answer };
    let mut spoil = |field: &str| {
        let token = body.get(field).and_then(Value::as_str).unwrap_or("token").to_owned();
        match how {
            Wrong::Missing => drop(body.remove(field)),
            Wrong::Null => drop(body.insert(field.into(), Value::Null)),
            Wrong::Number => drop(body.insert(field.into(), json!(42))),
            Wrong::Empty => drop(body.insert(field.into(), json!(""))),
            Wrong::Long => drop(body.insert(field.into(), json!(token + &"x".repeat(20 << 10)))),
            Wrong::Quote => drop(body.insert(field.into(), json!(token + "\""))),
            Wrong::LineBreak => drop(body.insert(field.into(), json!(token + "\n"))),
            Wrong::NotAscii => drop(body.insert(field.into(), json!(token + "é"))),
        }
    };
    if matches!(which, Which::Access | Which::Both) {
        spoil("accessToken");
        answer.carries.access = Delivery::Garbled;
    }
    if matches!(which, Which::Refresh | Which::Both) {
        spoil("refreshToken");
        answer.carries.refresh = Delivery::Garbled;
    }
    answer.body = Value::from(body).to_string().into_bytes();
    answer
}

/// Adds padding to a JSON object.
fn pad(mut answer: Answer, bytes: usize) -> Answer {
    if let Ok(Value::Object(mut body)) = serde_json::from_slice(&answer.body) {
        body.insert("padding".into(), "x".repeat(bytes).into());
        answer.body = Value::from(body).to_string().into_bytes();
        answer.carries = Carries::NEITHER;
    }
    answer
}
