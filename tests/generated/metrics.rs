//! The reference of the metrics.

use std::fmt::Write;

use revoiceit_operator::runtime::metrics::{Described, catalogue};

/// `docs/reference/metrics.md`: every metric with its type, its labels and what it says.
pub(crate) fn reference() -> String {
    let mut page = String::from(
        "# Metrics\n\n<!-- Generated from the metrics in src/runtime. Do not edit: run `make generate`. -->\n\n\
         What `/metrics` of each pod exposes, as OpenMetrics. [What to do with it](../monitoring.md): alerts and a dashboard.\n\n\
         Counters begin at zero for each word that a label can have. Of a histogram there are `_bucket`, `_sum` and `_count`. No label is \
         named after what somebody sent; three metrics have a series for each resource.\n\n\
         | metric | type | labels | |\n|---|---|---|---|\n",
    );
    for Described { name, kind, labels, help } in catalogue() {
        let labels = labels.iter().map(|(name, words)| match words.as_slice() {
            [] => format!("`{name}`"),
            words => format!("`{name}`: {}", words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")),
        });
        let _ = writeln!(page, "| `{name}` | {kind} | {} | {help} |", labels.collect::<Vec<_>>().join("<br>"));
    }
    page
}
