//! `kubectl revoiceit suspend` and `resume`.

use serde_json::json;

use super::{
    Outcome,
    access::{Access, Read},
    each::{Each, full_name},
    flags::SuspendArgs,
    paint::{span, time},
};
use crate::runtime::clock;

pub(super) async fn run(access: &Access, args: &SuspendArgs, suspend: bool) -> anyhow::Result<Outcome> {
    let mut each = Each::new();
    for before in access.select(&args.which).await? {
        let is_so = before.0.as_ref().is_ok_and(|resource| resource.spec.suspend == suspend);
        let came = if is_so { Ok(before.clone()) } else { access.patch(&before, &json!({ "spec": { "suspend": suspend } })).await };
        let Some(after) = each.came(&before, came)? else { continue };
        let done = match (suspend, is_so) {
            (true, false) => "suspended",
            (true, true) => "suspended already",
            (false, false) => "resumed",
            (false, true) => "not suspended",
        };
        each.tell(&format!("{}: {done}{}", full_name(&after), if suspend { consequence(&after) } else { String::new() }));
    }
    each.end().map(|()| Outcome::Good)
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
