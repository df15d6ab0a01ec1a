//! What a person should hear of, once. Fixed words, with times, numbers, and the names of resources and Secrets: nothing else that a tenant wrote
//! is in them, and nothing that Revoiceit did.

use super::{
    observed::Observed,
    record::{Record, Suspects},
};
use crate::api::{Reason, RevoiceitCredentialStatus};

macro_rules! news {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What a notice is about. All of it is in the golden file of messages.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum News {
            /// The Ready condition has another reason.
            Condition(Reason),
            $($(#[$doc])* $name,)*
        }

        impl News {
            /// All but those that a condition tells as well.
            #[cfg(test)]
            pub(super) const APART: &[Self] = &[$(Self::$name,)*];

            /// The event's reason.
            pub fn as_str(self) -> &'static str {
                match self {
                    Self::Condition(reason) => reason.as_str(),
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

news! {
    /// A refresh token may exist, or have existed, that nobody holds.
    SuspectedLost,
    /// The ledger was deleted under a resource that had one.
    LedgerLost,
    /// The resource cannot be understood.
    Unreadable,
}

/// An event to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Type Warning instead of Normal.
    pub is_warning: bool,
    /// What it is about.
    pub news: News,
    /// The event's note.
    pub note: String,
    /// The object that the event is about.
    pub about: About,
}

/// The object that an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// The resource.
    Resource,
    /// The ledger, in the operator's namespace: the resource goes or is gone.
    Ledger,
}

/// What is new between the status that the resource has and the one that it gets. Told by difference, so that nothing is told twice and nothing
/// needs to be remembered.
pub(super) fn between(
    before: &RevoiceitCredentialStatus,
    after: &RevoiceitCredentialStatus,
    reason: Reason,
    record: Option<&Record>,
) -> Vec<Notice> {
    let mut told = Vec::new();
    let earlier = ready_reason(before);
    let is_news = earlier != Some(reason.as_str());
    let earlier_was_trouble = Reason::ALL.iter().any(|known| Some(known.as_str()) == earlier && known.is_trouble());
    if is_news
        && (reason.is_trouble()
            || reason == Reason::Suspended
            || (reason == Reason::TokenReady && (earlier_was_trouble || before.revision.is_none())))
    {
        let note =
            after.conditions.iter().find(|condition| condition.type_ == "Ready").map(|ready| ready.message.clone()).unwrap_or_default();
        told.push(Notice { is_warning: reason.is_trouble(), news: News::Condition(reason), note, about: About::Resource });
    }
    if after.suspected_lost.unwrap_or(0) > before.suspected_lost.unwrap_or(0) {
        let ledger_lost = record.is_some_and(|record| record.suspects.ledger_lost) && before.suspected_lost.unwrap_or(0) == 0;
        told.push(if ledger_lost { ledger_lost_notice() } else { suspected_lost_notice() });
    }
    told
}

/// The reason of the Ready condition.
pub(super) fn ready_reason(status: &RevoiceitCredentialStatus) -> Option<&str> {
    status.conditions.iter().find(|condition| condition.type_ == "Ready").map(|condition| condition.reason.as_str())
}

fn suspected_lost_notice() -> Notice {
    Notice {
        is_warning: true,
        news: News::SuspectedLost,
        note: "An answer of Revoiceit was lost, or it refused to revoke a token until there was no room for more like it: a refresh token may \
               exist that nobody has and nobody can revoke. Pods are not affected. It ends with the client credentials: replace them on the Revoiceit platform if that matters."
            .to_owned(),
        about: About::Resource,
    }
}

fn ledger_lost_notice() -> Notice {
    Notice {
        is_warning: true,
        news: News::LedgerLost,
        note: "The ledger of this resource was deleted, and its refresh tokens with it; how many is unknown. A new line is begun for the \
               pods. The lost tokens cannot be revoked one by one: replace the client credentials on the Revoiceit platform, and find out who deleted the ledger."
            .to_owned(),
        about: About::Resource,
    }
}

/// Told in the operator's namespace before a ledger with suspects goes: afterwards nothing would tell of them.
pub(super) fn last_words(seen: &Observed, record: &Record) -> Notice {
    let Suspects { lost, ledger_lost, disputed } = record.suspects;
    let among = if ledger_lost { ", a ledger with an unknown number among them" } else { "" };
    let lost = (lost > 0).then(|| format!("Refresh tokens that may have been lost while it lived: {lost}{among}. "));
    let disputed = (disputed > 0).then(|| {
        format!("Refresh tokens that had worked within the hour and that Revoiceit, asked to revoke them, did not know: {disputed}. ")
    });
    Notice {
        is_warning: true,
        news: News::SuspectedLost,
        note: format!(
            "RevoiceitCredential {}/{} is gone. {}{}Replace its client credentials on the Revoiceit platform if that matters.",
            seen.id.namespace,
            seen.id.name,
            lost.unwrap_or_default(),
            disputed.unwrap_or_default(),
        ),
        about: About::Ledger,
    }
}
