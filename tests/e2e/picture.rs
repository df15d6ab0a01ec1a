//! Half an hour of an operator with all that a dashboard should show, for the picture of the dashboard: `make picture`.

use std::{fmt::Write as _, time::Duration};

use anyhow::{Context, Result};
use revoiceit_operator::{api::names, runtime::clock};
use revoiceit_sandbox::{Call, Fault};
use serde_json::json;
use tokio::time::{Instant, interval};

use crate::world::{Operator, World};

const RESOURCES: usize = 12;
/// As Prometheus is mostly told to.
const SCRAPE: Duration = Duration::from_secs(15);
const END: u64 = 33 * 60;
/// What happens when, in seconds.
const STORY: [(u64, &str); 8] = [
    (5 * 60, "answers take two seconds"),
    (8 * 60, "Revoiceit is away: 503"),
    (16 * 60, "it is back"),
    (19 * 60, "429, Retry-After: 60"),
    (22 * 60, "it is over"),
    (23 * 60, "one client is disabled"),
    (25 * 60, "all tokens are rotated, one answer is lost"),
    (28 * 60, "the leader is killed"),
];

fn name(number: usize) -> String {
    format!("speech-{number:02}")
}

async fn happens(world: &World, operators: &[Operator], number: usize) -> Result<()> {
    let sandbox = &world.sandbox;
    match number {
        0 => sandbox.inject(Fault::slow(Duration::from_secs(2))).map(drop)?,
        1 => {
            sandbox.heal_all();
            sandbox.inject(Fault::status(503))?;
        }
        2 | 4 => drop(sandbox.heal_all()),
        3 => sandbox.inject(Fault::retry_after(429, "60")).map(drop)?,
        5 => sandbox.enable_client(&world.client_of(&name(3)), false),
        6 => {
            sandbox.inject(Fault::lost_answer().on(Call::Issue).once())?;
            let request = json!({ "metadata": { "annotations": { names::ROTATE_ANNOTATION: "1" } } });
            for number in 0..RESOURCES {
                world.patch(&name(number), &request).await?;
            }
        }
        _ => operators.first().context("no operator")?.kill(),
    }
    Ok(())
}

#[tokio::test]
#[ignore = "half an hour; make picture"]
async fn series_for_the_picture_of_the_dashboard() -> Result<()> {
    let file = std::env::var("SERIES").context("SERIES names the file for them")?;
    let world = World::new().await?;
    for number in 0..RESOURCES {
        world.own(&name(number), json!({})).await?;
    }
    let flags = ["--token-lifetime=15m", "--leader-elect=true", "--log-level=info"];
    let operators = [world.operator(&flags).await?, world.operator(&flags).await?];
    let (began, mut ticks, mut next, mut series) = (Instant::now(), interval(SCRAPE), 0, String::new());
    while began.elapsed().as_secs() < END {
        ticks.tick().await;
        let now = clock::now().as_millisecond() as f64 / 1000.0;
        if let Some((_, words)) = STORY.get(next).filter(|(due, _)| began.elapsed().as_secs() >= *due) {
            happens(&world, &operators, next).await?;
            writeln!(series, "mark{{number=\"{next}\",words=\"{words}\"}} 1 {now}")?;
            next += 1;
        }
        for (number, operator) in operators.iter().enumerate() {
            // One that was killed does not answer.
            if let Ok(metrics) = operator.get("/metrics").await {
                stamped(&mut series, &metrics, &format!("pod-{number}"), now)?;
            }
        }
    }
    std::fs::write(file, series + "# EOF\n")?;
    Ok(())
}

/// With the labels that Prometheus gives to what it scrapes, and the time.
fn stamped(series: &mut String, metrics: &str, instance: &str, now: f64) -> Result<()> {
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').context("no value")?;
        let (name, labels) = name.split_once('{').unwrap_or((name, "}"));
        let comma = if labels == "}" { "" } else { "," };
        writeln!(series, "{name}{{job=\"revoiceit-operator\",instance=\"{instance}\"{comma}{labels} {value} {now}")?;
    }
    Ok(())
}
