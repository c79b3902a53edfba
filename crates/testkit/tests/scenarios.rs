//! Scenarios as text with golden answers, and the same scenarios with a control plane that dies after every command.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::path::{Path, PathBuf};

use gantry_testkit::World;

fn scenarios() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|e| e == "txt")).collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths
}

/// Runs one scenario in a world of its own, on a clock that moves only when everybody waits.
fn run(script: &str, restarts: bool) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut world = World::new(1).await;
        world.run_script(script, restarts).await
    })
}

#[test]
fn every_scenario_answers_as_recorded() {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_snapshot_path("scenarios");
    settings.bind(|| {
        for path in scenarios() {
            let name = path.file_stem().unwrap().to_str().unwrap();
            insta::assert_snapshot!(name, run(&std::fs::read_to_string(&path).unwrap(), false));
        }
    });
}

#[test]
fn every_scenario_survives_a_restart_after_each_command() {
    for path in scenarios() {
        println!("{}", path.display());
        run(&std::fs::read_to_string(&path).unwrap(), true);
    }
}
