//! The words that metrics are labelled with. Closed sets: what is in a label never depends on what somebody sent.

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
