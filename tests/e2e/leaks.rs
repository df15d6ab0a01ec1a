//! Nothing secret is told, whatever a test did.

use std::sync::atomic::Ordering;

use aho_corasick::AhoCorasick;
use anyhow::{Result, ensure};
use k8s_openapi::api::{core::v1::Secret, events::v1::Event};
use kube::{Api, ResourceExt, api::ListParams};
use revoiceit_operator::api::{RevoiceitCredential, names};

use crate::{
    operator::Operator,
    world::{CANARY, World},
};

impl World {
    /// No secret was ever told: not in logs at the level of `trace` and what else processes print, events, status, metrics; no refresh token where pods mount; and what pods
    /// mount is theirs. To be called at the end of each test, with the operators that still run.
    pub(crate) async fn no_secret_is_told(&self, operators: &[&Operator]) -> Result<()> {
        let truth = self.sandbox.truth();
        let refresh: Vec<String> = truth.lines.iter().flat_map(|line| &line.refresh).map(|token| token.token.clone()).collect();
        let mut places = Vec::new();
        for entry in std::fs::read_dir(self.scratch.path())? {
            let file = entry?.path();
            if file.extension().is_some_and(|stream| stream == "out" || stream == "err") {
                places.push((file.display().to_string(), std::fs::read_to_string(&file)?));
            }
        }
        let printed = usize::try_from(self.started.load(Ordering::Relaxed))?;
        ensure!(places.len() >= 2 * printed, "what {printed} processes printed is in {} files", places.len());
        for operator in operators {
            places.push(("/metrics".to_owned(), operator.get("/metrics").await?));
        }
        for namespace in self.tenants.iter().chain([&self.system]) {
            let events: Api<Event> = Api::namespaced(self.client.clone(), namespace);
            places.push((format!("events in {namespace}"), serde_json::to_string(&events.list(&ListParams::default()).await?.items)?));
            let resources: Api<RevoiceitCredential> = Api::namespaced(self.client.clone(), namespace);
            let resources = resources.list(&ListParams::default()).await?.items;
            places.push((format!("resources in {namespace}"), serde_json::to_string(&resources)?));
        }
        self.no_secret_is_in(&places)?;
        let mut of_tenants = Vec::new();
        for namespace in &self.tenants {
            let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
            of_tenants.extend(secrets.list(&ListParams::default()).await?.items);
        }
        for secret in of_tenants {
            let is_ours = secret.annotations().contains_key(names::RESOURCE_ANNOTATION);
            for (key, value) in secret.data.unwrap_or_default() {
                let text = String::from_utf8_lossy(&value.0).into_owned();
                let told = refresh.iter().any(|token| text.contains(token.as_str()));
                ensure!(!told, "key {key} of a Secret that pods mount holds a refresh token");
                ensure!(!is_ours || !text.contains(CANARY), "key {key} of a target holds what only Revoiceit should be sent");
            }
        }
        Ok(())
    }

    /// None of these texts, each with its place, tells a secret.
    pub(crate) fn no_secret_is_in(&self, places: &[(String, String)]) -> Result<()> {
        let truth = self.sandbox.truth();
        let mut secrets = vec![CANARY];
        for line in &truth.lines {
            secrets.extend(line.refresh.iter().map(|token| token.token.as_str()));
            secrets.extend(line.access.iter().map(|token| token.token.as_str()));
        }
        // One search for all of them: after an hour there are tens of thousands.
        let search = AhoCorasick::new(secrets.into_iter().flat_map(forms))?;
        for (place, text) in places {
            ensure!(!search.is_match(text), "{place} tells a secret");
        }
        Ok(())
    }
}

/// The end of a secret, which no other has, as it is and as it stands in the data of a Secret.
fn forms(secret: &str) -> impl Iterator<Item = String> {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let end = secret[secret.len().saturating_sub(END)..].to_owned();
    // Base64 of a part depends on where it begins: three ways, each without its ends.
    let bytes = end.as_bytes().to_vec();
    let encoded = (0..3).map(move |shift| {
        let text = BASE64_STANDARD.encode([vec![b' '; shift], bytes.clone()].concat());
        text[4..text.len() - 4].to_owned()
    });
    [end].into_iter().chain(encoded)
}

/// Nobody hits on so many characters by chance.
const END: usize = 24;

#[test]
fn a_secret_is_found_as_it_is_and_in_base64_wherever_it_stands() -> Result<()> {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let secret = "eyJhbGciOiJub25lIn0.eyJqdGkiOiJhLTcifQ.c2lnbmF0dXJlLTctc2lnbmF0dXJl";
    let search = AhoCorasick::new(forms(secret))?;
    for before in ["", "a", "ab", "abc"] {
        let text = format!("{before}{secret} and more");
        ensure!(search.is_match(&text) && search.is_match(&BASE64_STANDARD.encode(text)), "{before}");
    }
    ensure!(!search.is_match("eyJhbGciOiJub25lIn0.eyJqdGkiOiJhLTcifQ.c2lnbmF0dXJlLTgtc2lnbmF0dXJl"), "another");
    Ok(())
}
