//! The `gantry` program: thin mains of every role and the operator's commands.

mod accounts;
mod arguments;
mod client;
mod commands;
mod config;
mod credentials;
mod host;
mod observe;
mod server;

use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command};

/// Rows, messages and bodies of many sizes come and go on all threads: glibc's allocator keeps twice the memory for it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The shim must stay single-threaded, so it goes its own way before anything else starts.
    if std::env::args_os().nth(1).is_some_and(|first| first == "shim") {
        if std::env::args_os().nth(2).is_some_and(|role| role == "layer" || role == "layer-worker") {
            // Those that serve images log for themselves, where the agent that started them logs. Without it they work.
            let _ = observe::start_logging(None, None, "info");
        }
        gantry_runtime::container::shim::main(std::env::args_os().skip(2));
    }
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&anyhow::Error::new(error).context("could not start the program's threads")),
    };
    let outcome = runtime.block_on(run(arguments));
    // Blocking work that is still under way (an unpack, a file read) must not hold up the end.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match outcome {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    match arguments.command {
        Command::Up(options) => commands::up::run(options).await,
        Command::Server(options) => commands::serve::run(options).await,
        Command::Agent(options) => commands::agent::run(options).await,
        Command::Env(options) => commands::env::run(&options),
        Command::Account(command) => commands::account::run(&command),
        Command::Alarm(command) => commands::alarm::run(&command).await,
        Command::Top(options) => commands::top::run(&options).await,
        Command::Instance(command) => commands::instance::run(&command).await,
        Command::Deploy(options) => commands::deploy::run(&options).await,
        Command::Status(options) => commands::status::run(&options).await,
        Command::Push(options) => commands::push::run(options).await,
        Command::ScanDb(options) => commands::scan_db::run(options).await,
        Command::Exec(options) => commands::exec::run(&options).await,
        Command::Logs(options) => commands::logs::run(&options).await,
        Command::Events(options) => commands::events::run(&options).await,
        Command::Image(command) => commands::image::run(&command).await,
        Command::Registry(command) => commands::registry::run(&command).await,
        Command::Teardown(options) => commands::teardown::run(&options).await,
        Command::Version(options) => commands::version::run(&options),
    }
}

/// Prints the whole chain of an error and, when somebody further down knew one, a hint.
fn fail(error: &anyhow::Error) -> ExitCode {
    let chain: Vec<String> = error.chain().map(ToString::to_string).collect();
    eprintln!("error: {}", chain.join(": "));
    if let Some(hint) = error.downcast_ref::<Hint>() {
        eprintln!("hint: {}", hint.hint);
    }
    ExitCode::FAILURE
}

/// An error for a person, with what to do about it.
#[derive(Debug)]
struct Hint {
    problem: String,
    hint: String,
}

impl Hint {
    fn error(problem: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
        anyhow::Error::new(Self { problem: problem.into(), hint: hint.into() })
    }
}

impl std::fmt::Display for Hint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.problem)
    }
}

impl std::error::Error for Hint {}
