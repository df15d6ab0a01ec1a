//! What users do.

use revoiceit_operator::planner::Consent;

use crate::{
    restores::{delete_ledger, move_home, restore_ledger, spoil_ledger},
    sight::{Pass, TargetSight},
    state::{State, is_listed},
    world::{BAD_PAIR, Belongs, Credentials, EDITED, Held, NAMES, Resource, Target, UIDS},
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
    RenameRival,
    DeleteRival,
    /// `--cascade=orphan`
    OrphanRival,
    /// An operator in another namespace claims the resource.
    ClaimElsewhere,
    /// A replica is begun anew with another `--api-url`.
    OtherApi(u8),
    /// The operator's namespace was deleted, and comes back from a backup with all ledgers and another UID.
    MoveHome,
    /// A ledger is cut off.
    SpoilLedger,
    /// The ledger is put back to what it was in the beginning.
    RestoreLedger,
    /// The same with the target, which has no owner then.
    RestoreTarget,
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

/// What may be done to the rival.
pub(crate) const OF_RIVAL: [Edit; 3] = [Edit::RenameRival, Edit::DeleteRival, Edit::OrphanRival];

/// What another installation or a backup may bring.
pub(crate) const RARE: [Edit; 7] = [
    Edit::ClaimElsewhere,
    Edit::OtherApi(0),
    Edit::OtherApi(1),
    Edit::MoveHome,
    Edit::SpoilLedger,
    Edit::RestoreLedger,
    Edit::RestoreTarget,
];

/// The place of the resource that is edited.
fn place_of(edit: Edit) -> usize {
    usize::from(OF_RIVAL.contains(&edit))
}

/// Whether there is something to edit so.
pub(crate) fn is_possible(state: &State, edit: Edit) -> bool {
    let there = state.world.resources[place_of(edit)];
    let resource = there.filter(|resource| resource.deleted_at.is_none());
    let target = resource.map(|resource| state.world.targets[usize::from(resource.target)]);
    match edit {
        Edit::Credentials | Edit::BadCredentials => true,
        Edit::TouchCredentials | Edit::DeleteCredentials => state.world.credentials.is_some(),
        Edit::Rename | Edit::Rotate | Edit::Suspend | Edit::Delete | Edit::Orphan => resource.is_some(),
        Edit::RenameRival | Edit::DeleteRival | Edit::OrphanRival => resource.is_some(),
        Edit::Recreate | Edit::Restore => there.is_none() && usize::from(state.world.uids) < UIDS,
        Edit::Force => there.is_some_and(|resource| resource.held != Held::Free),
        Edit::DeleteTarget | Edit::Disown => matches!(target, Some(Target::Ours { .. })),
        Edit::SpoilTarget => matches!(target, Some(Target::Ours { is_immutable: false, .. })),
        Edit::Foreign => target == Some(Target::Absent),
        Edit::DeleteForeign => matches!(target, Some(Target::Foreign { .. })),
        Edit::Consent => matches!(target, Some(Target::Foreign { consent: Consent::NotGiven | Consent::Given })),
        Edit::Immutable => {
            matches!(target, Some(Target::Ours { is_immutable: false, .. } | Target::Foreign { consent: Consent::Given }))
        }
        Edit::DeleteLedger => state.world.ledgers.iter().any(Option::is_some),
        Edit::MoveHome | Edit::SpoilLedger => state.world.ledgers.iter().flatten().any(|record| record.place == Belongs::Here),
        Edit::ClaimElsewhere => resource.is_some_and(|resource| resource.held == Held::Free),
        Edit::OtherApi(_) => true,
        Edit::RestoreLedger => state.world.backup.is_some(),
        Edit::RestoreTarget => state.world.backup.is_some() && !matches!(state.world.targets[0], Target::Foreign { .. }),
    }
}

/// Does the edit.
pub(crate) fn edit(state: &mut State, edit: Edit) {
    let world = &mut state.world;
    let place = place_of(edit);
    match edit {
        Edit::Credentials | Edit::BadCredentials | Edit::TouchCredentials => {
            world.versions += 1;
            let pair = match edit {
                Edit::Credentials => world.versions,
                Edit::BadCredentials => BAD_PAIR,
                _ => world.credentials.map_or(0, |there| there.pair),
            };
            let issues = u8::from(edit != Edit::TouchCredentials);
            (0..=u8::from(world.has_rival)).for_each(|uid| world.allow_issues(uid, issues));
            world.credentials = Some(Credentials { pair, version: world.versions });
        }
        Edit::DeleteCredentials => world.credentials = None,
        Edit::Rename | Edit::RenameRival | Edit::Rotate | Edit::Suspend | Edit::Force => {
            let resource = world.resources[place].as_mut().expect("a resource to edit");
            match edit {
                Edit::Rename | Edit::RenameRival => resource.target = (resource.target + 1) % NAMES as u8,
                Edit::Rotate => {
                    resource.request += 1;
                    world.tally.issues_left[place] += 1;
                }
                Edit::Suspend => resource.is_suspended = !resource.is_suspended,
                _ => resource.held = Held::Free,
            }
            world.resources[place] = world.resources[place].filter(|resource| resource.deleted_at.is_none() || resource.held != Held::Free);
            state.touch_resource(place);
        }
        Edit::Delete | Edit::DeleteRival | Edit::Orphan | Edit::OrphanRival => {
            let uid = world.resources[place].map(|resource| resource.uid);
            for name in 0..NAMES as u8 {
                if let Target::Ours { owner, .. } = &mut state.world.targets[usize::from(name)]
                    && matches!(edit, Edit::Orphan | Edit::OrphanRival)
                    && *owner == uid
                {
                    *owner = None;
                    state.world.tally.is_stray[usize::from(name)] |=
                        is_missed(&state.passes, usize::from(name), |sight| sight == TargetSight::Absent);
                    state.touch_target(name);
                }
            }
            let held = state.world.resources[place].filter(|resource| resource.held != Held::Free);
            state.world.resources[place] = held.map(|resource| Resource { deleted_at: Some(0), ..resource });
            state.touch_resource(place);
        }
        Edit::Recreate | Edit::Restore => {
            let held = if edit == Edit::Restore { Held::Copied } else { Held::Free };
            world.resources[place] = Some(Resource { uid: world.uids, held, ..Resource::default() });
            world.uids += 1;
            world.tally.issues_left[place] += 1;
        }
        Edit::DeleteTarget | Edit::SpoilTarget | Edit::Foreign | Edit::DeleteForeign | Edit::Consent | Edit::Immutable | Edit::Disown => {
            let name = world.resources[place].map_or(0, |resource| resource.target);
            let target = &mut world.targets[usize::from(name)];
            *target = edited_target(*target, edit);
            state.touch_target(name);
        }
        Edit::DeleteLedger => delete_ledger(state),
        Edit::ClaimElsewhere => {
            world.resources[place].as_mut().expect("a resource to edit").held = Held::Elsewhere;
            state.touch_resource(place);
        }
        Edit::OtherApi(replica) => {
            state.end_pass(usize::from(replica));
            state.issuers[usize::from(replica)] ^= 1;
        }
        Edit::MoveHome => move_home(state),
        Edit::SpoilLedger => spoil_ledger(state),
        Edit::RestoreLedger => restore_ledger(state),
        Edit::RestoreTarget => {
            let content = world.backup.map_or(0, |backup| backup.content);
            world.targets[0] = Target::Ours { owner: None, content, of: 0, is_immutable: false };
            world.tally.is_stray[0] |= !is_listed(world, 0) || is_missed(&state.passes, 0, |sight| sight != TargetSight::Unread);
            state.touch_target(0);
        }
    }
}

/// A pass has read it before, so it cannot know of it.
fn is_missed(passes: &[Option<Pass>], name: usize, was_read: fn(TargetSight) -> bool) -> bool {
    passes.iter().flatten().any(|pass| was_read(pass.seen.targets[name]))
}

/// The Secret under the target's name after somebody edited it.
fn edited_target(there: Target, edit: Edit) -> Target {
    match (edit, there) {
        (Edit::SpoilTarget, Target::Ours { owner, of, is_immutable, .. }) => Target::Ours { owner, content: EDITED, of, is_immutable },
        (Edit::Immutable, Target::Ours { owner, content, of, .. }) => Target::Ours { owner, content, of, is_immutable: true },
        (Edit::Immutable, Target::Foreign { .. }) => Target::Foreign { consent: Consent::Immutable },
        (Edit::Consent, Target::Foreign { consent: Consent::NotGiven }) => Target::Foreign { consent: Consent::Given },
        (Edit::Consent | Edit::Foreign | Edit::Disown, _) => Target::Foreign { consent: Consent::NotGiven },
        _ => Target::Absent,
    }
}
