//! `gantry shim …`: the program side of the runtime. Must be entered before the process has a second thread.

use std::{ffi::OsString, path::Path};

use super::{cgroup::Hierarchies, message::ShimConfig, sys, zygote};

/// Runs what `args` (after `gantry shim`) say and ends the process. Not for people: the agent starts it.
///
/// The caller must not have started a thread or an async runtime yet.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ! {
    let args: Vec<String> = args.into_iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match args.as_slice() {
        ["zygote", config] => serde_json::from_str::<ShimConfig>(config)
            .map_err(std::io::Error::from)
            .and_then(|config| zygote::run(config, sys::inherited(0))),
        [role @ ("layer" | "layer-worker"), directory] => {
            let enter = |cgroup: &str| Hierarchies::detect()?.move_self(cgroup);
            match crate::image::lazy::run_shim(role, Path::new(directory), enter) {
                Ok(code) => std::process::exit(code),
                Err(error) => Err(error),
            }
        }
        ["init", "--", program @ ..] => super::program::run_as_init(program),
        _ => Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "unknown arguments")),
    };
    if let Err(error) = result {
        eprintln!("gantry shim: {error}");
        std::process::exit(125);
    }
    std::process::exit(0);
}
