//! Runs random worlds of `crates/testkit` in the profile that is made for it.

use std::process::Command;

use anyhow::{Context, Result, bail};

/// So many worlds are run when nothing is said; CI does.
const SEEDS: u64 = 10_000;

/// `[--seeds N] [--from N] | --seed N`.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let mut seeds = SEEDS.to_string();
    let mut environment = Vec::new();
    for pair in arguments.chunks(2) {
        let [option, value] = pair else { bail!("{} needs a number", pair[0]) };
        value.parse::<u64>().with_context(|| format!("{option} {value}: not a number"))?;
        match *option {
            "--seeds" => seeds = (*value).to_owned(),
            "--from" => environment.push(("GANTRY_FROM", *value)),
            "--seed" => environment.push(("GANTRY_SEED", *value)),
            _ => bail!("usage: cargo xtask simulate [--seeds N] [--from N] | --seed N"),
        }
    }
    // Which of several things that are ready comes first is drawn too: with this flag, from the seed.
    let flags = std::env::var("RUSTFLAGS").unwrap_or_default() + " --cfg tokio_unstable";
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let status = Command::new(cargo)
        .args(["test", "--quiet", "--profile", "simulation", "--package", "gantry-testkit", "--test", "random"])
        .args(["--no-default-features", "--", "--nocapture"])
        .env("GANTRY_SEEDS", seeds)
        .env("RUSTFLAGS", flags.trim_start())
        .envs(environment)
        .status()?;
    if !status.success() {
        bail!("a random world broke a rule; its commands and its seed are above");
    }
    Ok(())
}
