//! Secrets in memory. None of these types can be printed: `Debug` is redacted and there is no `Display`.

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A newtype around [`SecretString`] that is wiped when dropped, redacted in `Debug`, and compared by value.
macro_rules! secret {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(SecretString);

        impl $name {
            /// Takes over the text, whatever it is; what an answer may carry is checked where it is read.
            pub fn new(text: impl Into<String>) -> Self {
                Self(SecretString::from(text.into()))
            }

            /// The secret itself. Each use is a place where it may leak.
            pub fn expose(&self) -> &str {
                self.0.expose_secret()
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.expose() == other.expose()
            }
        }

        impl Eq for $name {}

        /// For the ledger, the one place where tokens are stored.
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.expose())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer).map(Self::new)
            }
        }
    };
}

secret! {
    /// What pods send to Revoiceit. Lives for an hour, also after its line was revoked.
    AccessToken
}
secret! {
    /// What access tokens are obtained with. Lives until it is revoked; never leaves the ledger.
    RefreshToken
}

/// What a line of tokens is issued for: the user's `clientId` and `clientSecret`.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCredentials {
    /// Identifies the client. Not a secret to Revoiceit, and never printed all the same.
    pub client_id: ClientId,
    /// Authenticates the client.
    pub client_secret: ClientSecret,
}

secret! {
    /// The `clientId`.
    ClientId
}
secret! {
    /// The `clientSecret`.
    ClientSecret
}

impl std::fmt::Debug for ClientCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientCredentials(…)")
    }
}
