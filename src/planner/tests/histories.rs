//! Long histories: from anywhere it comes to rest, and whatever happens on the way, no refresh token is forgotten.

use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::{collection::vec, prelude::*, sample::select};

use super::{
    arbitrary::{a_credential, a_failure, a_record_of, a_source, targets},
    builders::CredentialExt,
    fixtures::{TARGET, at, credential, foreign, ledger, minutes, name, ours, record, source},
    story::Story,
};
use crate::{
    api::RevoiceitCredential,
    planner::{Claim, Consent, Denied, Ledger, Name, Observed, Owner, Record, Refused, Resource, Source, Target},
    revoiceit::Failure,
};

/// The acts of one pass: what may be needed for all names at once, and some more.
const MOST: usize = 24 + 8;

fn rests(acts: &[String]) -> bool {
    acts.iter().all(|act| act == "Look" || act.starts_with("Rest"))
}

/// Passes at one time, until there is nothing to do at that time.
fn settle(story: &mut Story) -> Result<String, TestCaseError> {
    for _ in 0..30 {
        let acts = story.pass();
        prop_assert!(acts.len() <= MOST, "{acts:#?}");
        let rest = acts.last().cloned().unwrap_or_default();
        if rests(&acts) && story.due != Some(story.now) {
            let again = story.pass();
            prop_assert!(rests(&again) && again.last() == Some(&rest), "it does not rest: {again:#?}");
            return Ok(rest);
        }
    }
    Err(TestCaseError::fail(format!("it does not come to rest: {:#?}", story.pass())))
}

/// Hours, from one due time to the next.
fn live_on(story: &mut Story, until: Timestamp) -> Result<String, TestCaseError> {
    let mut rest = settle(story)?;
    for _ in 0..200 {
        match story.due {
            Some(due) if due <= until => story.now = due,
            _ => return Ok(rest),
        }
        rest = settle(story)?;
    }
    Err(TestCaseError::fail(format!("a pass every {:?}: {rest}", story.due)))
}

/// Without the ends of time, which no clock has brought into a record.
fn sane(record: Record) -> Record {
    let sane = |time: &mut Timestamp| *time = (*time).clamp(at("08:00"), at("12:00"));
    record.edited(|it| {
        it.retiring.iter_mut().for_each(|retiring| {
            sane(&mut retiring.due);
            retiring.not_before.iter_mut().for_each(sane);
        });
        it.intent.iter_mut().for_each(|intent| sane(&mut intent.until));
        it.targets.iter_mut().filter_map(|target| target.left_at.as_mut()).for_each(sane);
    })
}

fn world(credential: RevoiceitCredential, record: Option<Record>, targets: BTreeMap<Name, Target>, source: Source) -> Story {
    let mut story = Story::of(credential);
    story.ledger = record.map_or(Ledger::Absent, |record| ledger(sane(record)));
    story.secrets = targets.into_iter().filter(|(_, target)| !matches!(target, Target::Absent)).collect();
    story.source = source;
    story
}

fn claim_of(story: &Story) -> Claim {
    let resource = story.credential.clone().map_or(Resource::Replaced, CredentialExt::wanted);
    Observed { resource, ..super::fixtures::seen(credential().wanted()) }.claim()
}

/// Nothing stands in the way that a person would have to remove.
fn is_free(story: &Story) -> bool {
    let Some(credential) = &story.credential else { return false };
    let target = story.secrets.get(&name(&credential.spec.target.name));
    !credential.spec.suspend
        && matches!(story.source, Source::Found { .. })
        && claim_of(story) != Claim::Elsewhere
        && !matches!(target, Some(Target::Foreign { consent, .. }) if *consent != Consent::Given)
        && !target.is_some_and(Target::is_held)
}

/// The refresh tokens that live and that nobody has, and those that are counted as such, or will be.
fn unaccounted(story: &Story) -> (usize, usize) {
    let record = story.ledger_here();
    let missed = story.alive.iter().filter(|token| !record.is_some_and(|record| record.holds(token))).count();
    let counted = record.map_or(0, |record| record.suspects.lost as usize + usize::from(record.intent.is_some()));
    (missed, counted)
}

/// Something that happens to the world, or to the next pass.
#[derive(Clone, Debug)]
enum Event {
    Time(u64),
    Fails(Failure),
    DiesAfter(usize),
    LosesReplyOf(&'static str),
    IsFasterThan(&'static str),
    Denied(Refused),
    Allowed,
    RefusesToRevoke(bool),
    Pair(u64),
    Rotate(u64),
    Rename(&'static str),
    Suspend(bool),
    TargetGoes,
    TargetIsEdited,
    TargetIsTaken,
    TargetIsHeld { immutable: bool },
    FinalizerGoes,
}

fn an_event() -> impl Strategy<Value = Event> {
    let act = || select(vec!["Save Intend", "Save Fold", "Save", "Claim", "WriteTarget", "DeleteTarget", "Issue", "Refresh", "Release"]);
    let refused = select(vec![Refused::Target, Refused::Ledger, Refused::Resource]);
    prop_oneof![
        6 => (0..70_u64).prop_map(Event::Time),
        4 => a_failure().prop_map(Event::Fails),
        4 => (1..12_usize).prop_map(Event::DiesAfter),
        2 => act().prop_map(Event::LosesReplyOf),
        2 => act().prop_map(Event::IsFasterThan),
        1 => refused.prop_map(Event::Denied),
        2 => Just(Event::Allowed),
        1 => any::<bool>().prop_map(Event::RefusesToRevoke),
        2 => (1..4_u64).prop_map(Event::Pair),
        2 => (1..4_u64).prop_map(Event::Rotate),
        1 => select(vec![TARGET, "new", "old"]).prop_map(Event::Rename),
        1 => any::<bool>().prop_map(Event::Suspend),
        1 => Just(Event::TargetGoes),
        1 => Just(Event::TargetIsEdited),
        1 => Just(Event::TargetIsTaken),
        1 => any::<bool>().prop_map(|immutable| Event::TargetIsHeld { immutable }),
        1 => Just(Event::FinalizerGoes),
    ]
}

fn happens(story: &mut Story, event: Event) {
    let current = || name(TARGET);
    match event {
        Event::Time(passed) => story.now += minutes(passed),
        Event::Fails(failure) => story.fails([failure]),
        Event::DiesAfter(acts) => story.dies_after = Some(acts),
        Event::LosesReplyOf(act) if !["Issue", "Refresh"].contains(&act) => story.lose_reply_of(act),
        Event::LosesReplyOf(_) => story.fails([Failure::Lost]),
        Event::IsFasterThan(act) => story.before(act, |it| {
            if it.ledger_here().is_some() {
                it.save(|record| record);
            }
            it.edit(|it| it);
        }),
        Event::Denied(what) => story.deny(what, Denied::Quota),
        Event::Allowed => story.denied.clear(),
        Event::RefusesToRevoke(refuses) => story.refuses_to_revoke = refuses,
        Event::Pair(number) => story.source = source(number),
        Event::Rotate(number) => story.edit(|it| it.rotate(&number.to_string())),
        Event::Rename(to) => story.edit(|it| it.target(to)),
        Event::Suspend(is) => story.edit(|it| it.edited(|it| it.spec.suspend = is)),
        Event::TargetGoes => drop(story.secrets.remove(&current())),
        Event::TargetIsEdited => {
            // No edit undoes a deletion.
            let ours_alone = story.secrets.values_mut().filter(|target| matches!(target, Target::Ours { .. }) && !target.is_going());
            ours_alone.for_each(|target| *target = ours(Owner::Me));
        }
        Event::TargetIsTaken => drop(story.secrets.insert(current(), foreign(Consent::NotGiven))),
        Event::TargetIsHeld { immutable } => {
            let ours_alone = story.secrets.values_mut().filter(|target| matches!(target, Target::Ours { .. }));
            ours_alone.for_each(|target| *target = target.clone().held(immutable));
        }
        Event::FinalizerGoes => story.edit(|it| it.edited(|it| it.metadata.finalizers = None)),
    }
}

proptest! {
    #[test]
    fn from_anywhere_it_comes_to_rest_and_rests(
        credential in a_credential(),
        record in prop::option::weighted(0.9, a_record_of(&["another"])),
        targets in targets(),
        source in a_source(),
    ) {
        let mut story = world(credential, record, targets, source);
        let rest = live_on(&mut story, at("15:00"))?;
        match &story.credential {
            Some(credential) if credential.metadata.deletion_timestamp.is_some() => {
                prop_assert!(claim_of(&story) == Claim::Elsewhere || claim_of(&story) == Claim::None, "{rest}");
                prop_assert!(claim_of(&story) == Claim::Elsewhere || matches!(story.ledger, Ledger::Absent), "{rest}");
            }
            Some(_) if is_free(&story) => prop_assert!(rest.starts_with("Rest Ready: TokenReady"), "{rest}"),
            Some(_) => {}
            None => prop_assert!(matches!(story.ledger, Ledger::Absent), "{rest}"),
        }
    }

    #[test]
    fn what_is_gone_leaves_nothing_behind(
        record in a_record_of(&["another"]),
        targets in targets(),
        absent in select(vec![Resource::NotFound { proven: true }, Resource::Replaced]),
    ) {
        // As long as it is valid, a token is left to pods that may read it while a successor has not taken over their target.
        let ends = record.live.as_ref().is_none_or(|live| live.expires_at < at("15:00"));
        prop_assume!(ends || !matches!(absent, Resource::Replaced));
        let mut story = world(credential(), Some(record), targets, source(1));
        (story.credential, story.absent) = (None, absent);
        live_on(&mut story, at("15:00"))?;
        prop_assert!(story.ledger_here().is_none_or(Record::is_empty));
        // What has no owner is kept in the ledger until the successor has taken it over.
        for target in story.secrets.values_mut().filter(|target| matches!(target, Target::Ours { owner: Owner::None, .. })) {
            *target = ours(Owner::OtherUid);
        }
        prop_assert_eq!(live_on(&mut story, at("16:00"))?, "Rest for ever");
        prop_assert!(matches!(story.ledger, Ledger::Absent));
    }

    /// Crashes, faults, conflicts, edits. A token is in the ledger, revoked, or counted; and when the trouble is over, so is its effect.
    #[test]
    fn no_refresh_token_is_forgotten(rotates in any::<bool>(), events in vec(an_event(), 1..40)) {
        let mut story = Story::of(credential());
        story.rotates = rotates;
        if rotates {
            // Where nobody knows yet, the very first rotation has no intent.
            story = story.with(record().live(1, "10:00").edited(|it| it.rotates = true));
            story.edit(CredentialExt::claimed);
        }
        for event in events {
            happens(&mut story, event);
            story.pass();
            let (missed, counted) = unaccounted(&story);
            prop_assert!(missed <= counted, "{missed} of {:?} are missed, {counted} are counted", story.alive.len());
        }
        story.calm_down();
        story.edit(|it| it.edited(|it| it.spec.suspend = false));
        story.secrets.retain(|_, target| matches!(target, Target::Ours { .. }));
        story.let_go();
        let end = story.now + minutes(300);
        let rest = live_on(&mut story, end)?;
        prop_assert!(rest.starts_with("Rest Ready: TokenReady"), "{}", rest);
        story.delete("10:00");
        let suspects = story.record().suspects.lost as usize;
        let end = story.now + minutes(300);
        prop_assert_eq!(live_on(&mut story, end)?, "Rest for ever");
        prop_assert!(story.alive.len() <= suspects);
        prop_assert!(matches!(story.ledger, Ledger::Absent) && story.secrets.is_empty());
    }
}
