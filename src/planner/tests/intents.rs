//! What is written before a call that may create a token, and what becomes of it: used, withdrawn, waited for, taken for lost.

use super::{
    builders::CredentialExt,
    fixtures::{TARGET, at, credential, digest, foreign, intent, me, name, record, refresh, seconds, seen, settled, source, unavailable},
    story::Story,
    words::in_words,
};
use crate::{
    planner::{
        Act, Cause, Change, Consent, Denied, Intent, IntentCall, News, Plan, Record, Refused, Retiring, Sighted, Source, Target, plan,
    },
    revoiceit::Failure,
};

#[test]
fn an_intent_says_all_that_a_crash_must_not_hide() {
    let seen = seen(credential().wanted()).edited(|it| it.spent.tried = Some(name(TARGET)));
    let intent = Intent { call: IntentCall::Issue, cause: Cause::First, source: digest(1), stamp: me(), until: at("10:02") };
    let change = Change::Intend { intent, target: name(TARGET), next_issue: at("10:15") };
    assert_eq!(plan(&seen, at("10:00")), Plan::Act(Act::SaveLedger(change.clone())));
    let expected = Record { claimed: false, ..record().listed(TARGET).intent("me", "10:02") }.edited(|it| it.next_issue = at("10:15"));
    assert_eq!(crate::planner::revised(&seen, &change), expected);
}

#[test]
fn a_call_is_made_on_an_intent_of_ones_own_and_no_later_than_it_says() {
    let seen = seen(credential().claimed().wanted())
        .with(record().listed(TARGET).intent("me", "10:01:30"))
        .edited(|it| it.spent.tried = Some(name(TARGET)));
    assert_eq!(plan(&seen, at("10:00")), Plan::Act(Act::Issue { until: at("10:01:30") }));

    let refresh = Intent { call: IntentCall::Refresh { revision: 1 }, cause: Cause::Refresh, ..intent("me", "10:51:30") };
    let seen = settled().with(record().live(1, "10:00").edited(|it| (it.rotates, it.intent) = (true, Some(refresh)))).looked_at("10:50");
    assert_eq!(plan(&seen, at("10:50")), Plan::Act(Act::Refresh { revision: 1, until: Some(at("10:51:30")) }));
}

/// Whoever waits for its answer counts it as lost from then on.
#[test]
fn an_intent_that_ran_out_before_its_call_was_sent_is_written_anew() {
    let mut story = Story::of(credential());
    story.before("Claim", |it| it.now = at("10:02"));
    assert_eq!(story.pass()[2..9], ["Save Intend First", "Claim", "Look", "Save Withdraw", "Save Intend First", "Issue", "Save Fold"]);
    assert_eq!((story.record().suspects.lost, story.record().next_issue), (0, at("10:17")), "and it has cost one issue");

    let mut story = Story::of(credential().claimed()).with(record().live(1, "10:00").edited(|it| it.rotates = true));
    story.rotates = true;
    story.at("10:50").before("Save Intend", |it| it.now = at("10:52"));
    assert_eq!(story.pass()[..6], ["Look", "Save Intend Refresh 1", "Look", "Save Withdraw", "Save Intend Refresh 1", "Refresh 1"]);
}

#[test]
fn the_answer_to_anothers_intent_is_waited_for_and_then_taken_for_lost() {
    let mut story = Story::of(credential().claimed()).with(record().intent("another", "10:01"));
    assert_eq!(story.pass(), ["Look", "Rest Reconciling: WaitingForAnswer until 10:01:00"]);
    let acts = story.pass_on();
    assert_eq!(acts[..5], ["Look", "Save Suspect", "Look", "TryTarget speech-token", "Save Intend First"]);
    assert_eq!(story.record().suspects.lost, 1);
    assert!(story.told.iter().any(|told| told.news == News::SuspectedLost));
}

#[test]
fn while_anothers_intent_stands_nothing_else_is_held_up() {
    let mut story = Story::of(credential().claimed()).with(record().live(1, "10:00").retiring(2, "10:00").intent("another", "10:01"));
    story.secrets.clear();
    assert_eq!(
        story.pass(),
        ["Look", "WriteTarget speech-token", "Look", "Revoke 2", "Save Fold", "Rest Ready: TokenReady until 10:01:00"]
    );
    let mut story = Story::of(credential().claimed()).with(record().live(1, "10:00").intent("another", "10:51"));
    assert_eq!(story.at("10:50").pass(), ["Rest Ready: WaitingForAnswer until 10:51:00"], "a refresh may be what it was written for");
}

/// Two at once: the conditional write lets one through.
#[test]
fn of_two_intents_one_is_written() {
    let mut story = Story::of(credential().claimed()).with(record());
    story.before("Save Intend", |it| it.save(|record| record.intent("another", "10:02")));
    assert_eq!(story.pass()[2..], ["Save Intend First", "Look", "Rest Reconciling: WaitingForAnswer until 10:02:00"]);
}

/// At each point between the intent and the call something gets in the way.
#[test]
fn an_intent_that_was_not_sent_is_withdrawn_whatever_gets_in_the_way() {
    type Trouble = fn(&mut Story);
    let troubles: [(&str, Trouble); 7] = [
        ("suspended", |it| it.edit(CredentialExt::suspended)),
        ("deleted", |it| it.delete("10:00")),
        ("the credentials are gone", |it| it.source = Source::Missing),
        ("the target is somebody else's", |it| drop(it.secrets.insert(name(TARGET), foreign(Consent::NotGiven)))),
        ("the resource is gone", |it| it.credential = None),
        ("the claim is refused", |it| it.deny(Refused::Resource, Denied::Admission)),
        ("another operator's", |it| it.edit(|it| it.with_claim(&format!("elsewhere/{}", super::fixtures::UID)))),
    ];
    for (trouble, happens) in troubles {
        for point in ["Save Intend", "Claim", "Issue"] {
            let mut story = Story::of(credential());
            story.before(point, move |it| {
                happens(it);
                // Whatever happens is seen by a look: the resource or the ledger has changed.
                let version = it.version();
                it.credential.iter_mut().for_each(|it| it.metadata.resource_version = Some(version.clone()));
            });
            let acts = story.pass();
            let is_sent = acts.contains(&"Issue".to_owned());
            let stands = story.ledger_here().is_some_and(|record| record.intent.is_some());
            assert!(!stands, "{trouble}, before {point}: {acts:#?}");
            let suspects = story.ledger_here().map_or(0, |record| record.suspects.lost);
            assert_eq!(suspects, 0, "{trouble}, before {point}: {acts:#?}");
            let budget = story.ledger_here().map_or(at("10:00"), |record| record.next_issue);
            assert_eq!(budget, if is_sent { at("10:15") } else { at("10:00") }, "{trouble}, before {point}: {acts:#?}");
        }
    }
}

#[test]
fn an_intent_whose_resource_is_gone_before_the_claim_leaves_nothing_behind() {
    let mut story = Story::of(credential());
    story.before("Claim", |it| it.credential = None);
    assert_eq!(story.pass()[2..], ["Save Intend First", "Claim", "Look", "Save Withdraw", "DeleteLedger", "Rest for ever"]);
}

#[test]
fn an_edit_under_way_does_not_end_the_pass() {
    let mut story = Story::of(credential());
    story.before("Claim", |it| it.edit(|it| it.annotated("a", "b")));
    assert_eq!(story.pass()[2..6], ["Save Intend First", "Claim", "Look", "Claim"]);
}

#[test]
fn an_intent_of_another_kind_is_withdrawn() {
    let refresh = Intent { call: IntentCall::Refresh { revision: 1 }, cause: Cause::Refresh, ..intent("me", "10:02") };
    let seen = settled().with(record().live(1, "10:00").edited(|it| it.intent = Some(refresh))).delivered();
    assert_eq!(plan(&seen, at("10:00")), Plan::Act(Act::SaveLedger(Change::Withdraw)));
}

#[test]
fn a_refresh_that_is_withdrawn_gives_no_budget_back() {
    let refresh = Intent { call: IntentCall::Refresh { revision: 1 }, cause: Cause::Refresh, ..intent("me", "10:02") };
    let before = record().live(1, "10:00").edited(|it| (it.intent, it.next_issue) = (Some(refresh), at("10:15")));
    let after = crate::planner::revised(&settled().with(before), &Change::Withdraw);
    assert_eq!((after.intent, after.next_issue), (None, at("10:15")));
}

/// Its answer may be lost to somebody who has taken the intent for lost already: the token goes where it is revoked.
#[test]
fn an_answer_that_comes_after_its_intent_ran_out_is_saved_to_be_revoked() {
    let mut story = Story::of(credential().claimed()).with(record().listed(TARGET));
    story.before("Save Fold", |it| {
        it.at("10:02");
        it.save(|record| record.edited(|it| (it.intent, it.suspects.lost) = (None, 1)));
    });
    let acts = story.pass();
    assert_eq!(acts[3..], ["Issue", "Save Fold", "Look", "Save Fold", "Rest Reconciling: Issuing until now"]);
    let came_late = Retiring {
        revision: 1,
        refresh: refresh(11),
        due: at("10:02"),
        tries: 0,
        not_before: None,
        worked_at: Some(at("10:00")),
        unanswered: false,
        refused: false,
    };
    assert_eq!((story.record().live.clone(), story.record().retiring.clone()), (None, vec![came_late]));
}

#[test]
fn an_answer_for_a_closed_record_is_saved_to_be_revoked() {
    let mut story = Story::of(credential().claimed()).with(record().listed(TARGET));
    story.before("Save Fold", |it| {
        it.delete("10:00");
        it.save(Record::closed);
    });
    let acts = story.pass();
    assert_eq!(acts[3..], ["Issue", "Save Fold", "Look", "Save Fold", "Release", "Rest until now"]);
    assert_eq!(story.record().retiring.iter().map(|it| it.due).collect::<Vec<_>>(), [at("10:00")]);
}

#[test]
fn an_answer_for_what_is_deleted_meanwhile_is_saved_and_revoked() {
    let mut story = Story::of(credential().claimed()).with(record().listed(TARGET));
    story.before("Save Fold", |it| {
        it.delete("10:00");
        it.save(|record| record);
    });
    let acts = story.pass();
    assert_eq!(acts[3..], ["Issue", "Save Fold", "Look", "Save Fold", "Rest Reconciling: Revoking until now"]);
    assert_eq!(story.pass(), ["Look", "Look", "Revoke 1", "Save Fold", "Release", "DeleteLedger", "Rest for ever"]);
}

/// A retirement that another replica folded meanwhile must not burn a good token.
#[test]
fn a_conflict_while_saving_does_not_cost_the_token() {
    let mut story = Story::of(credential().claimed()).with(record().listed(TARGET).retiring(1, "09:00"));
    story.before("Save Fold", |it| it.save(|record| record.edited(|it| it.retiring.clear())));
    let acts = story.pass();
    assert_eq!(acts[3..7], ["Issue", "Save Fold", "Look", "Save Fold"]);
    assert_eq!(story.record().live.as_ref().map(|live| live.refresh.clone()), Some(refresh(11)));
}

/// Lost replies are judged by what the record says.
#[test]
fn a_lost_reply_is_read_back() {
    for lost in ["Save Intend", "Claim", "Save Fold", "WriteTarget"] {
        let mut story = Story::of(credential());
        story.lose_reply_of(lost);
        let acts = story.pass();
        assert_eq!(acts.iter().filter(|act| *act == "Issue").count(), 1, "{lost}: {acts:?}");
        assert_eq!(acts.last().map(String::as_str), Some("Rest Ready: TokenReady until 10:44:00"), "{lost}");
        assert_eq!(story.record().suspects, Default::default(), "{lost}");
    }
}

#[test]
fn where_refreshes_rotate_they_have_intents() {
    let mut story = Story::of(credential().claimed()).with(record().live(1, "10:00"));
    story.rotates = true;
    assert_eq!(story.at("10:44:01").pass()[..3], ["Look", "Refresh 1", "Save Fold"], "nobody knows yet");
    assert!(story.record().rotates);
    assert_eq!(story.at("11:30").pass()[..4], ["Look", "Save Intend Refresh 2", "Refresh 2", "Save Fold"]);
}

#[test]
fn a_rotating_refresh_keeps_both_tokens_and_takes_the_old_one_out_after_the_grace() {
    let mut story = Story::of(credential().claimed()).with(record().live(1, "10:00").edited(|it| it.rotates = true));
    story.rotates = true;
    assert_eq!(
        story.at("10:44:01").pass(),
        [
            "Look",
            "Save Intend Refresh 1",
            "Refresh 1",
            "Save Fold",
            "WriteTarget speech-token",
            "Save Shorten to 10:49:01",
            "Rest Ready: TokenReady until 10:49:01",
        ]
    );
    let record = story.record();
    assert_eq!(record.live.as_ref().map(|live| (live.revision, live.refresh.clone())), Some((2, refresh(11))));
    assert_eq!(
        record.retiring,
        [Retiring {
            revision: 1,
            refresh: refresh(1),
            due: at("10:49:01"),
            tries: 0,
            not_before: None,
            worked_at: None,
            unanswered: false,
            refused: false
        }]
    );
    assert_eq!(record.intent, None);
    story.fails([Failure::Rejected]);
    assert_eq!(story.pass_on(), ["Look", "Revoke 1", "Save Fold", "Rest Ready: TokenReady until 11:28:01"]);
    assert_eq!(story.record().suspects, Default::default(), "it was replaced: that it is unknown is no loss");
}

#[test]
fn a_rotating_refresh_whose_line_was_refreshed_by_another_is_not_sent() {
    let mut story = Story::of(credential().claimed()).with(record().live(1, "10:00").edited(|it| it.rotates = true));
    story.before("Save Intend", |it| it.save(|record| record.live(2, "10:44")));
    let acts = story.at("10:44:01").pass();
    assert_eq!(acts[1..4], ["Save Intend Refresh 1", "Look", "WriteTarget speech-token"]);
}

#[test]
fn a_refresh_of_a_line_that_is_not_live_any_more_brings_nothing_and_its_new_token_is_revoked() {
    let mut story = Story::of(credential().claimed()).with(record().live(1, "10:00"));
    story.rotates = true;
    story.before("Save Fold", |it| it.save(|record| record.live(2, "10:44")));
    let acts = story.at("10:44:01").pass();
    assert_eq!(acts[1..4], ["Refresh 1", "Save Fold", "Look"]);
    assert_eq!(story.record().live, Some(super::fixtures::live(2, "10:44")));
    assert_eq!(story.record().retiring.iter().map(|it| (it.refresh.clone(), it.due)).collect::<Vec<_>>(), [(refresh(11), at("10:44:01"))]);
}

#[test]
fn a_look_serves_for_a_minute() {
    let seen = settled().target(TARGET, Target::Absent);
    let planned = |clock| match plan(&seen, at(clock)) {
        Plan::Act(act) => in_words(&act),
        Plan::Rest(rest) => panic!("{rest:?}"),
    };
    assert_eq!(planned("10:01:00"), "WriteTarget speech-token");
    assert_eq!(planned("10:01:01"), "Look");
    assert_eq!(planned("09:59:59"), "Look", "the clock went back");
    let holding = seen.clone().holding(crate::planner::Hand::Ended { token: refresh(1), unknown: false, disputed: false });
    assert_eq!(plan(&holding, at("10:01:01")), Plan::Act(Act::Look), "also before a fold");
    let blind = seen.edited(|it| it.sighted = Sighted::No);
    assert_eq!(plan(&blind, at("10:00")), Plan::Act(Act::Look));
}

#[test]
fn one_look_covers_one_call() {
    let mut story = Story::of(credential().claimed()).with(record().live(1, "10:00"));
    story.fails([Failure::Rejected]);
    story.before("Refresh", |it| it.delete("10:55"));
    let acts = story.at("10:55").pass();
    assert_eq!(acts[..5], ["Look", "Refresh 1", "Save Fold", "Look", "DeleteTarget speech-token"], "nothing is issued");
}

#[test]
fn a_pass_that_is_spent_still_saves_and_withdraws() {
    let spent = |record: Record| settled().with(record).edited(|it| it.spent.acts = 24);
    let intended = spent(record().live(1, "10:00").intent("me", "10:02"));
    assert_eq!(plan(&intended, at("10:00")), Plan::Act(Act::SaveLedger(Change::Withdraw)));
    let holding =
        spent(record().live(1, "10:00")).holding(crate::planner::Hand::Ended { token: refresh(1), unknown: false, disputed: false });
    assert_eq!(plan(&holding, at("10:00")), Plan::Act(Act::SaveLedger(Change::Fold { now: at("10:00"), close: false })));
    let Plan::Rest(rest) = plan(&spent(record().live(1, "10:00")), at("10:00")) else { panic!("a rest") };
    assert_eq!(rest.until, crate::planner::Until::At(at("10:00") + seconds(5)));
    let reason = |rest: crate::planner::Rest| rest.status.expect("a status").conditions[0].reason.clone();
    assert_eq!(reason(rest), "TokenReady", "it says how things are, not that the pass was long");
    let leaving = seen(credential().claimed().deleting("10:00").leaving()).with(record().live(1, "10:00")).edited(|it| it.spent.acts = 24);
    let Plan::Rest(rest) = plan(&leaving, at("10:00")) else { panic!("a rest") };
    assert_eq!(reason(rest), "Revoking");
}

/// Somebody who writes the ledger again and again does not keep the pass for ever.
#[test]
fn a_pass_that_always_comes_second_ends() {
    let mut story = Story::of(credential().claimed()).with(record().live(1, "10:00"));
    story.source = source(2);
    for _ in 0..40 {
        story.before("Save Intend", |it| it.save(|record| record));
    }
    let acts = story.pass();
    assert_eq!((acts.len(), acts.last().map(String::as_str)), (24, Some("Rest Ready: TokenReady until 10:00:05")));
}

#[test]
fn an_issue_that_fails_is_one_call() {
    let mut story = Story::of(credential());
    story.fails([unavailable()]);
    let acts = story.pass();
    assert_eq!(acts[4..], ["Issue", "Save Fold", "Rest Reconciling: RevoiceitUnavailable until 10:00:05"]);
}
