//! What keeps a token from being delivered, and where it was delivered before.

use super::{
    builders::CredentialExt,
    fixtures::{TARGET, at, credential, foreign, name, ours, record, settled, source, written},
    story::Story,
};
use crate::planner::{Act, Change, Consent, Denied, Name, Owner, Plan, Refused, Target, TargetId, Until, plan};

fn delivered() -> Story {
    Story::of(credential().claimed()).with(record().live(1, "10:00"))
}

fn is_in(story: &Story, target: &str) -> bool {
    story.secrets.contains_key(&name(target))
}

fn listed(story: &Story) -> Vec<(&str, bool)> {
    story.record().targets.iter().map(|target| (target.name.as_str(), target.left_at.is_some())).collect()
}

#[test]
fn renamed_the_new_one_is_supplied_before_the_old_one_goes() {
    let mut story = delivered();
    story.edit(|it| it.target("new"));
    assert_eq!(
        story.pass(),
        [
            "Look",
            "Save List new",
            "WriteTarget new",
            "DeleteTarget speech-token",
            "Save Unlist speech-token",
            "Rest Ready: TokenReady until 10:02:00",
        ]
    );
    assert!(is_in(&story, "new") && !is_in(&story, TARGET));
    assert_eq!(story.pass_on(), ["Look", "Save Forget speech-token", "Rest Ready: TokenReady until 10:44:00"]);
    assert_eq!(story.record().targets, [TargetId { name: name("new"), left_at: None }]);
}

#[test]
fn renamed_and_back_the_name_has_not_been_left() {
    let mut story = delivered();
    story.edit(|it| it.target("new"));
    story.pass();
    story.edit(|it| it.target(TARGET));
    assert_eq!(
        story.at("10:01").pass(),
        [
            "Look",
            "Save List speech-token",
            "WriteTarget speech-token",
            "DeleteTarget new",
            "Save Unlist new",
            "Rest Ready: TokenReady until 10:03:00",
        ]
    );
    assert_eq!(listed(&story), [("speech-token", false), ("new", true)]);
}

#[test]
fn renamed_to_a_name_of_somebody_elses_the_old_target_stays() {
    let mut story = delivered();
    story.secrets.insert(name("new"), foreign(Consent::NotGiven));
    story.edit(|it| it.target("new"));
    assert_eq!(story.pass(), ["Rest Stalled: TargetConflict until 10:44:00"]);
    assert!(is_in(&story, TARGET));
}

#[test]
fn of_two_renames_between_two_passes_the_last_counts() {
    let mut story = delivered();
    story.edit(|it| it.target("between"));
    story.edit(|it| it.target("last"));
    let acts = story.pass();
    assert!(!acts.iter().any(|act| act.contains("between")), "{acts:?}");
    assert!(is_in(&story, "last") && !is_in(&story, TARGET));
    assert_eq!(listed(&story), [("speech-token", true), ("last", false)]);
}

#[test]
fn of_two_renames_one_after_the_other_both_old_names_are_left() {
    let mut story = delivered();
    for target in ["between", "last"] {
        story.edit(|it| it.target(target));
        story.pass();
    }
    assert_eq!(story.secrets.keys().map(Name::as_str).collect::<Vec<_>>(), ["last"]);
    assert_eq!(story.at("10:02").pass()[..3], ["Look", "Save Forget speech-token", "Save Forget between"]);
    assert_eq!(listed(&story), [("last", false)]);
}

#[test]
fn a_name_that_was_left_to_another_resource_is_its() {
    let mut story = delivered();
    story.edit(|it| it.target("new"));
    story.pass();
    story.secrets.insert(name(TARGET), foreign(Consent::NotGiven));
    assert_eq!(story.at("10:02").pass()[..2], ["Look", "Save Forget speech-token"]);
    assert!(is_in(&story, TARGET));
}

/// A write under the old name was sent before the rename and arrives after it.
#[test]
fn a_late_write_under_a_name_that_was_left_is_found() {
    let mut story = delivered();
    story.edit(|it| it.target("new"));
    story.pass();
    story.secrets.insert(name(TARGET), ours(Owner::Me));
    assert_eq!(story.at("10:01").pass(), ["Look", "DeleteTarget speech-token", "Rest Ready: TokenReady until 10:02:00"]);
}

/// The Secret was absent in a look of a time at which a late write could still come.
#[test]
fn a_name_is_forgotten_only_by_a_look_that_was_begun_when_no_write_could_come_any_more() {
    let seen =
        settled().with(record().live(1, "09:50").left("old", "09:58:30")).target("old", Target::Absent).delivered().looked_at("10:00");
    let plan_at = |clock| plan(&seen, at(clock));
    assert!(matches!(plan_at("10:00:29"), Plan::Rest(rest) if rest.until == Until::At(at("10:00:30"))));
    assert_eq!(plan_at("10:00:30"), Plan::Act(Act::Look));
    let seen = seen.looked_at("10:00:30");
    assert_eq!(plan(&seen, at("10:00:30")), Plan::Act(Act::SaveLedger(Change::Forget(name("old")))));
}

/// Quota, policy and so on: no token is obtained that could not be delivered, and the try is repeated.
#[test]
fn what_refuses_the_dry_run_is_told_and_nothing_is_minted() {
    for (denied, rest) in [
        (Denied::Terminating, "Reconciling: NamespaceTerminating"),
        (Denied::Quota, "Stalled: QuotaExceeded"),
        (Denied::Admission, "Stalled: AdmissionDenied"),
        (Denied::Invalid, "Stalled: TargetInvalid"),
        (Denied::TooLarge, "Stalled: TargetTooLarge"),
        (Denied::Forbidden, "Stalled: PermissionDenied"),
    ] {
        let mut story = Story::of(credential());
        story.deny(Refused::Target, denied);
        assert_eq!(story.pass(), ["Look".to_owned(), "TryTarget speech-token".into(), format!("Rest {rest} until 10:05:00")]);
        story.denied.clear();
        assert!(story.pass_on().contains(&"WriteTarget speech-token".to_owned()));
    }
}

#[test]
fn a_write_that_is_refused_is_not_tried_twice_in_a_pass_and_the_token_is_kept() {
    let mut story = Story::of(credential());
    story.before("WriteTarget", |it| it.deny(Refused::Target, Denied::Quota));
    let acts = story.pass();
    assert_eq!(acts[5..], ["Save Fold", "WriteTarget speech-token", "Rest Stalled: QuotaExceeded until 10:05:00"]);
    assert_eq!(story.pass_on(), ["Look", "WriteTarget speech-token", "Rest Stalled: QuotaExceeded until 10:10:00"]);
    story.denied.clear();
    assert_eq!(story.pass_on(), ["Look", "WriteTarget speech-token", "Rest Ready: TokenReady until 10:44:00"]);
}

#[test]
fn a_refresh_goes_on_while_its_delivery_is_refused() {
    let mut story = delivered();
    story.deny(Refused::Target, Denied::Admission);
    let acts = story.at("10:50").pass();
    assert_eq!(acts, ["Look", "Refresh 1", "Save Fold", "WriteTarget speech-token", "Rest Stalled: AdmissionDenied until 10:55:00"]);
}

/// The namespace's contents go in any order: the target may be gone before its resource is marked.
#[test]
fn in_a_namespace_that_goes_the_target_is_not_restored_and_nobody_is_told() {
    let mut story = delivered();
    story.pass();
    story.told.clear();
    story.secrets.clear();
    story.deny(Refused::Target, Denied::Terminating);
    assert_eq!(story.pass(), ["Look", "WriteTarget speech-token", "Rest Reconciling: NamespaceTerminating until 10:05:00"]);
    assert_eq!(story.told, []);
}

/// Two kinds of writes are refused: neither is tried again in the pass.
#[test]
fn two_refusals_do_not_make_each_other_forgotten() {
    let mut story = delivered();
    story.edit(|it| it.edited(|it| it.metadata.finalizers = None));
    story.secrets.clear();
    story.deny(Refused::Target, Denied::Quota);
    story.deny(Refused::Resource, Denied::Forbidden);
    assert_eq!(story.pass(), ["Look", "Claim", "WriteTarget speech-token", "Rest Stalled: QuotaExceeded until 10:05:00"]);
}

/// A changed pair and an immutable target: what is going to be deleted and created anew cannot be tried dry.
#[test]
fn an_immutable_target_does_not_keep_a_new_line_from_beginning() {
    let mut story = delivered();
    let Target::Ours { owner, data, meta, .. } = written(story.credential.as_ref().expect("it"), story.record().live.as_ref().expect("it"))
    else {
        panic!("ours")
    };
    story.secrets.insert(name(TARGET), Target::Ours { owner, data, meta, immutable: true });
    story.source = source(2);
    let acts = story.pass();
    assert_eq!(acts[6..8], ["DeleteTarget speech-token", "WriteTarget speech-token"]);
}

fn hold(story: &mut Story, target: &str, immutable: bool) {
    let held = story.secrets.remove(&name(target)).expect("a target").held(immutable);
    story.secrets.insert(name(target), held);
}

/// It cannot be written, and its deletion does not take it away: who tries again at once does so for ever.
#[test]
fn an_immutable_target_that_finalizers_hold_is_deleted_once_and_made_anew_when_it_is_gone() {
    let mut story = delivered();
    hold(&mut story, TARGET, true);
    let acts = story.at("10:50").pass();
    assert_eq!(acts, ["Look", "Refresh 1", "Save Fold", "DeleteTarget speech-token", "Rest Stalled: TargetHeld until 11:34:00"]);
    assert_eq!(story.pass(), ["Rest Stalled: TargetHeld until 11:34:00"]);
    story.let_go();
    assert_eq!(story.pass(), ["Look", "WriteTarget speech-token", "Rest Ready: TokenReady until 11:34:00"]);
}

#[test]
fn nothing_is_minted_for_a_target_that_is_immutable_and_going() {
    let mut story = delivered();
    hold(&mut story, TARGET, true);
    story.edit(|it| it.rotate("one"));
    let acts = story.pass();
    assert_eq!(acts[acts.len() - 2..], ["DeleteTarget speech-token", "Rest Stalled: TargetHeld until 10:44:00"], "{acts:?}");
    story.edit(|it| it.rotate("two"));
    assert_eq!(story.pass(), ["Rest Stalled: TargetHeld until 10:44:00"]);
    story.let_go();
    assert!(story.pass().contains(&"Issue".to_owned()));
    assert_eq!(story.record().handled_request.as_deref(), Some("two"));
    // A new resource of the name meets what the last one has left.
    let mut story = Story::of(credential());
    story.secrets.insert(name(TARGET), ours(Owner::OtherUid).held(true).deleted("09:00"));
    assert_eq!(story.pass(), ["Look", "Rest Stalled: TargetHeld until woken"]);
}

/// Somebody has deleted it, and pods read what is in it.
#[test]
fn a_target_that_is_going_is_written_as_long_as_it_is_there() {
    let mut story = delivered();
    hold(&mut story, TARGET, false);
    let going = story.secrets.remove(&name(TARGET)).expect("a target").deleted("10:00");
    story.secrets.insert(name(TARGET), going);
    assert_eq!(story.pass(), ["Rest Ready: TokenReady until 10:44:00"]);
    let acts = story.at("10:50").pass();
    assert_eq!(acts, ["Look", "Refresh 1", "Save Fold", "WriteTarget speech-token", "Rest Ready: TokenReady until 11:34:00"]);
    story.let_go();
    assert_eq!(story.pass(), ["Look", "WriteTarget speech-token", "Rest Ready: TokenReady until 11:34:00"]);
}

#[test]
fn for_finalizers_under_an_old_name_nobody_waits() {
    for immutable in [true, false] {
        let mut story = delivered();
        hold(&mut story, TARGET, immutable);
        story.edit(|it| it.target("new"));
        assert_eq!(
            story.pass()[2..],
            ["WriteTarget new", "DeleteTarget speech-token", "Save Unlist speech-token", "Rest Ready: TokenReady until 10:02:00"]
        );
        assert_eq!(story.pass_on(), ["Look", "Save Forget speech-token", "Rest Ready: TokenReady until 10:44:00"]);
        assert!(is_in(&story, TARGET));
    }
}
