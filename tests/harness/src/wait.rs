//! Waiting for something to become true, in place of sleeping and hoping.

use std::fmt::Display;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep, timeout_at};

/// A limit for what normally takes seconds at most. It decides how long a failing test takes, never how long a passing one
/// does, so it is generous: the machine may be busy with other things.
pub const GENEROUS: Duration = Duration::from_secs(60);

/// The pause between two looks: the first is this short, each next one twice as long, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// Looks again and again until `look` returns `Ok`, and returns what it found.
///
/// `Err` is what was seen instead; the last of them is in the error when `limit` has passed. A look that is still under way
/// by then is given up. `what` completes the sentence "waited for …".
///
/// A look that finds that waiting is pointless ends it by returning a `Result` of its own within `Ok`:
/// `eventually(..).await??`.
pub async fn eventually<T, S, F>(what: &str, limit: Duration, mut look: F) -> Result<T>
where
    F: AsyncFnMut() -> Result<T, S>,
    S: Display,
{
    let deadline = Instant::now() + limit;
    let mut pause = FIRST_PAUSE;
    let mut last_seen = None;
    loop {
        match timeout_at(deadline, look()).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(seen)) => last_seen = Some(seen),
            Err(_) => match last_seen {
                Some(seen) => bail!("waited {limit:?} for {what}; the last look did not end, the one before saw: {seen:#}"),
                None => bail!("waited {limit:?} for {what}; the first look did not end"),
            },
        }
        if Instant::now() + pause >= deadline {
            // There is always one: each round that comes here has seen something.
            let seen = last_seen.map(|seen| format!("{seen:#}")).unwrap_or_default();
            bail!("waited {limit:?} for {what}; last seen: {seen}");
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn returns_what_was_found() -> Result<()> {
        let mut looks = 0;
        let found = eventually("the third look", GENEROUS, async || {
            looks += 1;
            if looks == 3 { Ok("found") } else { Err("not yet") }
        })
        .await?;
        assert_eq!((found, looks), ("found", 3));
        Ok(())
    }

    #[tokio::test]
    async fn says_what_was_awaited_and_what_was_seen_last() {
        let mut looks = 0;
        let error = eventually("a miracle", Duration::from_millis(20), async || {
            looks += 1;
            Err::<(), _>(format!("look {looks}"))
        })
        .await
        .expect_err("no miracle");
        assert_eq!(error.to_string(), format!("waited 20ms for a miracle; last seen: look {looks}"));
    }

    #[tokio::test]
    async fn gives_up_a_look_that_does_not_end() {
        let error = eventually("nothing", Duration::from_millis(20), async || std::future::pending::<Result<(), String>>().await)
            .await
            .expect_err("nothing");
        assert_eq!(error.to_string(), "waited 20ms for nothing; the first look did not end");
    }

    #[tokio::test]
    async fn ends_early_when_waiting_is_pointless() {
        let error = eventually("the dead", GENEROUS, async || Ok::<Result<(), _>, String>(Err("it is dead")))
            .await
            .expect("no time-out")
            .expect_err("dead");
        assert_eq!(error, "it is dead");
    }
}
