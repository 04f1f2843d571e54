//! What a run needs of this machine before it begins: open files, and ports for its connections.
//!
//! Too few files end a run with connections that can't be made, and too few ports do the same a
//! minute later, so both are looked at first. Linux only: elsewhere nobody is asked.

use crate::error::LoadError;
use crate::http::Authority;
use crate::load::{LoadOptions, Target};
use crate::scenario::Scenario;

/// Files that a run has open beside its connections: its folder, logs, sorted runs of the ledger.
const FILES_BESIDE: u64 = 128;
/// Files of each generator thread: those of its event loop, and of three kinds of rows.
const FILES_PER_THREAD: u64 = 8;
/// How long a port is kept from new connections to the same address by whoever closes first.
///
/// Source: Linux, `TCP_TIMEWAIT_LEN`.
const TIME_WAIT_S: f64 = 60.0;
/// The same where the system gives such ports away again (`net.ipv4.tcp_tw_reuse`).
const TIME_WAIT_REUSED_S: f64 = 1.0;

/// Makes sure that the connections of a load can be open at once; raises the soft limit of open
/// files to the hard one where that helps. Workers look at their own machines.
///
/// # Errors
///
/// Returns a usage error that names the limit and the ways out.
pub(crate) fn open_files(load: &LoadOptions) -> Result<(), LoadError> {
    #[cfg(feature = "workers")]
    if load.workers.is_some() {
        return Ok(());
    }
    match &load.target {
        Target::Http(_) => (),
        #[cfg(feature = "inproc")]
        Target::InProc(_) => return Ok(()),
        #[cfg(all(feature = "peers", target_os = "linux"))]
        Target::Peer(_) => (),
    }
    let beside = FILES_BESIDE + FILES_PER_THREAD * load.threads as u64;
    #[cfg(target_os = "linux")]
    limit_files(load.connections as u64, beside)?;
    #[cfg(not(target_os = "linux"))]
    let _ = beside;
    Ok(())
}

#[cfg(target_os = "linux")]
fn limit_files(connections: u64, beside: u64) -> Result<(), LoadError> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let needed = connections.saturating_add(beside);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // No limit is `None`.
    let enough = |limit: Option<u64>| limit.is_none_or(|limit| needed <= limit);
    if enough(current) {
        return Ok(());
    }
    let raised = Rlimit { current: maximum, maximum };
    if enough(maximum) && setrlimit(Resource::Nofile, raised).is_ok() {
        return Ok(());
    }
    let limit = maximum.or(current).unwrap_or_default();
    let ways = match limit.checked_sub(beside).filter(|most| *most > 0) {
        Some(most) => format!("want connections 1..={most}, or a"),
        None => "want a".to_owned(),
    };
    Err(LoadError::usage(format!(
        "connections is {connections}, for which {needed} files would be open at once, but the hard \
         limit is {limit}: {ways} higher limit (`ulimit -Hn {needed}` as root, `LimitNOFILE=` of a \
         service), or several generators (--workers)"
    )))
}

/// Warns of a load that may run out of local ports; `None` if it can't, or nobody knows.
///
/// A connection of a user's own is reset by the load tester, and its port is free at once. Over
/// HTTP/1.1 the host is asked to close those that last for one request: whoever of both closes first
/// has its port kept for a minute by the system.
pub(crate) fn ports(scenario: &Scenario, load: &LoadOptions) -> Option<String> {
    #[cfg(feature = "workers")]
    if load.workers.is_some() {
        return None;
    }
    match &load.target {
        Target::Http(authority) => ports_to(authority, scenario, load.connections),
        #[cfg(feature = "inproc")]
        Target::InProc(_) => None,
        #[cfg(all(feature = "peers", target_os = "linux"))]
        Target::Peer(_) => None,
    }
}

fn ports_to(authority: &Authority, scenario: &Scenario, connections: usize) -> Option<String> {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).ok();
    let range = read("ip_local_port_range")?;
    let mut ends = range.split_whitespace().map(str::parse::<u64>);
    let (low, high) = (ends.next()?.ok()?, ends.next()?.ok()?);
    let near = is_loopback(authority);
    let reused = match read("tcp_tw_reuse")?.trim() {
        "1" => true,
        "2" => near,
        _ => false,
    };
    let kept_s = if reused { TIME_WAIT_REUSED_S } else { TIME_WAIT_S };
    let made = scenario.connections_within(kept_s)?;
    let needed = made + connections as f64;
    let ports = (high + 1).saturating_sub(low);
    (made > 0.0 && needed > ports as f64).then(|| {
        format!(
            "about {made:.0} connections are made and closed within {kept_s:.0} s, for which their \
             ports may be kept (TIME_WAIT), but there are {ports} ({low} to {high}, \
             net.ipv4.ip_local_port_range): beyond them requests are lost as no_connection; widen \
             it (`sysctl -w net.ipv4.ip_local_port_range='1024 65535'`), use connections = \
             \"per-user\", or several generators (--workers)"
        )
    })
}

/// Returns whether a target is on this machine for certain: on its loopback.
pub(crate) fn is_loopback(authority: &Authority) -> bool {
    let host = authority.host();
    let address = host.parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warned(rate: &str, http: &str, mode: &str, host: &str) -> Option<String> {
        let text = format!(
            "schema = 1\n[target]\nhttp = \"{http}\"\nmode = \"{mode}\"\n[[stage]]\nshape = \
             \"hold\"\nrate = \"{rate}\"\nfor = \"5m\"\n[actor.human]\nflow = [\"browse\", \
             \"buy\"]\n"
        );
        let scenario = Scenario::read(&text, "ports.toml").expect("a scenario");
        let target = Authority::parse(&format!("http://{host}:80")).expect("an address");
        let options = crate::outcome::RunOptions::new(&scenario, Target::Http(target));
        ports(&scenario, &options.load)
    }

    /// Who may run out of ports is warned, and who can't is not: kept connections, and those that
    /// are reset.
    #[test]
    #[cfg(target_os = "linux")]
    fn a_load_that_may_run_out_of_ports_is_warned() {
        // 180,000 connections a second: there are 65,535 ports at most, however soon one is free.
        let warning = warned("90k/s", "1.1", "per-request", "shop.example").expect("a warning");
        assert!(warning.contains("000 connections are made and closed within"), "{warning}");
        assert!(warning.contains("net.ipv4.ip_local_port_range"), "{warning}");
        for (rate, http, mode) in [
            ("90k/s", "1.1", "per-user"),
            ("90k/s", "2", "per-request"),
            ("90k/s", "2", "keep-alive"),
            ("1/s", "1.1", "per-request"),
        ] {
            assert_eq!(warned(rate, http, mode, "shop.example"), None, "{rate} {http} {mode}");
        }
    }

    /// More connections than files are refused with the way out; the numbers of this process are
    /// left alone.
    #[test]
    #[cfg(target_os = "linux")]
    fn more_connections_than_files_are_refused() {
        use rustix::process::{Resource, getrlimit};
        limit_files(1, FILES_BESIDE).expect("a test has some files");
        let Some(hard) = getrlimit(Resource::Nofile).maximum else { return };
        let text = limit_files(hard, FILES_BESIDE).expect_err("too many").to_string();
        let most = hard - FILES_BESIDE;
        assert!(text.starts_with(&format!("connections is {hard}, for which ")), "{text}");
        assert!(
            text.contains(&format!("want connections 1..={most}, or a higher limit")),
            "{text}"
        );
    }
}
