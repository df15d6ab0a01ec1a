//! The TCP ports that a container uses, as the kernel has them.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};

/// Ports of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    /// On which it listens.
    pub listening: BTreeSet<u16>,
    /// To which it has connected. What is closed for longer than a minute is forgotten.
    pub remote: BTreeSet<u16>,
}

/// How the kernel calls a socket that listens.
const LISTEN: &str = "0A";

/// Of the container whose cgroup this is: all its processes have one network.
pub(super) fn of(group: &Path) -> Result<Ports> {
    let processes = std::fs::read_to_string(group.join("cgroup.procs")).context("reading a container's processes")?;
    let process = processes.lines().next().context("a container without a process")?;
    let tables = ["tcp", "tcp6"].map(|table| std::fs::read_to_string(format!("/proc/{process}/net/{table}")).unwrap_or_default());
    Ok(ports(&tables.concat()))
}

/// Lines like `0: 0100007F:1F90 00000000:0000 0A …`: number, own address, the other's, and the state.
fn ports(table: &str) -> Ports {
    let sockets: Vec<(u16, u16, &str)> = table
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let mut port = || u16::from_str_radix(fields.next()?.rsplit_once(':')?.1, 16).ok();
            Some((port()?, port()?, fields.next()?))
        })
        .collect();
    let listening: BTreeSet<u16> = sockets.iter().filter(|(_, _, state)| *state == LISTEN).map(|(own, _, _)| *own).collect();
    let remote = sockets.iter().filter(|(own, _, _)| !listening.contains(own)).map(|(_, other, _)| *other).collect();
    Ports { listening, remote }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_and_who_connects_are_told_apart() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
            0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 65532        0 1 1 0 100 0 0 10 0\n   \
            1: 064DF40A:1F90 014DF40A:C350 06 00000000:00000000 03:00000000 00000000     0        0 0 3 0\n   \
            2: 064DF40A:9C40 0100600A:01BB 01 00000000:00000000 02:00000000 00000000 65532        0 2 1 0 20 4 30 10 -1\n";
        assert_eq!(ports(table), Ports { listening: BTreeSet::from([8080]), remote: BTreeSet::from([443]) });
    }
}
