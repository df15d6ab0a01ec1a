//! The closed set of reasons that the Ready condition gives. Each has an entry in the runbook.

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Why the Ready condition is as it is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The word in the condition.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

reasons! {
    /// The target holds a valid token, as specified.
    TokenReady,
    /// The first token, or its successor, is under way.
    Issuing,
    /// Revoiceit cannot be reached: name, network or TLS.
    RevoiceitUnreachable,
    /// Revoiceit answers that it cannot serve now.
    RevoiceitUnavailable,
    /// A request was sent and no answer came.
    AnswerLost,
    /// Revoiceit answered with something that cannot be used.
    MalformedAnswer,
    /// Revoiceit does not accept the refresh token any more.
    RefreshRejected,
    /// An earlier call may still be answered, or was cut off by a crash: it is waited for.
    WaitingForAnswer,
    /// As many lines were issued as the budget of the resource allows for now.
    BudgetExhausted,
    /// Too many refresh tokens wait for their revocation.
    RevocationBacklog,
    /// The credentials Secret does not exist.
    CredentialsMissing,
    /// A key of the credentials Secret is absent or empty.
    CredentialsIncomplete,
    /// Revoiceit rejects the client ID and client secret.
    CredentialsRejected,
    /// The target exists and is somebody else's.
    TargetConflict,
    /// The target is immutable and is being deleted, and finalizers hold it.
    TargetHeld,
    /// A ResourceQuota leaves no room for the target.
    QuotaExceeded,
    /// An admission policy or webhook refuses the target.
    AdmissionDenied,
    /// The API server finds the target invalid.
    TargetInvalid,
    /// The rendered target is too large.
    TargetTooLarge,
    /// The operator may not write Secrets here.
    PermissionDenied,
    /// The namespace is being deleted.
    NamespaceTerminating,
    /// Issue and refresh are switched off by the spec.
    Suspended,
    /// Being deleted: refresh tokens are being revoked.
    Revoking,
    /// An operator in another namespace holds this resource.
    LedgerElsewhere,
    /// The resource's ledger cannot be used.
    LedgerUnusable,
    /// The operator may not write its ledgers.
    LedgerDenied,
    /// The tokens are from another Revoiceit API than the one that the operator uses now.
    IssuerChanged,
    /// Resources in the operator's own namespace are refused.
    OperatorNamespace,
}

impl Reason {
    /// Nothing changes until a person does something.
    pub fn needs_person(self) -> bool {
        match self {
            Self::TokenReady
            | Self::Issuing
            | Self::RevoiceitUnreachable
            | Self::RevoiceitUnavailable
            | Self::AnswerLost
            | Self::MalformedAnswer
            | Self::RefreshRejected
            | Self::WaitingForAnswer
            | Self::BudgetExhausted
            | Self::RevocationBacklog
            | Self::NamespaceTerminating
            | Self::Revoking => false,
            Self::CredentialsMissing
            | Self::CredentialsIncomplete
            | Self::CredentialsRejected
            | Self::TargetConflict
            | Self::TargetHeld
            | Self::QuotaExceeded
            | Self::AdmissionDenied
            | Self::TargetInvalid
            | Self::TargetTooLarge
            | Self::PermissionDenied
            | Self::Suspended
            | Self::LedgerElsewhere
            | Self::LedgerUnusable
            | Self::LedgerDenied
            | Self::IssuerChanged
            | Self::OperatorNamespace => true,
        }
    }

    /// Worth an event of type Warning.
    pub fn is_trouble(self) -> bool {
        !matches!(self, Self::TokenReady | Self::Issuing | Self::Suspended | Self::Revoking | Self::NamespaceTerminating)
    }
}
