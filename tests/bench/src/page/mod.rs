//! `docs/benchmarks.md` and its plots, made from what was measured.

mod plot;

use std::{fs, path::Path};

use anyhow::{Context, Result};

use self::plot::{Series, plot};
use crate::{
    counts::Requests,
    failover::Failover,
    foreign::Foreign,
    fresh::{Fresh, Round},
    growth::{Round as Refreshes, Size},
    idle::Idle,
    rest::Rest,
    results::{self, Counts, FOLDER, Results, Setting, median},
    usage::mib,
};

/// The page's text; `{fresh}` and the like stand for what is made here.
const TEXT: &str = include_str!("benchmarks.md");

/// Everything that was measured.
struct All {
    fresh: Option<Results<Fresh>>,
    counts: Option<Results<Requests>>,
    rest: Option<Results<Rest>>,
    growth: Option<Results<Vec<Size>>>,
    huge: Option<Results<Vec<Size>>>,
    foreign: Option<Results<Foreign>>,
    idle: Option<Results<Idle>>,
    failover: Option<Results<Failover>>,
}

/// Writes the page and its plots.
pub(crate) fn write() -> Result<()> {
    for (path, text) in made()? {
        let path = Path::new(FOLDER).join(path);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// What the page and its plots should be: paths from where the results are.
fn made() -> Result<Vec<(&'static str, String)>> {
    let all = All {
        fresh: results::read("fresh")?,
        counts: results::read("counts")?,
        rest: results::read("rest")?,
        growth: results::read("growth")?,
        huge: results::read("huge")?,
        foreign: results::read("foreign")?,
        idle: results::read("idle")?,
        failover: results::read("failover")?,
    };
    let sizes: Vec<&Size> = [&all.growth, &all.huge].into_iter().flatten().flat_map(|results| &results.figures).collect();
    let text = TEXT
        .replace("{goals}", &goals(&all))
        .replace("{fresh}", &section(all.fresh.as_ref(), fresh))
        .replace("{counts}", &section(all.counts.as_ref(), counts))
        .replace("{rest}", &section(all.rest.as_ref(), rest))
        .replace("{growth}", &section(all.growth.as_ref(), |_| growth(&sizes)))
        .replace("{huge}", &all.huge.as_ref().map_or_else(String::new, huge))
        .replace("{foreign}", &section(all.foreign.as_ref(), foreign))
        .replace("{idle}", &section(all.idle.as_ref(), idle))
        .replace("{failover}", &section(all.failover.as_ref(), failover));
    let mut made = vec![("../benchmarks.md", text)];
    if !sizes.is_empty() {
        made.push(("time.svg", time_plot(&sizes)));
        made.push(("memory.svg", memory_plot(&sizes)));
    }
    Ok(made)
}

fn section<F>(results: Option<&Results<F>>, table: impl Fn(&F) -> String) -> String {
    match results {
        Some(results) => format!("{}\n{}", table(&results.figures), how(&results.setting)),
        None => "Not measured yet.\n".to_owned(),
    }
}

fn huge(results: &Results<Vec<Size>>) -> String {
    let what = "Not part of `make bench`: `make bench BENCH=huge` takes more than an hour, since tokens live for one. The rest of it is a row of the \
                table above.";
    let rounds = results.figures.iter().filter_map(|size| size.round.as_ref()).map(round);
    format!("## 100,000 resources\n\n{what}\n\n{}\n{}\n", rounds.collect::<String>(), how(&results.setting))
}

fn round(round: &Refreshes) -> String {
    format!(
        "{} refreshes within {:.0} s, {:.0} a second and at most {} in a minute: they come as close together as the first tokens did, but for the \
         spread of a tenth of their lifetime. Each access token had **at least {:.1} min left** when its successor was issued; it is due with 15 to \
         21 min left. The operator took {:.0} s of processor time for all of them, {} MiB in the end, and {} MiB at most.\n",
        grouped(round.refreshes as u64),
        round.seconds,
        round.a_second(),
        grouped(round.most_in_a_minute as u64),
        round.least_left_seconds / 60.0,
        round.cpu_seconds,
        mib(round.rss_kib),
        mib(round.peak_kib),
    )
}

fn how(Setting { at, command, machine, versions, program, load }: &Setting) -> String {
    format!("`{command}`, {at}. {machine}; {versions}. {program}. Load at the end: {load}.\n")
}

fn goals(all: &All) -> String {
    let mut rows = Vec::new();
    if let Some(Results { figures, .. }) = &all.fresh {
        let ratio = median(figures.rounds.iter().map(Round::ratio));
        rows.push((
            "new resources beside the bare writer, the gate wide open",
            "≤ 2 times its time".to_owned(),
            format!("{ratio:.2} times"),
        ));
        if let Some(seconds) = figures.default_seconds {
            let gate = (figures.resources as f64 - 100.0) / 50.0;
            let goal = format!("what the gate lets through: {gate:.0} s");
            rows.push(("the same with default flags", goal, format!("{seconds:.1} s")));
        }
    }
    if let Some(Results { figures, .. }) = &all.counts {
        for (what, goal, counts) in [
            ("requests for a new resource", "5 writes, ≤ 4 GETs, 1 dry run", &figures.new),
            ("for a refresh", "3 writes, ≤ 5 GETs", &figures.refresh),
            ("for a restart", "0 writes, 2 GETs", &figures.restart),
        ] {
            rows.push((what, goal.to_owned(), each(counts, figures.resources)));
        }
    }
    if let Some(Results { figures, .. }) = &all.rest {
        let others: usize = figures.others.values().sum();
        rows.push(("requests at rest, but for lease, watches and sweep", "0".to_owned(), others.to_string()));
        let share = figures.cpu_seconds / figures.seconds as f64 * 100.0;
        rows.push(("processor time at rest", "≤ 0.1 % of a core".to_owned(), format!("{share:.2} %")));
    }
    for size in all.growth.iter().flat_map(|results| &results.figures).filter(|size| size.resources == 10_000) {
        rows.push((
            "memory with 10,000 resources",
            "≤ 60 MiB".to_owned(),
            format!("{} MiB, {} after a restart", mib(size.rss_kib), mib(size.restart.rss_kib)),
        ));
        rows.push(("caches in sync after a restart", "≤ 5 s".to_owned(), format!("{:.1} s", size.restart.synced_seconds)));
        let Size { storm, .. } = size;
        let told = format!("{} calls, {} writes, {} GETs", storm.calls, storm.writes, storm.gets);
        rows.push(("everything is listed again", "0 calls, 0 writes, 0 GETs".to_owned(), told));
    }
    for size in all.huge.iter().flat_map(|results| &results.figures).filter(|size| size.resources == 100_000) {
        let each = |kib: u64| format!("{:.1} KiB", kib as f64 / size.resources as f64);
        let later = size.round.as_ref().map(|round| format!(", {} after all were refreshed", each(round.rss_kib))).unwrap_or_default();
        let reached = format!("{}, {} after a restart{later}", each(size.rss_kib), each(size.restart.rss_kib));
        rows.push(("memory with 100,000 resources", "≤ 4 KiB each".to_owned(), reached));
        if let Some(round) = &size.round {
            let reached = format!("{:.0} a second, each with at least {:.1} min left", round.a_second(), round.least_left_seconds / 60.0);
            rows.push(("their refreshes, each hour", "40 a second".to_owned(), reached));
        }
    }
    if let Some(Results { figures, .. }) = &all.foreign {
        let what = "100,000 Secrets of 1 KiB and 128 of 1 MiB, of others";
        let grown = mib(figures.listed.rss_kib) - mib(figures.before.rss_kib);
        rows.push((what, "no growth, a limit of 64 MiB holds".to_owned(), format!("{grown:+.1} MiB, the limit held")));
    }
    if let Some(Results { figures, .. }) = &all.idle {
        rows.push(("memory with nothing to do", "≤ 16 MiB".to_owned(), format!("{} MiB", mib(figures.rss_kib))));
        let leads = median(figures.leads_seconds.iter().copied());
        rows.push(("from start to leading", "≤ 0.5 s".to_owned(), format!("{leads:.2} s")));
        rows.push(("the program", "≤ 14 MB".to_owned(), format!("{:.1} MB", figures.program_bytes as f64 / 1e6)));
    }
    if let Some(Results { figures, .. }) = &all.failover {
        let longest = |seconds: &[f64]| format!("{:.1} s at most", seconds.iter().copied().fold(0.0, f64::max));
        rows.push(("the next leader acts after SIGTERM", "≤ 3 s".to_owned(), longest(&figures.sigterm_seconds)));
        rows.push(("after SIGKILL", "≤ 17 s (lease and 2 s)".to_owned(), longest(&figures.sigkill_seconds)));
    }
    let rows: Vec<String> = rows.into_iter().map(|(what, goal, reached)| format!("| {what} | {goal} | {reached} |\n")).collect();
    format!("| what | goal | reached |\n|---|---|---|\n{}", rows.concat())
}

fn fresh(figures: &Fresh) -> String {
    let mut table = "| round | bare writer | operator | ratio | processor time of all, bare | with the operator | ratio | of the operator alone | its peak of memory |\n\
                     |---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for (number, round) in figures.rounds.iter().enumerate() {
        let (bare, own) = (&round.bare, &round.operator);
        table += &format!(
            "| {} | {:.2} s | {:.2} s | {:.2} | {:.1} s | {:.1} s | {:.2} | {:.1} s | {} MiB |\n",
            number + 1,
            bare.seconds,
            own.seconds,
            round.ratio(),
            bare.all_cpu(),
            own.all_cpu(),
            round.cpu_ratio(),
            own.own_cpu,
            mib(own.peak_kib),
        );
    }
    let middle = |of: fn(&Round) -> f64| median(figures.rounds.iter().map(of));
    table += &format!(
        "| **middle** | **{:.2} s** | **{:.2} s** | **{:.2}** | {:.1} s | {:.1} s | **{:.2}** | | |\n\n\
         {} resources. Flags of the operator: `{}`. All are the API server, etcd, and the operator or the bare writer.",
        middle(|round| round.bare.seconds),
        middle(|round| round.operator.seconds),
        middle(Round::ratio),
        middle(|round| round.bare.all_cpu()),
        middle(|round| round.operator.all_cpu()),
        middle(Round::cpu_ratio),
        grouped(figures.resources as u64),
        figures.flags.join(" "),
    );
    if let Some(seconds) = figures.default_seconds {
        let gate = (figures.resources as f64 - 100.0) / 50.0;
        table += &format!(
            " With the default flags it took {seconds:.1} s: the gate lets 100 calls through at once and 50 a second after that, {gate:.0} s in all."
        );
    }
    table + "\n"
}

/// How many of each kind of request one resource takes: `5 writes, 4 GETs, 1 dry run`.
fn each(counts: &Counts, resources: usize) -> String {
    let sum = |is_it: &dyn Fn(&str) -> bool| counts.iter().filter(|(kind, _)| is_it(kind)).map(|(_, count)| *count).sum::<usize>();
    let is_dry = |kind: &str| kind.ends_with("(dry run)");
    let is_event = |kind: &str| kind.ends_with(" events");
    let is_read = |kind: &str| ["get ", "list ", "watch "].iter().any(|verb| kind.starts_with(verb));
    let per = |count: usize| {
        let per = count as f64 / resources as f64;
        if count.is_multiple_of(resources) { format!("{per:.0}") } else { format!("{per:.2}") }
    };
    let writes = per(sum(&|kind| !is_read(kind) && !is_dry(kind) && !is_event(kind)));
    // The operator's own namespace is read once.
    let is_get = |kind: &str| kind.starts_with("get ") && kind != "get namespaces";
    let (gets, lists, dry) = (per(sum(&is_get)), sum(&|kind| kind.starts_with("list ")), sum(&is_dry));
    let mut text = format!("{writes} writes, {gets} GETs");
    if dry > 0 {
        text += &format!(", {} dry run", per(dry));
    }
    if lists > 0 {
        text += &format!(", {lists} LISTs in all");
    }
    text
}

fn counts(figures: &Requests) -> String {
    let mut table = "| request | new | refresh | restart |\n|---|---|---|---|\n".to_owned();
    let all = [&figures.new, &figures.refresh, &figures.restart];
    let mut kinds: Vec<&String> = all.iter().flat_map(|counts| counts.keys()).collect();
    kinds.sort();
    kinds.dedup();
    for kind in kinds {
        let cells = all.map(|counts| counts.get(kind).copied().unwrap_or_default().to_string());
        table += &format!("| {kind} | {} |\n", cells.join(" | "));
    }
    let calls = figures.calls.map(|calls| calls.to_string());
    table += &format!("| calls to Revoiceit | {} |\n\nOf {} resources together.\n", calls.join(" | "), figures.resources);
    table
}

fn rest(figures: &Rest) -> String {
    let mut table = format!(
        "{} resources, {} s: {:.2} s of processor time, {} MiB, {} calls to Revoiceit.\n\n| request | how many |\n|---|---|\n",
        grouped(figures.resources as u64),
        figures.seconds,
        figures.cpu_seconds,
        mib(figures.rss_kib),
        figures.calls,
    );
    for (kind, count) in figures.expected.iter().chain(&figures.others) {
        table += &format!("| {kind} | {count} |\n");
    }
    table += &format!("| anything else | {} |\n", figures.others.values().sum::<usize>());
    table
}

fn growth(sizes: &[&Size]) -> String {
    let mut table = "| resources | all ready after | processor time | memory at rest | peak | restart: in sync, new ones served, all looked at | memory then | GETs then | API server restarted: calls, writes, GETs |\n\
                     |---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for size in sizes {
        let (again, storm) = (&size.restart, &size.storm);
        table += &format!(
            "| {} | {:.1} s | {:.1} s | {} MiB | {} MiB | {:.2} s, {:.2} s, {:.1} s | {} MiB | {} | {}, {}, {} |\n",
            grouped(size.resources as u64),
            size.seconds,
            size.cpu_seconds,
            mib(size.rss_kib),
            mib(size.peak_kib),
            again.synced_seconds,
            again.new_seconds,
            again.looked_seconds,
            mib(again.rss_kib),
            grouped(again.gets),
            storm.calls,
            storm.writes,
            storm.gets,
        );
    }
    table
}

fn foreign(figures: &Foreign) -> String {
    let limit = figures.limit_mib.map_or_else(|| "without a limit".to_owned(), |limit| format!("with a limit of {limit} MiB"));
    let mut table = format!("{limit}:\n\n| | memory | peak |\n|---|---|---|\n");
    for (what, usage) in [
        ("with no Secrets of others".to_owned(), &figures.before),
        (format!("after {} of 1 KiB and {} of 1 MiB were made", grouped(figures.small as u64), figures.large), &figures.made),
        ("started when they were there".to_owned(), &figures.listed),
    ] {
        table += &format!("| {what} | {} MiB | {} MiB |\n", mib(usage.rss_kib), mib(usage.peak_kib));
    }
    table
}

fn idle(figures: &Idle) -> String {
    let leads: Vec<String> = figures.leads_seconds.iter().map(|seconds| format!("{seconds:.2}")).collect();
    let share = figures.cpu_seconds / figures.seconds as f64 * 100.0;
    format!(
        "| | |\n|---|---|\n| from start to leading, seconds | {} |\n| memory of the leader | {} MiB |\n| of one that stands by | {} MiB |\n\
         | processor time of the leader | {share:.2} % of a core |\n| the program | {} bytes |\n",
        leads.join(", "),
        mib(figures.rss_kib),
        mib(figures.standby_rss_kib),
        grouped(figures.program_bytes),
    )
}

fn failover(figures: &Failover) -> String {
    let row = |what: &str, seconds: &[f64]| {
        let seconds: Vec<String> = seconds.iter().map(|seconds| format!("{seconds:.2}")).collect();
        format!("| {what} | {} |\n", seconds.join(", "))
    };
    let (term, kill) = (row("SIGTERM", &figures.sigterm_seconds), row("SIGKILL", &figures.sigkill_seconds));
    format!("| how the leader ends | seconds until the other one calls Revoiceit for a new resource |\n|---|---|\n{term}{kill}")
}

fn time_plot(sizes: &[&Size]) -> String {
    let points = |of: fn(&Size) -> f64| sizes.iter().map(|size| (size.resources as f64, of(size))).collect::<Vec<_>>();
    let ready = points(|size| size.seconds);
    let guide = even(&ready);
    let series = [
        Series { name: "all ready", points: ready, is_guide: false },
        Series { name: "processor time", points: points(|size| size.cpu_seconds), is_guide: false },
        Series { name: "growing evenly", points: guide, is_guide: true },
    ];
    plot("New resources: seconds", "resources", "seconds", &series)
}

fn memory_plot(sizes: &[&Size]) -> String {
    let points = |of: fn(&Size) -> u64| sizes.iter().map(|size| (size.resources as f64, of(size) as f64 / 1024.0)).collect::<Vec<_>>();
    let series = [
        Series { name: "at rest", points: points(|size| size.rss_kib), is_guide: false },
        Series { name: "peak", points: points(|size| size.peak_kib), is_guide: false },
    ];
    plot("Memory: MiB", "resources", "MiB", &series)
}

/// Through the middle point, a line that grows as the number of resources does.
fn even(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let Some((x, y)) = points.get(points.len() / 2) else { return Vec::new() };
    points.iter().map(|(at, _)| (*at, y / x * at)).collect()
}

/// With commas between the thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_what_was_measured() -> Result<()> {
        for (path, text) in made()? {
            let found = fs::read_to_string(Path::new(FOLDER).join(path)).unwrap_or_default();
            assert_eq!(found, text, "{path} differs: run `make bench BENCH=page` and commit it");
        }
        Ok(())
    }

    #[test]
    fn what_one_takes_is_told_from_what_all_take() {
        let counts = [("create secrets", 20), ("create secrets (dry run)", 10), ("get secrets", 35), ("create events", 3)];
        let counts = counts.map(|(kind, count)| (kind.to_owned(), count)).into();
        assert_eq!(each(&counts, 10), "2 writes, 3.50 GETs, 1 dry run");
        assert_eq!(["7", "1,000", "1,234,567"], [7, 1000, 1_234_567].map(grouped).each_ref().map(String::as_str));
    }
}
