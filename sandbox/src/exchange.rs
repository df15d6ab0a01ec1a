//! One call, from the request to what goes back: what is asked, which fault it meets, what is done and what is answered.

use axum::{body::Body, http::Response};
use serde::Deserialize;

use crate::{
    calls::Call,
    kind::Kind,
    outgoing::{Settlement, respond},
    reply::{Answer, Cut, Reply, reply},
    world::{Begun, World},
};

/// What a call asks for.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Request {
    Issue { client_id: String, client_secret: String },
    Refresh { token: String },
    Revoke { token: String },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PairBody {
    client_id: String,
    client_secret: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TokenBody {
    refresh_token: String,
}

impl Request {
    /// Reads a body. `None`: it is not what the document asks for. Further fields are ignored.
    pub(crate) fn read(call: Call, body: &[u8]) -> Option<Self> {
        let token = || serde_json::from_slice(body).ok().map(|TokenBody { refresh_token }| refresh_token).filter(|token| !token.is_empty());
        match call {
            Call::Issue => {
                let PairBody { client_id, client_secret } = serde_json::from_slice(body).ok()?;
                let is_complete = !client_id.is_empty() && !client_secret.is_empty();
                is_complete.then_some(Self::Issue { client_id, client_secret })
            }
            Call::Refresh => token().map(|token| Self::Refresh { token }),
            Call::Revoke => token().map(|token| Self::Revoke { token }),
            Call::Other => None,
        }
    }
}

/// Carries a call out. `gone` returns when the caller has closed the connection; the call goes on all the same, except where it hangs.
/// Whatever the caller gets to see is in the state file by then.
pub(crate) async fn exchange(
    world: World,
    call: Call,
    request: Option<Request>,
    gone: impl Future<Output = ()>,
) -> Result<Response<Body>, Cut> {
    let Begun { seq, fault } = world.begin(call, request.as_ref());
    let settlement = Settlement::new(world.clone(), seq);
    let reply = match fault {
        None => Reply::Answer(world.process(seq, request.as_ref(), None)),
        Some((id, fault)) => {
            let process = || world.process(seq, request.as_ref(), Some(&fault.kind));
            let hang = async {
                tokio::select! {
                    () = world.healed(id) => Ok(()),
                    () = gone => Err(Cut::CLOSE),
                }
            };
            if !fault.delay.is_zero() {
                tokio::time::sleep(fault.delay).await;
            }
            let ordinary = match (&fault.kind, fault.is_processed()) {
                (Kind::Hang, false) => {
                    hang.await?;
                    Some(process())
                }
                (Kind::Hang, true) => {
                    let ordinary = process();
                    hang.await?;
                    Some(ordinary)
                }
                (_, true) => Some(process()),
                (_, false) => None,
            };
            reply(&fault.kind, ordinary, world.server_clock())
        }
    };
    world.saved().await;
    match reply {
        Reply::Answer(answer) => Ok(respond(answer, world.server_clock(), Some(settlement))),
        Reply::Cut(cut) => Err(cut), // and the settlement, dropped, says that nobody got anything
    }
}

/// The answer to a request that is none of the three calls, on record all the same.
pub(crate) fn refuse(world: &World, call: Call, refusal: Answer) -> Response<Body> {
    let seq = world.begin_other(call);
    respond(refusal, world.server_clock(), Some(Settlement::new(world.clone(), seq)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_read_as_the_document_has_them() {
        let pair = Request::Issue { client_id: "a".into(), client_secret: "b".into() };
        assert!(Request::read(Call::Issue, br#"{"clientId":"a","clientSecret":"b","more":1}"#) == Some(pair));
        for wrong in [
            &b""[..],
            b"{}",
            b"[]",
            b"not JSON",
            br#"{"clientId":"a"}"#,
            br#"{"clientId":"","clientSecret":"b"}"#,
            br#"{"clientId":1,"clientSecret":"b"}"#,
        ] {
            assert!(Request::read(Call::Issue, wrong).is_none());
        }
        assert!(Request::read(Call::Revoke, br#"{"refreshToken":"t"}"#) == Some(Request::Revoke { token: "t".into() }));
        assert!(Request::read(Call::Refresh, br#"{"refreshToken":""}"#).is_none());
    }
}
