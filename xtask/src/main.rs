//! Generation and checks of the Gantry workspace: `cargo xtask generate [--check]`, `cargo xtask layers`,
//! `cargo xtask licences`, `cargo xtask simulate`.

#![expect(clippy::print_stdout, reason = "this program talks to a person")]

mod compatibility;
mod generate;
mod layers;
mod licences;
mod simulate;
mod test_vm;
mod up;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["generate"] => generate_all(generate::Mode::Write),
        ["generate", "--check"] => generate_all(generate::Mode::Check),
        ["layers"] => layers::check(),
        ["licences"] => licences::check(),
        ["simulate", options @ ..] => simulate::run(options),
        ["test-vm"] => test_vm::run(),
        ["up"] => up::up(),
        ["down"] => up::down(),
        _ => bail!(
            "usage: cargo xtask generate [--check] | layers | licences | simulate [--seed N] | test-vm | up | down"
        ),
    }
}

fn generate_all(mode: generate::Mode) -> Result<()> {
    generate::run(mode)?;
    compatibility::run(mode)
}
