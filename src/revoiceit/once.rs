//! A request's body that is sent at most once, and knows whether it was.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use zeroize::Zeroizing;

/// The body of one request. Taking the bytes out of it is what marks it as sent, so neither reqwest nor hyper can send
/// it a second time; and reqwest's own retries need a body that can be cloned, which this one cannot.
pub(super) struct Once {
    bytes: Option<Bytes>,
    left: Arc<AtomicBool>,
}

/// Tells whether a body may have left.
pub(super) struct Witness(Arc<AtomicBool>);

impl Once {
    /// A body of these bytes, which are wiped when the last who holds them lets go.
    pub(super) fn new(bytes: Zeroizing<Vec<u8>>) -> (Self, Witness) {
        let left = Arc::new(AtomicBool::new(false));
        (Self { bytes: Some(Bytes::from_owner(bytes)), left: Arc::clone(&left) }, Witness(left))
    }
}

impl Witness {
    /// `false`: hyper never asked for the body, so not a byte of it was written, and a server that has at most the head
    /// of a request cannot act on it. Kinds of error cannot tell this as well: a timeout of the whole call looks the same
    /// while it connects and while it waits for the answer.
    /// `true`: it was handed to an open connection, and may have arrived whole.
    pub(super) fn may_have_left(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl http_body::Body for Once {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.left.store(true, Ordering::Release);
        Poll::Ready(self.bytes.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    /// Exact, for a `Content-Length`: with it a server knows a request that was cut off from a whole one.
    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}
