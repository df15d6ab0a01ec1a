//! What pods see, and what must be in the end.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use jiff::SignedDuration;
use revoiceit_operator::api::names;
use serde_json::Value;

use crate::{
    clock,
    history::{History, NAMESPACE, key},
    objects::{Key, Stored},
    revoiceit,
    witness::{client_of, record, value},
};

/// However long something was away, when it has been back for so long everything has been tried again: the longest pause is five minutes.
pub(crate) const LONG: SignedDuration = SignedDuration::from_mins(6);
/// A token is refreshed a quarter of an hour before its end, a wrong clock and a pause less.
const IN_TIME: SignedDuration = SignedDuration::from_mins(4);
/// One whose line has ended is replaced in the last seven and a half minutes, a wrong clock less.
const IN_TIME_ANEW: SignedDuration = SignedDuration::from_mins(2);

impl History {
    /// As a pod does that reads its token.
    pub(crate) fn look(&mut self) {
        let now = clock::truth();
        let mut complaints = Vec::new();
        for wanted in self.wanted.iter().filter(|wanted| wanted.exists && !wanted.suspended) {
            self.report.looks += 1;
            let inner = self.server.lock();
            let token = inner.objects.of.get(&key("secrets", &wanted.target)).and_then(|target| value(target, "accessToken"));
            let revoiceit = self.revoiceit.lock();
            let access = token.as_deref().and_then(|token| revoiceit.access(token));
            let expires_at = access.map(|access| access.expires_at);
            let in_time = if access.is_some_and(|access| revoiceit.refresh[access.refresh].is_live) { IN_TIME } else { IN_TIME_ANEW };
            // A token may be missing only for as long as it takes to obtain or restore it, an expired one be there only if there was no time.
            let is_settled = now.duration_since(wanted.edited_at) >= LONG;
            let was_possible = match expires_at {
                Some(expires_at) if expires_at <= now => self.long_well_at >= expires_at.max(wanted.edited_at + LONG) - in_time,
                _ => self.long_well_at >= now,
            };
            let is_excused = !is_settled || !was_possible;
            self.report.judged += u64::from(!is_excused);
            match expires_at {
                Some(expires_at) if expires_at > now => continue,
                Some(_) => self.report.expired += 1,
                None => self.report.absent += 1,
            }
            if !is_excused {
                let found = expires_at.map_or_else(|| "no token".to_owned(), |expires_at| format!("a token that expired at {expires_at}"));
                complaints.push(format!("{} found {found}, well since {}", wanted.name, self.well_since));
            }
        }
        self.complain(&complaints);
    }

    /// Nothing is wrong any more: every resource has its token, and nothing is written but for refreshes.
    pub(crate) async fn check_rest(&mut self) {
        self.check_tokens();
        let now = clock::truth();
        let mut complaints = Vec::new();
        for wanted in &self.wanted {
            let inner = self.server.lock();
            let Some(resource) = inner.objects.of.get(&key("revoiceitcredentials", &wanted.name)) else {
                complaints.push(format!("{} could not be created again", wanted.name));
                continue;
            };
            let token = inner.objects.of.get(&key("secrets", &wanted.target)).and_then(|target| value(target, "accessToken"));
            let expires_at = token.as_deref().and_then(|token| self.revoiceit.lock().access(token).map(|access| access.expires_at));
            if expires_at.is_none_or(|expires_at| expires_at <= now) {
                complaints.push(format!("{} has no valid token: {}", wanted.name, resource["status"]));
            } else if resource["status"]["conditions"][0]["reason"] != "TokenReady" {
                complaints.push(format!("{} is not ready: {}", wanted.name, resource["status"]["conditions"]));
            }
            let ours = |object: &&Arc<Stored>| object["metadata"]["annotations"][names::RESOURCE_ANNOTATION] == wanted.name.as_str();
            let targets = inner.objects.list("secrets", Some(NAMESPACE)).filter(ours).count();
            if targets != 1 {
                complaints.push(format!("{} has {targets} targets", wanted.name));
            }
        }
        self.complain(&complaints);
    }

    /// Every token that is live is in a ledger, or counted as lost; and for each cause there was one line, and for each that was lost another issue.
    pub(crate) fn check_tokens(&mut self) {
        let (mut complaints, mut unknown) = (Vec::new(), 0);
        {
            let inner = self.server.lock();
            let revoiceit = self.revoiceit.lock();
            let ledgers = inner.objects.list("secrets", Some(crate::replica::SYSTEM)).filter_map(|ledger| record(ledger));
            let known: Vec<String> = ledgers.flat_map(|record| refresh_tokens(&record)).collect();
            for wanted in &self.wanted {
                let client = client_of(&wanted.name);
                let is_missing = |(number, token): &(usize, &revoiceit::Refresh)| {
                    token.client == client && token.is_live && !known.contains(&format!("r-{number}"))
                };
                let missing = revoiceit.refresh.iter().enumerate().filter(is_missing);
                // While the predecessor lives on nothing tells of a token, if just the answer to the first refresh that rotates is lost.
                let (accepted, forgotten): (Vec<_>, Vec<_>) = missing.partition(|(_, token)| self.kind.old_lives && token.is_unknown);
                let (accepted, forgotten) = (accepted.len() as u64, forgotten.len() as u64);
                unknown += accepted;
                let counted = inner.witness.suspects.get(&client).copied().unwrap_or(0);
                if forgotten > counted {
                    complaints.push(format!("{} has {forgotten} forgotten tokens, and {counted} counted as lost", wanted.name));
                }
                let lost = u64::from(revoiceit.lost.get(&client).copied().unwrap_or(0));
                if !self.kind.faults && counted > lost {
                    complaints.push(format!("{} has {counted} tokens counted as lost, and {lost} that were", wanted.name));
                }
                let issues = revoiceit.issues.get(&client).copied().unwrap_or(0);
                let of = |tokens: &HashMap<String, HashSet<usize>>, is_meant: fn(&revoiceit::Refresh) -> bool| {
                    tokens.get(&client).into_iter().flatten().filter(|number| is_meant(&revoiceit.refresh[**number])).count() as u32
                };
                let lines = of(&inner.witness.lines, |token| token.replaces.is_none());
                // A line is a cause for another if Revoiceit answered its refreshes with failures, whatever the operator says.
                let causes = wanted.causes + of(&inner.witness.closed, |token| token.has_failed);
                let garbled = revoiceit.garbled.get(&client).copied().unwrap_or(0);
                if lines > causes || u64::from(issues) > u64::from(causes + garbled) + counted {
                    complaints.push(format!(
                        "{} had {lines} lines in use and {issues} issues for {causes} causes, {counted} counted as lost and {garbled} garbled",
                        wanted.name
                    ));
                }
                let is_quiet = !self.kind.faults && self.kind.storms == 0;
                if is_quiet && issues != wanted.causes {
                    complaints.push(format!("{} has {issues} lines of tokens for {} causes", wanted.name, wanted.causes));
                }
            }
        }
        self.report.unknown = unknown;
        self.complain(&complaints);
    }

    pub(crate) fn delete_all(&mut self) {
        (0..self.wanted.len()).for_each(|number| self.delete(number));
    }

    /// Nothing is left of what was deleted.
    pub(crate) fn check_end(&mut self) {
        self.check_tokens();
        let left: Vec<String> = {
            let inner = self.server.lock();
            let is_ours = |key: &&Key| key.0 == "revoiceitcredentials" || (key.0 == "secrets" && !key.2.starts_with("credentials-"));
            inner.objects.of.keys().filter(is_ours).map(|key| format!("{}/{} is left", key.0, key.2)).collect()
        };
        self.complain(&left);
    }

    pub(crate) fn complain(&self, complaints: &[String]) {
        let mut inner = self.server.lock();
        complaints.iter().for_each(|complaint| inner.witness.violate(complaint));
    }
}

fn refresh_tokens(record: &Value) -> Vec<String> {
    let retiring = record["retiring"].as_array().map(Vec::as_slice).unwrap_or_default();
    let lines = retiring.iter().chain([&record["live"]]);
    lines.filter_map(|line| line["refresh"].as_str().map(str::to_owned)).collect()
}
