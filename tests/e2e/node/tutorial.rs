//! `docs/tutorial.md`, word for word.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::jiff::Timestamp;
use revoiceit_harness::{
    cluster, node, pages,
    shell::{Program, Shell},
    tools,
};

use super::site::{STAGE, Site};
use crate::pages::ROOT;

/// What is not typed as it stands: the reader's registry, and an image that has to come from one.
const SUBSTITUTED: [(&str, &str); 2] = [("registry.example.com/", "docker.io/library/"), ("busybox:1.37", "localhost/busybox:test")];

#[tokio::test]
async fn the_tutorial_can_be_followed_word_for_word() -> Result<()> {
    let Some(site) = Site::empty(|_| {}).await? else { return Ok(()) };
    let _alone = STAGE.lock().await;
    let cluster = site.world.cluster;
    site.node.import(&tokio::task::spawn_blocking(node::sandbox).await??).await?;
    let helm = tokio::task::spawn_blocking(tools::helm).await??;
    let programs = [
        ("kubectl", Program::Command(format!("'{}' kubectl", cluster::binary()?.display()))),
        ("helm", Program::Command(format!("'{}'", helm.display()))),
    ];
    let shell = Shell::new(Path::new(ROOT), &site.world.scratch, &programs, Some(cluster.admin_kubeconfig()))?;

    let page = pages::read(Path::new(ROOT), Path::new("docs/tutorial.md"))?;
    let (mut said, mut run, mut compared) = (String::new(), 0, 0);
    for block in &page.blocks {
        let place = || format!("docs/tutorial.md, the block of line {}", block.line);
        match block.language.as_str() {
            "sh" => {
                let commands = SUBSTITUTED.iter().fold(block.text.clone(), |text, (from, to)| text.replace(from, to));
                said = shell.run(&format!("set -e\n{commands}")).await.with_context(place)?;
                run += 1;
                if commands.contains("rollout status -n revoiceit-sandbox") {
                    // The node of these tests has no network for Services.
                    site.node.serve_name("revoiceit-sandbox", "revoiceit-sandbox").await?;
                }
            }
            "text" => {
                assert_eq!(without_times(&said), without_times(&block.text), "{}", place());
                compared += 1;
            }
            // Left to the reader.
            "console" => {}
            other => bail!("{}: nothing is known of blocks of {other:?}", place()),
        }
    }
    ensure!((run, compared) == (8, 3), "{run} blocks were run, and {compared} compared");
    let left = cluster.kubectl(["get", "namespaces", "-o", "name"]).await?;
    let is_of_page =
        |name: &&str| ["tutorial", "revoiceit-system", "revoiceit-sandbox"].iter().any(|own| name.ends_with(&format!("/{own}")));
    assert_eq!(left.lines().filter(is_of_page).collect::<Vec<_>>(), [""; 0]);
    Ok(())
}

/// Its lines as words, with a sign in place of each time and each age, which are others each time.
fn without_times(text: &str) -> Vec<Vec<&str>> {
    let kept = |word| match word {
        _ if str::parse::<Timestamp>(word).is_ok() => "<time>",
        _ if is_age(word) => "<age>",
        _ => word,
    };
    text.lines().map(|line| line.split_whitespace().map(kept).collect()).collect()
}

/// As kubectl writes it: `2s`, `4m`, `1m5s`.
fn is_age(word: &str) -> bool {
    let is_digit = |letter: char| letter.is_ascii_digit();
    word.starts_with(is_digit) && word.ends_with(['s', 'm', 'h']) && word.chars().all(|letter| is_digit(letter) || "smh".contains(letter))
}
