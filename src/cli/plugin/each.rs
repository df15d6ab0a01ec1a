//! The same done with each of several resources: what keeps it from being done with one keeps it from no other.

use std::io::Write;

use anyhow::{bail, ensure};
use kube::ResourceExt;

use super::{access::Read, paint::say, trouble::Trouble};

/// How it went so far.
pub(super) struct Each {
    done: usize,
    failed: usize,
    told: anyhow::Result<()>,
}

impl Each {
    pub(super) fn new() -> Self {
        Self { done: 0, failed: 0, told: Ok(()) }
    }

    /// It was done with this one, or not. An error if no other would fare better.
    pub(super) fn came(&mut self, resource: &Read, came: Result<Read, Trouble>) -> anyhow::Result<Option<Read>> {
        match came {
            Ok(after) => {
                self.done += 1;
                Ok(Some(after))
            }
            Err(trouble @ (Trouble::Unknown | Trouble::NoCrd)) => {
                bail!("{}: not done, nor any after it: {trouble}", full_name(resource))
            }
            Err(trouble) => {
                self.failed += 1;
                let _ = writeln!(std::io::stderr(), "{}: not done: {trouble}", full_name(resource));
                Ok(None)
            }
        }
    }

    /// Tells something of one of them. If that cannot be written, the others are to be done all the same.
    pub(super) fn tell(&mut self, line: &str) {
        let told = say(&format!("{line}\n"));
        if self.told.is_ok() {
            self.told = told;
        }
    }

    /// An error if it was not done with all, or if nobody could be told of it.
    pub(super) fn end(self) -> anyhow::Result<()> {
        let Self { done, failed, told } = self;
        ensure!(failed == 0, "{failed} of {} not done", done + failed);
        told
    }
}

/// Its namespace and name.
pub(super) fn full_name(resource: &Read) -> String {
    format!("{}/{}", resource.namespace().unwrap_or_default(), resource.name_any())
}
