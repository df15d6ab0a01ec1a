//! The contract with users: the resource, its conditions, reasons and names.

pub mod names;
mod types;

pub use self::types::{
    CredentialsSecretRef, Failure, RefreshSpec, RevocationSpec, RevoiceitCredential, RevoiceitCredentialSpec, RevoiceitCredentialStatus,
    TargetSpec,
};
