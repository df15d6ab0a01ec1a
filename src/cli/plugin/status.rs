//! `kubectl revoiceit status`: the chain of one resource, or of many.

use std::collections::HashMap;

use anyhow::Context as _;
use kube::ResourceExt;
use serde::Serialize;
use serde_json::json;

use super::{
    Outcome,
    access::{Access, Read, SecretMeta, none_found},
    chain,
    flags::{Format, StatusArgs},
    paint::{Mark, Paint, plain, say},
    trouble::Trouble,
    view::{Secrets, View, sight, view},
};
use crate::runtime::clock;

pub(super) async fn run(access: &Access, args: &StatusArgs) -> anyhow::Result<Outcome> {
    let StatusArgs { name, selector, all_namespaces, output } = args;
    let namespace = (!all_namespaces).then_some(access.namespace.as_str());
    let (read, secrets) = match name {
        Some(name) => {
            let read = access.resource(&access.namespace, name).await?;
            let secrets = named(access, &read).await?;
            (vec![read], secrets)
        }
        None => (access.resources(namespace, selector.as_deref()).await?, listed(access, namespace).await?),
    };
    if read.is_empty() && *output == Format::Text {
        eprintln!("{}", none_found(namespace, selector.as_deref()));
        return Ok(Outcome::Good);
    }
    let now = clock::now();
    let views: Vec<View> = read.iter().filter_map(|read| view(read, &secrets, now)).collect();
    let unreadable: Vec<&Read> = read.iter().filter(|read| read.0.is_err()).collect();
    let paint = Paint::for_stdout();
    match output {
        Format::Text => {
            let mut blocks: Vec<String> = views.iter().map(|view| chain::chain(view, now, paint)).collect();
            blocks.extend(unreadable.iter().map(|read| unreadable_line(read, paint)));
            if views.len() > 1 {
                blocks.push(chain::total(&views, now));
            }
            say(&blocks.join("\n"))?;
        }
        Format::Json | Format::Yaml if name.is_some() => print(*output, &views.first())?,
        Format::Json | Format::Yaml => {
            let unreadable: Vec<String> = unreadable.iter().map(|read| named_as(read)).collect();
            print(*output, &json!({ "items": views, "unreadable": unreadable }))?;
        }
    }
    Ok(Outcome::of(unreadable.is_empty() && views.iter().all(|view| view.ready)))
}

/// For programs: the same in both formats.
pub(super) fn print(format: Format, what: &impl Serialize) -> anyhow::Result<()> {
    let mut text = match format {
        Format::Yaml => serde_saphyr::to_string(what).context("cannot write YAML")?,
        Format::Text | Format::Json => serde_json::to_string_pretty(what).context("cannot write JSON")?,
    };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    say(&text)
}

fn named_as(read: &Read) -> String {
    format!("{}/{}", read.namespace().unwrap_or_default(), read.name_any())
}

fn unreadable_line(read: &Read, paint: Paint) -> String {
    format!("{} {}  cannot be read: it is not what the CRD describes. Apply it again.\n", paint.mark(Mark::Bad), plain(&named_as(read)))
}

/// What is known of the Secrets that are named.
enum Known {
    /// Read one by one.
    Some(HashMap<String, Result<Option<SecretMeta>, ()>>),
    /// Listed.
    All(HashMap<(String, String), SecretMeta>),
    /// Nothing: it is not allowed.
    Nothing,
}

impl Secrets for Known {
    fn find(&self, namespace: &str, name: &str) -> Result<Option<&SecretMeta>, ()> {
        match self {
            Self::Some(of) => of.get(name).map_or(Err(()), |found| found.as_ref().map(Option::as_ref).map_err(|&nothing| nothing)),
            Self::All(of) => Ok(of.get(&(namespace.to_owned(), name.to_owned()))),
            Self::Nothing => Err(()),
        }
    }
}

/// The two Secrets of one resource.
async fn named(access: &Access, read: &Read) -> Result<Known, Trouble> {
    let mut known = HashMap::new();
    if let Ok(resource) = &read.0 {
        let namespace = read.namespace().unwrap_or_default();
        for name in [&resource.spec.credentials_secret_ref.name, &resource.spec.target.name] {
            known.insert(name.clone(), sight(access.secret(&namespace, name).await)?);
        }
    }
    Ok(Known::Some(known))
}

/// All Secrets, with one request.
async fn listed(access: &Access, namespace: Option<&str>) -> Result<Known, Trouble> {
    match access.secrets(namespace).await {
        Ok(all) => {
            Ok(Known::All(all.into_iter().map(|secret| ((secret.namespace().unwrap_or_default(), secret.name_any()), secret)).collect()))
        }
        Err(trouble) if trouble.is_forbidden() => Ok(Known::Nothing),
        Err(trouble) => Err(trouble),
    }
}
