//! The words that metrics are labelled with. Closed sets: what is in a label never depends on what somebody sent.

use crate::revoiceit::Failure;

/// An enum whose variants are words.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$about:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$about])* $variant,)* }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word for it.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }
    };
}

words! {
    /// A call of the Revoiceit API, and the lane of the gate that it waits in.
    Call {
        /// `POST /auth/token`.
        Issue = "issue",
        /// `POST /auth/refresh`.
        Refresh = "refresh",
        /// `POST /auth/revoke`.
        Revoke = "revoke",
    }
}

words! {
    /// What came of a call.
    Outcome {
        /// What was asked for.
        Success = "success",
        /// [`Failure::NotSent`].
        NotSent = "not_sent",
        /// [`Failure::Lost`].
        Lost = "lost",
        /// [`Failure::Unavailable`].
        Unavailable = "unavailable",
        /// [`Failure::Rejected`].
        Rejected = "rejected",
        /// [`Failure::Malformed`].
        Malformed = "malformed",
    }
}

impl Outcome {
    /// The outcome of this answer.
    pub fn of<T>(answer: &Result<T, Failure>) -> Self {
        match answer {
            Ok(_) => Self::Success,
            Err(Failure::NotSent) => Self::NotSent,
            Err(Failure::Lost) => Self::Lost,
            Err(Failure::Unavailable { .. }) => Self::Unavailable,
            Err(Failure::Rejected) => Self::Rejected,
            Err(Failure::Malformed { .. }) => Self::Malformed,
        }
    }
}

words! {
    /// Why a new line of tokens was issued.
    IssueCause {
        /// There was none.
        First = "first",
        /// The credentials changed.
        CredentialsChanged = "credentials_changed",
        /// A person asked for it.
        RotationRequested = "rotation_requested",
        /// The refresh token was rejected.
        RefreshRejected = "refresh_rejected",
        /// Refreshing failed in another way, and the token was close to its expiry.
        RefreshFailed = "refresh_failed",
        /// The ledger was lost.
        LedgerLost = "ledger_lost",
    }
}

words! {
    /// What came of the revocation of one refresh token.
    Revocation {
        /// Revoiceit said that it revoked it.
        Confirmed = "confirmed",
        /// Revoiceit did not know it, or had it revoked already.
        Unknown = "unknown",
        /// Revoiceit did not know it although it had worked within the last hour.
        Disputed = "disputed",
        /// It has to be tried again.
        Failed = "failed",
    }
}

words! {
    /// How a pass over one resource ended.
    PassResult {
        /// Nothing more to do for now.
        Rested = "rested",
        /// The Kubernetes API could not be reached or refused; the pass comes back.
        Error = "error",
        /// A mistake in the program; the pass comes back.
        Panicked = "panicked",
    }
}
