//! The file of faults: what stands in it is in force, and it is read again when it changes. So that whoever can edit a ConfigMap can
//! begin and end an outage.

use std::{path::PathBuf, time::Duration};

use anyhow::Context;
use tokio::{fs::File, io::AsyncReadExt, time::sleep};

use crate::{fault::Fault, world::World};

/// How soon a change is seen. A file that is mounted takes a minute to get there.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The largest file that is read: what a ConfigMap may hold.
const MAX_BYTES: u64 = 1 << 20;

/// The file, and what is known of it.
#[derive(Debug)]
pub(crate) struct FaultFile {
    path: PathBuf,
    /// The content that is in force.
    used: Option<Vec<u8>>,
    /// What was last said to be wrong with it, so that it is said once.
    said: Option<String>,
}

/// What a look has found that is news.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// So many faults are in force now, in place of those before.
    Changed(usize),
    /// It cannot be used, and nothing was changed.
    Wrong(String),
}

impl FaultFile {
    /// The file at this path, not read yet.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, used: None, said: None }
    }

    /// Looks again and again. Never returns; the type is that of all that runs beside the servers.
    pub(crate) async fn follow(mut self, world: World) -> anyhow::Error {
        loop {
            sleep(LOOK_EVERY).await;
            self.look(&world).await;
        }
    }

    /// Puts what is in the file into force, if it is not already, and tells the log.
    pub(crate) async fn look(&mut self, world: &World) {
        match self.news(world).await {
            Some(Found::Changed(faults)) => tracing::info!(faults, "the faults of the file are in force"),
            Some(Found::Wrong(error)) => tracing::error!(%error, "the file of faults cannot be used, and nothing was changed"),
            None => {}
        }
    }

    async fn news(&mut self, world: &World) -> Option<Found> {
        match self.used_anew(world).await {
            Ok(changed) => {
                self.said = None;
                changed.map(Found::Changed)
            }
            Err(error) => {
                let error = format!("{error:#}");
                let is_news = self.said.as_ref() != Some(&error);
                self.said = Some(error.clone());
                is_news.then_some(Found::Wrong(error))
            }
        }
    }

    /// How many faults are in force now, if the file has changed.
    async fn used_anew(&mut self, world: &World) -> anyhow::Result<Option<usize>> {
        let bytes = self.read().await.with_context(|| format!("reading {}", self.path.display()))?;
        if self.used.as_ref() == Some(&bytes) {
            return Ok(None);
        }
        let faults = parse(&bytes).with_context(|| self.path.display().to_string())?;
        let number = faults.len();
        world.replace_faults_of_file(faults).map_err(anyhow::Error::msg).with_context(|| self.path.display().to_string())?;
        self.used = Some(bytes);
        Ok(Some(number))
    }

    async fn read(&self) -> anyhow::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(&self.path).await?.take(MAX_BYTES + 1).read_to_end(&mut bytes).await?;
        anyhow::ensure!(bytes.len() as u64 <= MAX_BYTES, "it is larger than 1 MiB");
        Ok(bytes)
    }
}

/// A list of faults as the admin API takes them. JSON is YAML; a file with nothing in it is an empty list.
fn parse(bytes: &[u8]) -> anyhow::Result<Vec<Fault>> {
    // On one line, as all in the log: the snippet would be several.
    let faults: Option<Vec<Fault>> = serde_saphyr::from_slice(bytes).map_err(|error| anyhow::anyhow!("{}", error.without_snippet()))?;
    Ok(faults.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{kind::Kind, world::Inner};

    fn kinds(world: &World) -> Vec<Kind> {
        world.faults().into_iter().map(|active| active.fault.kind).collect()
    }

    /// A file that is not there yet, and the world that it is for.
    fn file(name: &str) -> (FaultFile, World) {
        let path = std::env::temp_dir().join(format!("revoiceit-faults-{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        (FaultFile::new(path), World::new(Inner::default()))
    }

    async fn written(file: &mut FaultFile, world: &World, text: &str) -> Option<Found> {
        std::fs::write(&file.path, text).expect("it can be written");
        file.news(world).await
    }

    #[tokio::test]
    async fn what_is_in_the_file_is_in_force_and_what_was_injected_stays() {
        let (mut file, world) = file("changes");
        world.inject(Fault::dropped()).expect("it can be done");
        let outage = "# away\n- kind: {status: {code: 503, retryAfter: \"30\"}}\n- kind: hang\n";
        assert_eq!(written(&mut file, &world, outage).await, Some(Found::Changed(2)));
        assert_eq!(file.news(&world).await, None, "nothing has changed");
        let status = Fault::retry_after(503, "30").kind;
        assert_eq!(kinds(&world), [Kind::Drop, status, Kind::Hang]);
        let json = r#"[{"kind":"delay","delayMs":8000,"call":"issue"}]"#;
        assert_eq!(written(&mut file, &world, json).await, Some(Found::Changed(1)));
        assert_eq!(kinds(&world), [Kind::Drop, Kind::Delay]);
        for nothing in ["[]\n", "", "# nothing\n"] {
            assert!(matches!(written(&mut file, &world, nothing).await, Some(Found::Changed(0))), "{nothing:?}");
            assert_eq!(kinds(&world), [Kind::Drop]);
        }
        let _ = std::fs::remove_file(&file.path);
    }

    #[tokio::test]
    async fn what_cannot_be_used_is_said_once_and_changes_nothing() {
        let (mut file, world) = file("wrong");
        assert!(matches!(file.news(&world).await, Some(Found::Wrong(error)) if error.starts_with("reading /")), "it is not there");
        written(&mut file, &world, "- kind: drop").await;
        for (wrong, why) in [
            ("- kind: outage", "outage"),
            ("- kind: drop\n  delay: 5", "delay"),
            ("- kind: {status: {code: 42}}", "fault 1: 42 is no status of an answer"),
            ("- kind: hang\n- {kind: die, call: issue}", "fault 2: no call \"issue\" meets"),
            ("- kind: hang\n  kind", ""),
        ] {
            let Some(Found::Wrong(error)) = written(&mut file, &world, wrong).await else { panic!("{wrong:?} was taken") };
            assert!(error.contains(why), "{wrong:?}: {error}");
            assert_eq!(kinds(&world), [Kind::Drop], "{wrong:?}");
            assert_eq!(file.news(&world).await, None, "said twice: {error}");
        }
        assert_eq!(written(&mut file, &world, "- kind: drop").await, None, "as it was before");
        assert_eq!(written(&mut file, &world, "[]").await, Some(Found::Changed(0)));
        let _ = std::fs::remove_file(&file.path);
    }
}
