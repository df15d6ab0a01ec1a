//! `kubectl revoiceit suspend` and `resume`.

use kube::ResourceExt;
use serde_json::json;

use super::{
    Outcome,
    access::{Access, Read},
    flags::SuspendArgs,
    paint::{say, span, time},
};
use crate::runtime::clock;

pub(super) async fn run(access: &Access, args: &SuspendArgs, suspend: bool) -> anyhow::Result<Outcome> {
    for before in access.select(&args.which).await? {
        let is_so = before.0.as_ref().is_ok_and(|resource| resource.spec.suspend == suspend);
        let after = if is_so { before } else { access.patch(&before, &json!({ "spec": { "suspend": suspend } })).await? };
        let name = format!("{}/{}", after.namespace().unwrap_or_default(), after.name_any());
        let done = match (suspend, is_so) {
            (true, false) => "suspended",
            (true, true) => "suspended already",
            (false, false) => "resumed",
            (false, true) => "not suspended",
        };
        say(&format!("{name}: {done}{}\n", if suspend { consequence(&after) } else { String::new() }));
    }
    Ok(Outcome::Good)
}

/// What it means for the pods.
fn consequence(read: &Read) -> String {
    let status = read.0.as_ref().ok().and_then(|resource| resource.status.as_ref());
    let now = clock::now();
    match status.and_then(|status| status.expires_at.as_ref()) {
        Some(expiry) if expiry.0 > now => format!("; pods have a valid token for {}, until {}", span(now, expiry.0), time(expiry.0)),
        Some(_) | None => "; pods have no valid token".to_owned(),
    }
}
