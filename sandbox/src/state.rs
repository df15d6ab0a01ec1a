//! The core: what the documented API does to the tokens. No sockets and no clock; the time is an argument.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::{
    calls::{Effect, Made},
    switches::{Rotation, SecondIssue, Switches},
    time::UnixMillis,
    tokens,
    truth::{AccessToken, Checks, Client, Delivery, Line, RefreshState, RefreshToken, Truth},
};

/// Clients and tokens.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", from = "Stored")]
pub(crate) struct State {
    clients: BTreeMap<String, Client>,
    lines: Vec<Line>,
    checks: Checks,
    #[serde(skip)]
    index: HashMap<String, Place>,
}

/// What is saved of a [`State`]; the index is built anew.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    clients: BTreeMap<String, Client>,
    lines: Vec<Line>,
    checks: Checks,
}

/// Where a token is: the places of its line, and of itself in the line.
#[derive(Clone, Copy, Debug)]
enum Place {
    Refresh(usize, usize),
    Access(usize, usize),
}

/// What a call did, and what it hands out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) effect: Effect,
    pub(crate) made: Option<Made>,
    /// The access token for the answer.
    pub(crate) access: Option<String>,
    /// The refresh token for the answer.
    pub(crate) refresh: Option<String>,
}

impl Done {
    pub(crate) fn without_tokens(effect: Effect) -> Self {
        Self { effect, made: None, access: None, refresh: None }
    }
}

/// The three calls.
impl State {
    /// `POST /auth/token`.
    pub(crate) fn issue(&mut self, client: &str, secret: &str, switches: &Switches, now: UnixMillis) -> Done {
        if !self.is_accepted(client, secret, switches.any_client) {
            return Done::without_tokens(Effect::Rejected);
        }
        if switches.second_issue == SecondIssue::SameRefresh
            && let Some((place, token)) = self.last_live_of(client)
        {
            let done = self.hand_out(place, Effect::Issued, false, switches, now);
            return Done { refresh: Some(token), ..done };
        }
        if matches!(switches.second_issue, SecondIssue::EndsRefresh | SecondIssue::EndsAll) {
            for place in 0..self.lines.len() {
                if self.lines[place].client == client {
                    self.end_line(place, RefreshState::Dead, now);
                    if switches.second_issue == SecondIssue::EndsAll {
                        self.end_access(place, now);
                    }
                }
            }
        }
        let place = self.lines.len();
        let number = place as u64 + 1;
        self.lines.push(Line { number, client: client.to_owned(), issued_at: now, refresh: Vec::new(), access: Vec::new() });
        self.hand_out(place, Effect::Issued, true, switches, now)
    }

    /// `POST /auth/refresh`.
    pub(crate) fn refresh(&mut self, token: &str, switches: &Switches, now: UnixMillis) -> Done {
        let Some((place, at)) = self.live_refresh(token) else { return Done::without_tokens(Effect::Rejected) };
        let line = &mut self.lines[place];
        if self.clients.get(&line.client).is_some_and(|client| !client.enabled) {
            return Done::without_tokens(Effect::Rejected);
        }
        if switches.refresh_uses.is_some_and(|uses| line.refresh[at].uses >= uses) {
            line.refresh[at].end(RefreshState::Dead, now);
            return Done::without_tokens(Effect::Rejected);
        }
        line.refresh[at].uses += 1;
        if switches.rotation == Rotation::OldDies {
            line.refresh[at].end(RefreshState::RotatedOut, now);
        }
        let rotates = switches.rotation != Rotation::None;
        self.hand_out(place, if rotates { Effect::Rotated } else { Effect::Refreshed }, rotates, switches, now)
    }

    /// `POST /auth/revoke`.
    pub(crate) fn revoke(&mut self, token: &str, switches: &Switches, now: UnixMillis) -> Done {
        let Some(&Place::Refresh(place, at)) = self.index.get(token) else {
            return Done::without_tokens(if switches.revoke_accepts_unknown { Effect::Ignored } else { Effect::Rejected });
        };
        let was_live = self.lines[place].refresh[at].state == RefreshState::Live;
        let ends_others = switches.revoke_ends_line && self.lines[place].refresh.iter().any(|other| other.state == RefreshState::Live);
        if !was_live && !ends_others {
            return Done::without_tokens(if switches.revoke_accepts_unknown { Effect::Ignored } else { Effect::Rejected });
        }
        self.lines[place].refresh[at].end(RefreshState::Revoked, now);
        if ends_others {
            self.end_line(place, RefreshState::Revoked, now);
        }
        if switches.revoke_ends_access {
            self.end_access(place, now);
        }
        Done::without_tokens(Effect::Revoked)
    }

    /// `GET /check`: the line of an access token that is valid now.
    pub(crate) fn check(&mut self, access: &str, now: UnixMillis) -> Option<(&Line, &AccessToken)> {
        let valid = match self.index.get(access) {
            Some(&Place::Access(place, at)) if self.lines[place].access[at].is_valid(now) => Some((place, at)),
            _ => None,
        };
        match valid {
            Some(_) => self.checks.accepted += 1,
            None => self.checks.refused += 1,
        }
        valid.map(|(place, at)| (&self.lines[place], &self.lines[place].access[at]))
    }

    fn is_accepted(&self, client: &str, secret: &str, any_client: bool) -> bool {
        match self.clients.get(client) {
            Some(known) => known.enabled && known.secret.as_deref().map_or(any_client, |expected| expected == secret),
            None => any_client,
        }
    }

    /// Adds an access token to a line, and a refresh token if it gets one.
    /// The last of the client's lines that lives, and its refresh token.
    fn last_live_of(&self, client: &str) -> Option<(usize, String)> {
        let of_client = self.lines.iter().enumerate().rev().filter(|(_, line)| line.client == client);
        let mut live = of_client.filter_map(|(place, line)| {
            let token = line.refresh.iter().rev().find(|token| token.state == RefreshState::Live)?;
            Some((place, token.token.clone()))
        });
        live.next()
    }

    fn hand_out(&mut self, place: usize, effect: Effect, with_refresh: bool, switches: &Switches, now: UnixMillis) -> Done {
        let line = &mut self.lines[place];
        let access = tokens::access(switches, &line.client, now);
        self.index.insert(access.clone(), Place::Access(place, line.access.len()));
        line.access.push(AccessToken {
            token: access.clone(),
            issued_at: now,
            expires_at: now + switches.lifetime,
            ended_at: None,
            delivery: Delivery::Pending,
        });
        let refresh = with_refresh.then(tokens::refresh);
        if let Some(token) = &refresh {
            self.index.insert(token.clone(), Place::Refresh(place, line.refresh.len()));
            line.refresh.push(RefreshToken::new(token.clone(), now));
        }
        let made = Made { line: line.number, access: line.access.len(), refresh: refresh.is_some().then_some(line.refresh.len()) };
        Done { effect, made: Some(made), access: Some(access), refresh }
    }
}

/// What tests do and see.
impl State {
    pub(crate) fn truth(&self, at: UnixMillis) -> Truth {
        Truth { at, clients: self.clients.values().cloned().collect(), lines: self.lines.clone(), checks: self.checks }
    }

    /// Adds a client, or gives it another secret.
    pub(crate) fn add_client(&mut self, id: &str, secret: &str) {
        self.clients.insert(id.to_owned(), Client { id: id.to_owned(), secret: Some(secret.to_owned()), enabled: true });
    }

    /// Disables a client, or enables it again. One that came in by `anyClient` is known from then on.
    pub(crate) fn enable_client(&mut self, id: &str, enabled: bool) {
        self.clients.entry(id.to_owned()).or_insert_with(|| Client { id: id.to_owned(), secret: None, enabled }).enabled = enabled;
    }

    /// Deletes a client, and ends its lines. `false`: there is none.
    pub(crate) fn remove_client(&mut self, id: &str, now: UnixMillis) -> bool {
        self.kill_client(id, now);
        self.clients.remove(id).is_some()
    }

    /// Ends all lines of a client, and says how many were live.
    pub(crate) fn kill_client(&mut self, id: &str, now: UnixMillis) -> usize {
        (0..self.lines.len()).filter(|&place| self.lines[place].client == id && self.end_line(place, RefreshState::Dead, now)).count()
    }

    /// Ends a line as if Revoiceit had. `false`: none of its refresh tokens was live.
    pub(crate) fn kill_line(&mut self, number: u64, now: UnixMillis) -> bool {
        let place = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        place.filter(|&place| place < self.lines.len()).is_some_and(|place| self.end_line(place, RefreshState::Dead, now))
    }

    /// Ends one refresh token as if Revoiceit had. `false`: it was not live.
    pub(crate) fn kill_token(&mut self, token: &str, now: UnixMillis) -> bool {
        let live = self.live_refresh(token);
        if let Some((place, at)) = live {
            self.lines[place].refresh[at].end(RefreshState::Dead, now);
        }
        live.is_some()
    }

    /// The number and the client of the line that a refresh token belongs to, and the token's number in it.
    pub(crate) fn whose_refresh(&self, token: &str) -> Option<(&Line, usize)> {
        match self.index.get(token) {
            Some(&Place::Refresh(place, at)) => Some((&self.lines[place], at + 1)),
            _ => None,
        }
    }

    /// Writes down whether the tokens of a call arrived.
    pub(crate) fn settle(&mut self, made: Made, access: Delivery, refresh: Delivery) {
        let Some(line) = self.lines.get_mut(made.line as usize - 1) else { return };
        line.access[made.access - 1].delivery = access;
        if let Some(number) = made.refresh {
            line.refresh[number - 1].delivery = refresh;
        }
    }

    fn live_refresh(&self, token: &str) -> Option<(usize, usize)> {
        match self.index.get(token) {
            Some(&Place::Refresh(place, at)) if self.lines[place].refresh[at].state == RefreshState::Live => Some((place, at)),
            _ => None,
        }
    }

    /// Ends what is live of a line's refresh tokens. `false`: nothing was.
    fn end_line(&mut self, place: usize, state: RefreshState, now: UnixMillis) -> bool {
        let live = self.lines[place].refresh.iter_mut().filter(|token| token.state == RefreshState::Live);
        live.map(|token| token.end(state, now)).count() > 0
    }

    /// Ends what is valid of a line's access tokens.
    fn end_access(&mut self, place: usize, now: UnixMillis) {
        self.lines[place].access.iter_mut().filter(|token| token.is_valid(now)).for_each(|token| token.ended_at = Some(now));
    }
}

impl RefreshToken {
    fn new(token: String, issued_at: UnixMillis) -> Self {
        Self { token, issued_at, state: RefreshState::Live, ended_at: None, uses: 0, delivery: Delivery::Pending }
    }

    fn end(&mut self, state: RefreshState, now: UnixMillis) {
        self.state = state;
        self.ended_at = Some(now);
    }
}

impl From<Stored> for State {
    fn from(stored: Stored) -> Self {
        let Stored { clients, lines, checks } = stored;
        let mut index = HashMap::new();
        for (place, line) in lines.iter().enumerate() {
            index.extend(line.refresh.iter().enumerate().map(|(at, token)| (token.token.clone(), Place::Refresh(place, at))));
            index.extend(line.access.iter().enumerate().map(|(at, token)| (token.token.clone(), Place::Access(place, at))));
        }
        Self { clients, lines, checks, index }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::truth::LineState;

    const HOUR: Duration = Duration::from_secs(3600);
    const START: UnixMillis = UnixMillis(1_000_000);

    /// A world with the client `a`, and the tokens of its first line.
    fn state() -> (State, String, String) {
        let mut state = State::default();
        state.add_client("a", "s");
        let done = state.issue("a", "s", &Switches::default(), START);
        (state, done.access.expect("it was issued"), done.refresh.expect("it was issued"))
    }

    #[test]
    fn an_access_token_is_valid_until_its_hour_is_over_and_not_a_millisecond_longer() {
        let (mut state, access, refresh) = state();
        state.revoke(&refresh, &Switches::default(), START);
        assert!(state.check(&access, (START + HOUR).offset(-1)).is_some());
        assert!(state.check(&access, START + HOUR).is_none());
        assert!(state.check(&access, START.offset(-1)).is_none(), "nor before it was issued");
    }

    #[test]
    fn a_line_that_rotated_is_live_as_long_as_one_of_its_tokens_is() {
        let (mut state, _, first) = state();
        let rotates = Switches { rotation: Rotation::OldLives, ..Switches::default() };
        let second = state.refresh(&first, &rotates, START + HOUR).refresh.expect("it rotates");
        for (token, expected) in [(&first, LineState::Live), (&second, LineState::Revoked)] {
            assert_eq!(state.revoke(token, &rotates, START + HOUR).effect, Effect::Revoked);
            assert_eq!(state.truth(START).lines[0].state(), expected);
        }
    }

    #[test]
    fn a_line_says_what_its_last_token_came_to() {
        let (mut state, _, first) = state();
        let rotates = Switches { rotation: Rotation::OldDies, ..Switches::default() };
        let second = state.refresh(&first, &rotates, START + HOUR).refresh.expect("it rotates");
        assert_eq!(state.refresh(&first, &rotates, START + HOUR).effect, Effect::Rejected);
        assert!(state.kill_token(&second, START + HOUR));
        assert_eq!(state.truth(START).lines[0].state(), LineState::Dead);
    }

    #[test]
    fn what_is_saved_and_read_back_is_the_same_and_its_tokens_are_found() {
        let (state, access, refresh) = state();
        let saved = serde_json::to_string(&state).expect("it can be written");
        let mut read: State = serde_json::from_str(&saved).expect("it can be read");
        assert_eq!(read.truth(START), state.truth(START));
        assert!(read.check(&access, START).is_some());
        assert_eq!(read.refresh(&refresh, &Switches::default(), START).effect, Effect::Refreshed);
    }
}
