//! What users do.

use revoiceit_operator::planner::Consent;

use crate::{
    sight::{Pass, TargetSight},
    state::State,
    world::{BAD_PAIR, Credentials, EDITED, Held, NAMES, Record, Resource, Target, UIDS},
};

/// What a user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    /// Another pair.
    Credentials,
    /// A pair that Revoiceit does not know.
    BadCredentials,
    /// The Secret gets another version and keeps its pair.
    TouchCredentials,
    DeleteCredentials,
    Rename,
    Rotate,
    Suspend,
    Delete,
    /// `--cascade=orphan`
    Orphan,
    Recreate,
    /// From an export, with finalizer and claim.
    Restore,
    /// Finalizer and claim are removed by hand.
    Force,
    DeleteTarget,
    SpoilTarget,
    /// Somebody else creates a Secret under a target's name.
    Foreign,
    /// It is deleted again.
    DeleteForeign,
    /// Its owner consents to its being replaced, or takes that back.
    Consent,
    /// Somebody makes the Secret under the target's name immutable.
    Immutable,
    /// Our annotation is taken off the target.
    Disown,
    DeleteLedger,
}

/// All of them.
pub(crate) const ALL: [Edit; 20] = [
    Edit::Credentials,
    Edit::BadCredentials,
    Edit::TouchCredentials,
    Edit::DeleteCredentials,
    Edit::Rename,
    Edit::Rotate,
    Edit::Suspend,
    Edit::Delete,
    Edit::Orphan,
    Edit::Recreate,
    Edit::Restore,
    Edit::Force,
    Edit::DeleteTarget,
    Edit::SpoilTarget,
    Edit::Foreign,
    Edit::DeleteForeign,
    Edit::Consent,
    Edit::Immutable,
    Edit::Disown,
    Edit::DeleteLedger,
];

/// Whether there is something to edit so.
pub(crate) fn is_possible(state: &State, edit: Edit) -> bool {
    let resource = state.world.resource.filter(|resource| resource.deleted_at.is_none());
    let target = resource.map(|resource| state.world.targets[usize::from(resource.target)]);
    match edit {
        Edit::Credentials | Edit::BadCredentials => true,
        Edit::TouchCredentials | Edit::DeleteCredentials => state.world.credentials.is_some(),
        Edit::Rename | Edit::Rotate | Edit::Suspend | Edit::Delete | Edit::Orphan => resource.is_some(),
        Edit::Recreate | Edit::Restore => state.world.resource.is_none() && usize::from(state.world.uids) < UIDS,
        Edit::Force => state.world.resource.is_some_and(|resource| resource.held != Held::Free),
        Edit::DeleteTarget | Edit::Disown => matches!(target, Some(Target::Ours { .. })),
        Edit::SpoilTarget => matches!(target, Some(Target::Ours { is_immutable: false, .. })),
        Edit::Foreign => target == Some(Target::Absent),
        Edit::DeleteForeign => matches!(target, Some(Target::Foreign { .. })),
        Edit::Consent => matches!(target, Some(Target::Foreign { consent: Consent::NotGiven | Consent::Given })),
        Edit::Immutable => {
            matches!(target, Some(Target::Ours { is_immutable: false, .. } | Target::Foreign { consent: Consent::Given }))
        }
        Edit::DeleteLedger => state.world.ledgers.iter().any(Option::is_some),
    }
}

/// Does the edit.
pub(crate) fn edit(state: &mut State, edit: Edit) {
    let world = &mut state.world;
    let tally = &mut world.tally;
    match edit {
        Edit::Credentials | Edit::BadCredentials | Edit::TouchCredentials => {
            world.versions += 1;
            let pair = match edit {
                Edit::Credentials => world.versions,
                Edit::BadCredentials => BAD_PAIR,
                _ => world.credentials.map_or(0, |there| there.pair),
            };
            tally.issues_left += i8::from(edit != Edit::TouchCredentials);
            world.credentials = Some(Credentials { pair, version: world.versions });
        }
        Edit::DeleteCredentials => world.credentials = None,
        Edit::Rename | Edit::Rotate | Edit::Suspend | Edit::Force => {
            let resource = world.resource.as_mut().expect("a resource to edit");
            match edit {
                Edit::Rename => resource.target = (resource.target + 1) % NAMES as u8,
                Edit::Rotate => {
                    resource.request += 1;
                    tally.issues_left += 1;
                }
                Edit::Suspend => resource.is_suspended = !resource.is_suspended,
                _ => resource.held = Held::Free,
            }
            world.resource = world.resource.filter(|resource| resource.deleted_at.is_none() || resource.held != Held::Free);
            state.touch_resource();
        }
        Edit::Delete | Edit::Orphan => {
            let uid = world.resource.map(|resource| resource.uid);
            for name in 0..NAMES as u8 {
                if let Target::Ours { owner, .. } = &mut state.world.targets[usize::from(name)]
                    && edit == Edit::Orphan
                    && *owner == uid
                {
                    *owner = None;
                    let is_missed = |pass: &Pass| pass.seen.targets[usize::from(name)] == TargetSight::Absent;
                    state.world.tally.is_stray[usize::from(name)] |= state.passes.iter().flatten().any(is_missed);
                    state.touch_target(name);
                }
            }
            let held = state.world.resource.filter(|resource| resource.held != Held::Free);
            state.world.resource = held.map(|resource| Resource { deleted_at: Some(0), ..resource });
            state.touch_resource();
        }
        Edit::Recreate | Edit::Restore => {
            let held = if edit == Edit::Restore { Held::Copied } else { Held::Free };
            world.resource = Some(Resource { uid: world.uids, held, ..Resource::default() });
            world.uids += 1;
            tally.issues_left += 1;
        }
        Edit::DeleteTarget | Edit::SpoilTarget | Edit::Foreign | Edit::DeleteForeign | Edit::Consent | Edit::Immutable | Edit::Disown => {
            let name = world.resource.map_or(0, |resource| resource.target);
            let target = &mut world.targets[usize::from(name)];
            *target = edited_target(*target, edit);
            state.touch_target(name);
        }
        Edit::DeleteLedger => delete_ledger(state),
    }
}

/// The Secret under the target's name after somebody edited it.
fn edited_target(there: Target, edit: Edit) -> Target {
    match (edit, there) {
        (Edit::SpoilTarget, Target::Ours { owner, is_immutable, .. }) => Target::Ours { owner, content: EDITED, is_immutable },
        (Edit::Immutable, Target::Ours { owner, content, .. }) => Target::Ours { owner, content, is_immutable: true },
        (Edit::Immutable, Target::Foreign { .. }) => Target::Foreign { consent: Consent::Immutable },
        (Edit::Consent, Target::Foreign { consent: Consent::NotGiven }) => Target::Foreign { consent: Consent::Given },
        (Edit::Consent | Edit::Foreign | Edit::Disown, _) => Target::Foreign { consent: Consent::NotGiven },
        _ => Target::Absent,
    }
}

/// What was in it is lost with it, and not counted one by one.
fn delete_ledger(state: &mut State) {
    let Some(uid) = (0..UIDS).find(|uid| state.world.ledgers[*uid].is_some()) else { return };
    let Some(record) = state.world.ledgers[uid].take() else { return };
    let kept: Vec<u8> = state.world.ledgers.iter().flatten().flat_map(Record::tokens).collect();
    for (number, token) in (0_u8..).zip(state.world.refresh_tokens.iter_mut()) {
        token.is_excused |= !kept.contains(&number);
    }
    let tally = &mut state.world.tally;
    tally.told += record.lost + u8::from(record.intent.is_some());
    tally.issues_left += 1;
    (tally.is_missed[uid], tally.was_missed[uid]) = (true, true);
    state.touch_ledger(uid as u8);
}
