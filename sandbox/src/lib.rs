//! A local Revoiceit auth API.
