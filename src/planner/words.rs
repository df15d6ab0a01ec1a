//! The small types that the planner's values are made of.

use std::{collections::BTreeMap, fmt};

use k8s_openapi::ByteString;
use ring::digest;
use serde::{Deserialize, Serialize};

use crate::revoiceit::{ClientCredentials, Failure};

macro_rules! text {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes over the text.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text! {
    /// Name of a Secret in the resource's namespace.
    Name
}
text! {
    /// A resourceVersion. Compared for equality only.
    Version
}
text! {
    /// Tells whose an intent is: drawn once for each pass, never used again.
    Stamp
}

/// SHA-256, in hexadecimal.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(String);

/// The beginning is enough to tell two apart. The whole, in a log, would let whoever reads it try secrets against it.
impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({:.8}…)", self.0)
    }
}

impl Digest {
    /// Of a pair of client ID and client secret.
    pub fn of_pair(pair: &ClientCredentials) -> Self {
        Self::of_parts([pair.client_id.expose().as_bytes(), pair.client_secret.expose().as_bytes()])
    }

    /// Of the data of a Secret.
    pub fn of_data(data: &BTreeMap<String, ByteString>) -> Self {
        Self::of_parts(data.iter().flat_map(|(key, value)| [key.as_bytes(), &value.0]))
    }

    /// Each part goes in behind its length, so that no two lists of parts look alike.
    fn of_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        Self(context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// Why a line of tokens is issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Cause {
    /// There is no line.
    First,
    /// The pair in the credentials Secret is another one.
    CredentialsChanged,
    /// The rotation annotation has a new value.
    RotationRequested,
    /// The line's refresh token was rejected.
    RefreshRejected,
    /// Refreshing is answered with failures and the token is close to its expiry.
    RefreshFailing,
    /// Not an issue: a refresh at a Revoiceit whose refreshes rotate.
    Refresh,
}

/// [`Failure`] without what came with it: fixed words for the record, the status and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FailureClass {
    /// [`Failure::NotSent`]
    NotSent,
    /// [`Failure::Lost`]
    Lost,
    /// [`Failure::Unavailable`]
    Unavailable,
    /// [`Failure::Rejected`]
    Rejected,
    /// [`Failure::Malformed`]
    Malformed,
}

impl FailureClass {
    /// Revoiceit is known to have dealt with the request.
    pub fn is_answered(self) -> bool {
        match self {
            Self::NotSent | Self::Lost => false,
            Self::Unavailable | Self::Rejected | Self::Malformed => true,
        }
    }
}

impl From<&Failure> for FailureClass {
    fn from(failure: &Failure) -> Self {
        match failure {
            Failure::NotSent => Self::NotSent,
            Failure::Lost => Self::Lost,
            Failure::Unavailable { .. } => Self::Unavailable,
            Failure::Rejected => Self::Rejected,
            Failure::Malformed { .. } => Self::Malformed,
        }
    }
}
