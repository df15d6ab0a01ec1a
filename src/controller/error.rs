//! Trouble with reaching the Kubernetes API. Everything else is a value that the planner sees.

use std::{fmt, time::Duration};

use crate::runtime::describe::{chain, describe};

/// Why a pass had to end: one variant for each thing that was attempted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A target was not read.
    #[error("could not read a target Secret")]
    ReadTarget(#[source] ApiTrouble),
    /// The targets of a lost ledger were not listed.
    #[error("could not list the targets of a resource whose ledger is lost")]
    ListTargets(#[source] ApiTrouble),
    /// The ledger was not read.
    #[error("could not read the ledger")]
    ReadLedger(#[source] ApiTrouble),
    /// The resource was not read.
    #[error("could not read the resource")]
    ReadResource(#[source] ApiTrouble),
    /// A 404 that is not the API server's word on this object.
    #[error("the API server does not serve RevoiceitCredentials at the moment: is the CRD installed?")]
    NotServed,
    /// Whether the kind is served was not found out.
    #[error("could not list RevoiceitCredentials to prove one gone")]
    ProveAbsence(#[source] ApiTrouble),
    /// The credentials were not read.
    #[error("could not read the credentials Secret")]
    ReadCredentials(#[source] ApiTrouble),
    /// The ledgers were not listed.
    #[error("could not list the ledgers in the operator's namespace")]
    ListLedgers(#[source] ApiTrouble),
    /// A target was not written.
    #[error("could not write a target Secret")]
    WriteTarget(#[source] ApiTrouble),
    /// A ledger was not written.
    #[error("could not save the ledger")]
    SaveLedger(#[source] ApiTrouble),
    /// Finalizer and claim were not changed.
    #[error("could not patch finalizer and claim of the resource")]
    PatchResource(#[source] ApiTrouble),
    /// A status was not written.
    #[error("could not write the status")]
    WriteStatus(#[source] ApiTrouble),
}

impl Error {
    /// The error and its cause, for a log line.
    pub fn told(&self) -> String {
        chain(self)
    }

    /// The API server says that this is not allowed, and goes on to say so until somebody changes the roles or the credentials.
    pub fn is_forbidden(&self) -> bool {
        let source = std::error::Error::source(self).and_then(|source| source.downcast_ref::<ApiTrouble>());
        source.is_some_and(|trouble| matches!(&trouble.0, kube::Error::Api(status) if matches!(status.code, 401 | 403)))
    }

    /// What the API server asks to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        let source = std::error::Error::source(self)?.downcast_ref::<ApiTrouble>()?;
        match &source.0 {
            kube::Error::Api(status) => {
                let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
                (seconds > 0).then(|| Duration::from_secs(seconds.into()))
            }
            _ => None,
        }
    }
}

/// An error of kube, told without anything that a server, a webhook or a tenant wrote: such texts may quote what is in a Secret.
#[derive(Debug)]
pub struct ApiTrouble(kube::Error);

impl From<kube::Error> for ApiTrouble {
    fn from(error: kube::Error) -> Self {
        Self(error)
    }
}

impl std::error::Error for ApiTrouble {}

impl fmt::Display for ApiTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&describe(&self.0))
    }
}
