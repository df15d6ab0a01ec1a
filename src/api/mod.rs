//! The contract with users: the resource, its conditions, reasons and names.

pub mod duration;
pub mod names;
mod rules;
mod spec;
mod status;

pub use self::{
    spec::{CredentialsSecretRef, RefreshSpec, RevocationSpec, RevoiceitCredential, RevoiceitCredentialSpec, TargetSpec},
    status::{Failure, RevoiceitCredentialStatus},
};
