//! The body of an answer, which tells the log of calls what became of it.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};

use axum::{
    body::Body,
    http::{HeaderValue, Response, header},
};
use hyper::body::{Bytes, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use crate::{
    reply::{Answer, Carries},
    world::World,
};

/// Closes the record of a call: as delivered when the last byte is handed to the connection, just *before* it is written, so that who
/// has the answer also finds it in the log; as not delivered when it is dropped without that.
#[derive(Debug)]
pub(crate) struct Settlement {
    world: World,
    seq: u64,
    status: Option<u16>,
    carries: Carries,
    is_settled: bool,
}

impl Settlement {
    pub(crate) fn new(world: World, seq: u64) -> Self {
        Self { world, seq, status: None, carries: Carries::LOST, is_settled: false }
    }

    /// Says what the answer will be, if it goes out.
    fn expect(&mut self, status: u16, carries: Carries) {
        self.status = Some(status);
        self.carries = carries;
    }

    fn delivered(&mut self) {
        if !std::mem::replace(&mut self.is_settled, true) {
            self.world.settle(self.seq, self.status, Some(self.carries));
        }
    }
}

impl Drop for Settlement {
    fn drop(&mut self) {
        if !self.is_settled {
            self.world.settle(self.seq, self.status, None);
        }
    }
}

/// A body that goes out in one piece, or byte by byte.
#[derive(Debug)]
pub(crate) struct Outgoing {
    rest: Bytes,
    pause: Option<Duration>,
    sleeping: Option<Pin<Box<Sleep>>>,
    settlement: Option<Settlement>,
}

/// An answer on its way. `date` is what the server's clock shows; without a settlement, it is on no record.
pub(crate) fn respond(answer: Answer, date: SystemTime, mut settlement: Option<Settlement>) -> Response<Body> {
    let Answer { status, mut headers, body, pause, carries } = answer;
    headers.insert(header::DATE, HeaderValue::from_str(&httpdate::fmt_http_date(date)).expect("a date is visible ASCII"));
    if let Some(settlement) = &mut settlement {
        settlement.expect(status.as_u16(), carries);
        if body.is_empty() {
            settlement.delivered(); // nobody will ask for a frame
        }
    }
    let mut response = Response::new(Body::new(Outgoing { rest: body.into(), pause, sleeping: None, settlement }));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

impl hyper::body::Body for Outgoing {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let piece = match self.pause {
            None => std::mem::take(&mut self.rest),
            Some(pause) => {
                ready!(self.sleeping.get_or_insert_with(|| Box::pin(sleep(pause))).as_mut().poll(cx));
                self.sleeping = None;
                self.rest.split_to(1)
            }
        };
        if self.rest.is_empty()
            && let Some(settlement) = &mut self.settlement
        {
            settlement.delivered();
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
