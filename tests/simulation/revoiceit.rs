//! Revoiceit: every token that it handed out and what became of it, and everything that can happen to a call.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use revoiceit_operator::revoiceit::{AccessToken, Auth, ClientCredentials, Failure, Issued, RefreshToken, Refreshed, Revoked};

use crate::clock;

/// How long an access token is valid.
pub(crate) const LIFETIME: SignedDuration = SignedDuration::from_hours(1);
/// How long the operator waits for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Cheap to clone; all clones are one Revoiceit.
#[derive(Clone, Default)]
pub(crate) struct Revoiceit(Arc<Mutex<Inner>>);

#[derive(Default)]
pub(crate) struct Inner {
    pub(crate) weather: Weather,
    pub(crate) rotates: bool,
    /// The token that a refresh replaces lives on.
    pub(crate) old_lives: bool,
    /// The secret of each client.
    pub(crate) secrets: HashMap<String, String>,
    pub(crate) refresh: Vec<Refresh>,
    pub(crate) access: Vec<Access>,
    /// How often it was called.
    pub(crate) calls: u64,
    /// Issues that were processed, by client.
    pub(crate) issues: HashMap<String, u32>,
    /// Calls that may have made a refresh token and brought none, by client.
    pub(crate) lost: HashMap<String, u32>,
    /// Issues that were processed, and of whose answer the refresh token alone could be read, by client.
    pub(crate) garbled: HashMap<String, u32>,
    /// The tokens that a refresh may have replaced, for all that the operator knows.
    doubted: HashSet<usize>,
}

/// How it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Weather {
    #[default]
    Fair,
    /// Some calls fail, in all ways.
    Foul,
    /// It answers that it cannot.
    Overloaded,
    /// Nobody is there.
    Away,
}

pub(crate) struct Refresh {
    pub(crate) client: String,
    pub(crate) is_live: bool,
    pub(crate) is_revoked: bool,
    /// A refresh of it was answered with a failure, before it was revoked: a line that ends so may have another in its place.
    pub(crate) has_failed: bool,
    /// When it was handed out.
    at: Timestamp,
    /// In whose place: of an issue, in nobody's.
    pub(crate) replaces: Option<usize>,
    /// Since when it has been the line in use in a ledger that says that refreshes rotate.
    pub(crate) rotates_since: Option<Timestamp>,
    /// It came of a refresh before anybody knew that they rotate, nobody has been told of it, and no later refresh of the same token has shown it.
    pub(crate) is_unknown: bool,
    /// A refresh of it has brought another that came to an operator.
    has_shown_one: bool,
}

pub(crate) struct Access {
    pub(crate) client: String,
    /// The refresh token of its line, by number.
    pub(crate) refresh: usize,
    pub(crate) expires_at: Timestamp,
}

/// What is asked.
#[derive(Clone)]
enum Call {
    Issue { client: String, secret: String },
    Refresh(String),
    Revoke(String),
}

enum Done {
    Issued { access: String, refresh: String },
    Refreshed { access: String, rotated: Option<String> },
    Revoked(Revoked),
    Rejected,
}

impl Done {
    /// The number of the refresh token that takes the place of another.
    fn rotated(&self) -> Option<usize> {
        match self {
            Self::Refreshed { rotated, .. } => rotated.as_deref().and_then(number),
            Self::Issued { .. } | Self::Revoked(_) | Self::Rejected => None,
        }
    }
}

impl Revoiceit {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn call(&self, call: Call) -> Result<Done, Failure> {
        let weather = {
            let mut inner = self.lock();
            inner.calls += 1;
            inner.weather
        };
        tokio::time::sleep(Duration::from_millis(fastrand::u64(5..300))).await;
        let chance = |percent: u8| weather == Weather::Foul && fastrand::u8(..100) < percent;
        if weather == Weather::Away || chance(10) {
            return Err(Failure::NotSent);
        }
        if weather == Weather::Overloaded || chance(10) {
            let retry_after = fastrand::bool().then(|| Duration::from_secs(fastrand::u64(1..120)));
            self.lock().note_failure(&call);
            return Err(Failure::Unavailable { retry_after });
        }
        if chance(5) {
            tokio::time::sleep(TIMEOUT).await;
            return self.lost(&call);
        }
        // It does its work, whether or not the one who asked is still there.
        let revoiceit = self.clone();
        let asked = call.clone();
        let answer = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(fastrand::u64(5..300))).await;
            revoiceit.lock().process(asked)
        });
        let done = answer.await.expect("it does not panic");
        tokio::time::sleep(Duration::from_millis(fastrand::u64(5..300))).await;
        if chance(5) {
            return self.lost(&call);
        }
        if chance(3) {
            return self.garbled(&call, done);
        }
        self.lock().tell(done.rotated());
        Ok(done)
    }

    fn lost<T>(&self, call: &Call) -> Result<T, Failure> {
        self.lock().count_lost(call);
        Err(Failure::Lost)
    }

    fn garbled<T>(&self, call: &Call, done: Done) -> Result<T, Failure> {
        self.lock().note_failure(call);
        let refresh = match done {
            Done::Rejected => return Err(Failure::Unavailable { retry_after: None }),
            Done::Revoked(_) => {
                self.lock().count_lost(call);
                return Err(Failure::Unavailable { retry_after: None });
            }
            Done::Issued { refresh, .. } => fastrand::bool().then_some(refresh),
            Done::Refreshed { rotated, .. } => rotated.filter(|_| fastrand::bool()),
        };
        self.lock().tell(refresh.as_deref().and_then(number));
        match (&refresh, call) {
            (None, _) => self.lock().count_lost(call),
            (Some(_), Call::Issue { client, .. }) => *self.lock().garbled.entry(client.clone()).or_default() += 1,
            _ => {}
        }
        Err(Failure::Malformed { refresh: refresh.map(RefreshToken::new) })
    }
}

impl Inner {
    fn process(&mut self, call: Call) -> Done {
        match call {
            Call::Issue { client, secret } if self.secrets.get(&client) == Some(&secret) => {
                *self.issues.entry(client.clone()).or_default() += 1;
                let refresh = self.hand_out_refresh(&client, None);
                Done::Issued { access: self.hand_out_access(&client, refresh), refresh: format!("r-{refresh}") }
            }
            Call::Issue { .. } => Done::Rejected,
            Call::Refresh(ref token) => match number(token).filter(|number| self.refresh[*number].is_live) {
                None => {
                    self.note_failure(&call);
                    Done::Rejected
                }
                Some(old) => {
                    let client = self.refresh[old].client.clone();
                    let new = self.rotates.then(|| self.hand_out_refresh(&client, Some(old)));
                    if new.is_some() && !self.old_lives {
                        self.refresh[old].is_live = false;
                    }
                    let access = self.hand_out_access(&client, new.unwrap_or(old));
                    Done::Refreshed { access, rotated: new.map(|new| format!("r-{new}")) }
                }
            },
            Call::Revoke(ref token) => match number(token).filter(|number| self.refresh[*number].is_live) {
                None => {
                    // Another operator's revocation may have ended it, and nobody has said so yet.
                    if number(token).is_some_and(|number| self.refresh[number].is_revoked) {
                        self.count_lost(&call);
                    }
                    Done::Revoked(Revoked::Unknown)
                }
                Some(number) => {
                    let token = &mut self.refresh[number];
                    (token.is_live, token.is_revoked) = (false, true);
                    Done::Revoked(Revoked::Confirmed)
                }
            },
        }
    }

    fn hand_out_refresh(&mut self, client: &str, replaces: Option<usize>) -> usize {
        let is_unknown = replaces.is_some_and(|old| !self.refresh[old].rotates_since.is_some_and(is_past));
        self.refresh.push(Refresh {
            client: client.to_owned(),
            is_live: true,
            is_revoked: false,
            has_failed: false,
            at: clock::truth(),
            replaces,
            rotates_since: None,
            is_unknown,
            has_shown_one: false,
        });
        self.refresh.len() - 1
    }

    fn hand_out_access(&mut self, client: &str, refresh: usize) -> String {
        self.access.push(Access { client: client.to_owned(), refresh, expires_at: clock::truth() + LIFETIME });
        format!("a-{}", self.access.len() - 1)
    }

    /// This refresh token has come to an operator: then it knows that earlier refreshes of the same one, which had no answer, brought another too,
    /// and counts one.
    fn tell(&mut self, refresh: Option<usize>) {
        let Some(number) = refresh else { return };
        self.refresh[number].is_unknown = false;
        let Some(replaced) = self.refresh[number].replaces else { return };
        let is_earlier = |token: &&mut Refresh| token.is_unknown && is_past(token.at) && token.replaces == Some(replaced);
        if !std::mem::replace(&mut self.refresh[replaced].has_shown_one, true)
            && let Some(earlier) = self.refresh[..number].iter_mut().rfind(is_earlier)
        {
            earlier.is_unknown = false;
        }
    }

    fn count_lost(&mut self, call: &Call) {
        let client = match call {
            Call::Issue { client, .. } => client.clone(),
            Call::Refresh(token) if self.rotates => number(token).map(|number| self.refresh[number].client.clone()).unwrap_or_default(),
            Call::Refresh(token) => {
                self.doubted.extend(number(token));
                return;
            }
            // Of a token that is not known then, nobody can tell whether its refresh or its revocation ended it.
            Call::Revoke(token) => match number(token).filter(|number| self.doubted.contains(number)) {
                Some(number) => self.refresh[number].client.clone(),
                None => return,
            },
        };
        *self.lost.entry(client).or_default() += 1;
    }

    fn note_failure(&mut self, call: &Call) {
        if let Call::Refresh(token) = call
            && let Some(number) = number(token)
        {
            let token = &mut self.refresh[number];
            token.has_failed |= !token.is_revoked;
        }
    }

    /// One of the refresh tokens dies.
    pub(crate) fn end_a_line(&mut self) {
        let live: Vec<usize> = (0..self.refresh.len()).filter(|number| self.refresh[*number].is_live).collect();
        if let Some(number) = fastrand::choice(live) {
            self.refresh[number].is_live = false;
        }
    }

    /// The access token with this text.
    pub(crate) fn access(&self, token: &str) -> Option<&Access> {
        self.access.get(number(token)?)
    }
}

/// So long ago that each operator has heard of it.
fn is_past(time: Timestamp) -> bool {
    clock::truth().duration_since(time) > SignedDuration::from_mins(2)
}

/// Tokens are `a-7` and `r-7`.
pub(crate) fn number(token: &str) -> Option<usize> {
    token.split_once('-')?.1.parse().ok()
}

impl Auth for Revoiceit {
    async fn issue(&self, pair: &ClientCredentials) -> Result<Issued, Failure> {
        let (client, secret) = (pair.client_id.expose().to_owned(), pair.client_secret.expose().to_owned());
        match self.call(Call::Issue { client, secret }).await? {
            Done::Issued { access, refresh } => {
                Ok(Issued { access: AccessToken::new(access), refresh: RefreshToken::new(refresh), lifetime: None })
            }
            _ => Err(Failure::Rejected),
        }
    }

    async fn refresh(&self, token: &RefreshToken) -> Result<Refreshed, Failure> {
        match self.call(Call::Refresh(token.expose().to_owned())).await? {
            Done::Refreshed { access, rotated } => {
                Ok(Refreshed { access: AccessToken::new(access), rotated: rotated.map(RefreshToken::new), lifetime: None })
            }
            _ => Err(Failure::Rejected),
        }
    }

    async fn revoke(&self, token: &RefreshToken) -> Result<Revoked, Failure> {
        match self.call(Call::Revoke(token.expose().to_owned())).await? {
            Done::Revoked(revoked) => Ok(revoked),
            _ => Err(Failure::Rejected),
        }
    }
}
