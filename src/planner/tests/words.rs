//! Acts in words, so that a life reads as a list of sentences.

use super::fixtures::clock;
use crate::planner::{Act, Change, IntentCall, Which};

/// One act as a person would say it.
pub(super) fn in_words(act: &Act) -> String {
    match act {
        Act::Look => "Look".into(),
        Act::TryTarget(name) => format!("TryTarget {name}"),
        Act::WriteTarget(name) => format!("WriteTarget {name}"),
        Act::DeleteTarget(name) => format!("DeleteTarget {name}"),
        Act::SaveLedger(change) => format!("Save {}", change_in_words(change)),
        Act::DeleteLedger => "DeleteLedger".into(),
        Act::Claim => "Claim".into(),
        Act::Release => "Release".into(),
        Act::Issue { .. } => "Issue".into(),
        Act::Refresh { revision, .. } => format!("Refresh {revision}"),
        Act::Revoke(Which::Revision(revision)) => format!("Revoke {revision}"),
        Act::Revoke(Which::InHand) => "Revoke from hand".into(),
        Act::Tell(notice) => format!("Tell {}", notice.news.as_str()),
    }
}

fn change_in_words(change: &Change) -> String {
    match change {
        Change::Intend { intent, .. } => match intent.call {
            IntentCall::Issue => format!("Intend {:?}", intent.cause),
            IntentCall::Refresh { revision } => format!("Intend Refresh {revision}"),
        },
        Change::Shorten { due } => format!("Shorten to {}", clock(*due)),
        Change::GiveUp { revision } => format!("GiveUp {revision}"),
        Change::List(name) => format!("List {name}"),
        Change::Unlist { name, .. } => format!("Unlist {name}"),
        Change::Forget(name) => format!("Forget {name}"),
        Change::Fold { .. } => "Fold".into(),
        Change::Lost { .. } => "Lost".into(),
        Change::Retire { .. } => "Retire".into(),
        Change::Withdraw | Change::Clear | Change::Suspect | Change::Close => format!("{change:?}"),
    }
}
