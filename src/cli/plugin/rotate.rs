//! `kubectl revoiceit rotate`: asks for new tokens, and waits for them.

use std::{
    collections::HashMap,
    io::{IsTerminal, Write},
    time::Duration,
};

use kube::ResourceExt;
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use super::{
    Outcome,
    access::{Access, Read},
    delivery::{Progress, Rotation},
    each::{Each, full_name},
    flags::{RotateArgs, Which},
    trouble::Trouble,
};
use crate::{api::names, runtime::clock};

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// Between two lists: one of thousands is some megabytes, and as many rotations take minutes.
const PAUSE_OF_MANY: Duration = Duration::from_secs(5);
/// Up to so many resources are read one by one.
const FEW: usize = 20;

pub(super) async fn run(access: &Access, args: &RotateArgs) -> anyhow::Result<Outcome> {
    let RotateArgs { which, wait, timeout } = args;
    let (mut each, mut rotations) = (Each::new(), Vec::new());
    for resource in access.select(which).await? {
        let asked_at = clock::now();
        let patch = json!({ "metadata": { "annotations": { names::ROTATE_ANNOTATION: asked_at.to_string() } } });
        let Some(asked) = each.came(&resource, access.patch(&resource, &patch).await)? else { continue };
        each.tell(&format!("{}: rotation requested{}", full_name(&asked), remark(&asked)));
        rotations.push(Rotation::of(&asked, asked_at));
    }
    let outcome = if *wait { wait_for(access, which, rotations, *timeout, &mut each).await? } else { Outcome::Good };
    each.end().map(|()| outcome)
}

/// Why it may take longer than somebody thinks.
fn remark(read: &Read) -> &'static str {
    match &read.0 {
        Ok(resource) if resource.metadata.deletion_timestamp.is_some() => ", but it is being deleted",
        Ok(resource) if resource.spec.suspend => "; it is suspended, so the new token comes when it is resumed",
        Ok(_) | Err(_) => "",
    }
}

async fn wait_for(access: &Access, which: &Which, mut open: Vec<Rotation>, limit: Duration, each: &mut Each) -> anyhow::Result<Outcome> {
    let (all, end) = (open.len(), Instant::now() + limit);
    let mut bar = Bar::new();
    let mut tell = |bar: &mut Bar, line: &str| {
        bar.clear();
        each.tell(line);
    };
    let mut stuck = 0;
    loop {
        let pause = if open.len() > FEW { PAUSE_OF_MANY } else { PAUSE };
        let seen = match look(access, which, &open).await {
            Ok(seen) => seen,
            // The rotations go on without us, and the API server may be back before the time is over.
            Err(Trouble::Other(_)) if Instant::now() < end => {
                sleep_until(end.min(Instant::now() + pause)).await;
                continue;
            }
            Err(trouble) => {
                bar.clear();
                return Err(trouble.into());
            }
        };
        let now = clock::now();
        let mut waiting = Vec::new();
        for rotation in std::mem::take(&mut open) {
            let (namespace, name) = (rotation.namespace.as_str(), rotation.name.as_str());
            match rotation.progress(seen.get(&(namespace.to_owned(), name.to_owned())), now) {
                Progress::Delivered(revision) => {
                    tell(&mut bar, &format!("{namespace}/{name}: new token delivered, revision {revision}"));
                }
                Progress::Stuck(why) => {
                    stuck += 1;
                    tell(&mut bar, &format!("{namespace}/{name}: no new token: {why}"));
                }
                Progress::UnderWay(why) => waiting.push((rotation, why)),
            }
        }
        if waiting.is_empty() {
            bar.clear();
            return Ok(Outcome::of(stuck == 0));
        }
        if Instant::now() >= end {
            for (Rotation { namespace, name, .. }, why) in waiting {
                tell(&mut bar, &format!("{namespace}/{name}: no new token within the time: {why}"));
            }
            return Ok(Outcome::Amiss);
        }
        bar.show(all - waiting.len(), all, &format!("{}/{}", waiting[0].0.namespace, waiting[0].0.name));
        open = waiting.into_iter().map(|(rotation, _)| rotation).collect();
        sleep_until(end.min(Instant::now() + pause)).await;
    }
}

/// Those that are waited for, as they are now.
async fn look(access: &Access, which: &Which, open: &[Rotation]) -> Result<HashMap<(String, String), Read>, Trouble> {
    let mut seen = HashMap::new();
    if open.len() > FEW {
        let namespace = (!which.all_namespaces).then_some(access.namespace.as_str());
        let listed = access.resources(namespace, which.selector.as_deref()).await?;
        seen.extend(listed.into_iter().map(|read| ((read.namespace().unwrap_or_default(), read.name_any()), read)));
    }
    // Of a list those are missing, too, whose labels somebody has changed since.
    for Rotation { namespace, name, .. } in open {
        let key = (namespace.clone(), name.clone());
        if seen.contains_key(&key) {
            continue;
        }
        match access.resource(namespace, name).await {
            Ok(read) => drop(seen.insert(key, read)),
            Err(trouble) if trouble.is_not_found() => {}
            Err(trouble) => return Err(trouble),
        }
    }
    Ok(seen)
}

/// A line on a terminal that is written anew; nothing elsewhere.
struct Bar {
    is_terminal: bool,
    is_shown: bool,
}

const WIDTH: usize = 20;

impl Bar {
    fn new() -> Self {
        Self { is_terminal: std::io::stderr().is_terminal(), is_shown: false }
    }

    fn show(&mut self, done: usize, all: usize, next: &str) {
        if self.is_terminal {
            self.is_shown = true;
            write_error(&format!("\r\u{1b}[K{}", drawn(done, all, next)));
        }
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.is_shown) {
            write_error("\r\u{1b}[K");
        }
    }
}

fn write_error(text: &str) {
    let mut out = std::io::stderr().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

fn drawn(done: usize, all: usize, next: &str) -> String {
    let full = (WIDTH * done).checked_div(all).unwrap_or(WIDTH);
    format!("[{}{}] {done} of {all}, waiting for {next}", "#".repeat(full), "-".repeat(WIDTH - full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_grows_with_what_is_done() {
        assert_eq!(drawn(0, 3, "a/b"), "[--------------------] 0 of 3, waiting for a/b");
        assert_eq!(drawn(2, 3, "a/b"), "[#############-------] 2 of 3, waiting for a/b");
        assert_eq!(drawn(3, 3, "a/b"), "[####################] 3 of 3, waiting for a/b");
    }
}
