//! Gets along with Docker on the same host.
//!
//! Docker sets the policy of iptables' FORWARD chain to DROP, and a drop in one table is final whatever another table
//! accepts. The only way is a rule in that chain (or in DOCKER-USER, which Docker keeps for this), and the only tool
//! that is sure to write it in the form that Docker's own iptables understands is that iptables. It is run only when
//! such a chain is there, so a host without Docker needs neither the program nor the few milliseconds.

use std::{fs, io, process::Command};

use super::netlink::{Family, Message, Netlink, attributes};

const GET_CHAIN: u16 = 10 << 8 | 4;
const CHAIN_POLICY: u16 = 5;

/// Lets forwarded packets from and to `bridges` through. Failures are only logged: the containers themselves run.
pub(super) fn let_through(bridges: &[String]) {
    for program in programs() {
        let Ok(rules) = run(program, &["-S"]) else { continue };
        if !restricts(&rules) {
            continue;
        }
        for arguments in bridges.iter().flat_map(|bridge| rules_for(bridge, chain(&rules))) {
            if rules.lines().any(|line| line == format!("-A {}", arguments.join(" "))) {
                continue;
            }
            let insert: Vec<&str> = ["-I"].into_iter().chain(arguments.iter().map(String::as_str)).collect();
            if let Err(error) = run(program, &insert) {
                tracing::warn!(program, ?insert, %error, "cannot let containers through the host's firewall");
            }
        }
    }
}

/// Takes back what [`let_through`] did.
pub(super) fn forget(bridges: &[String]) {
    for program in programs() {
        let Ok(rules) = run(program, &["-S"]) else { continue };
        for arguments in bridges.iter().flat_map(|bridge| rules_for(bridge, chain(&rules))) {
            if rules.lines().any(|line| line == format!("-A {}", arguments.join(" "))) {
                let delete: Vec<&str> = ["-D"].into_iter().chain(arguments.iter().map(String::as_str)).collect();
                // Somebody else may have been faster.
                let _ = run(program, &delete);
            }
        }
    }
}

/// The iptables programs whose FORWARD chain is in use on this host.
fn programs() -> Vec<&'static str> {
    let mut programs = Vec::new();
    if nft_forward_drops() {
        programs.push("iptables-nft");
    }
    if fs::read_to_string("/proc/thread-self/net/ip_tables_names")
        .is_ok_and(|names| names.lines().any(|name| name == "filter"))
    {
        programs.push("iptables-legacy");
    }
    programs
}

/// Whether iptables' chain exists among the nftables ones with the policy DROP.
fn nft_forward_drops() -> bool {
    let ask = || -> io::Result<bool> {
        let message = Message::new(GET_CHAIN, 0, &[2, 0, 0, 0]).string(1, "filter").string(3, "FORWARD");
        let answers = Netlink::open(Family::Netfilter)?.query(&message)?;
        let policy = answers.first().and_then(|body| {
            attributes(body.get(4..)?).find(|(kind, _)| *kind == CHAIN_POLICY).map(|(_, value)| value == [0; 4])
        });
        Ok(policy.unwrap_or(false))
    };
    ask().unwrap_or(false)
}

fn restricts(rules: &str) -> bool {
    rules.lines().any(|line| line == "-P FORWARD DROP")
}

fn chain(rules: &str) -> &'static str {
    if rules.lines().any(|line| line == "-N DOCKER-USER") { "DOCKER-USER" } else { "FORWARD" }
}

/// Written as `iptables -S` prints them, without the `-A`.
fn rules_for(bridge: &str, chain: &str) -> [Vec<String>; 2] {
    let rule = |direction: &str| [chain, direction, bridge, "-j", "ACCEPT"].map(str::to_owned).to_vec();
    [rule("-i"), rule("-o")]
}

fn run(program: &str, arguments: &[&str]) -> io::Result<String> {
    let output = Command::new(program).arg("-w").args(arguments).output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In a network namespace of its own, which has tables of its own.
    #[test]
    fn a_dropping_chain_lets_our_bridges_through_once() {
        use nix::sched::{CloneFlags, unshare};
        assert!(rustix::process::geteuid().is_root(), "this test needs root");
        let check = || {
            unshare(CloneFlags::CLONE_NEWNET).expect("a namespace");
            let rules = || run("iptables-nft", &["-S"]).expect("iptables runs");
            let bridges = ["gb1".to_owned(), "gb2".to_owned()];
            let_through(&bridges);
            assert!(programs().is_empty(), "nothing to do, and nothing made");
            run("iptables-nft", &["-P", "FORWARD", "DROP"]).expect("a policy");
            let_through(&bridges);
            let_through(&bridges);
            assert_eq!(rules().matches("-A FORWARD").count(), 4, "{}", rules());
            run("iptables-nft", &["-N", "DOCKER-USER"]).expect("a chain");
            let_through(&bridges);
            assert_eq!(rules().matches("-A DOCKER-USER").count(), 4);
            forget(&bridges);
            assert!(!rules().contains("-A DOCKER-USER"));
        };
        std::thread::spawn(check).join().expect("the checks pass");
    }

    #[test]
    fn dockers_chains_are_recognised() {
        let docker = "-P INPUT ACCEPT\n-P FORWARD DROP\n-N DOCKER\n-N DOCKER-USER\n-A FORWARD -j DOCKER-USER\n";
        assert!(restricts(docker));
        assert_eq!(chain(docker), "DOCKER-USER");
        let plain = "-P INPUT ACCEPT\n-P FORWARD ACCEPT\n-P OUTPUT ACCEPT\n";
        assert!(!restricts(plain));
        assert_eq!(chain(plain), "FORWARD");
        assert_eq!(rules_for("b0", "FORWARD")[1].join(" "), "FORWARD -o b0 -j ACCEPT");
    }
}
