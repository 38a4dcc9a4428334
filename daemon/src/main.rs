//! rohas: one daemon that is pointed at a project directory and runs it.

mod app;
mod brokers;
mod cli;
mod control;
mod detach;
mod dispatch;
mod environment;
mod example;
mod files;
mod lifecycle;
mod links;
mod lock;
mod outbox;
mod output;
mod project;
mod publish;
mod recorder;
mod reply;
mod screen;
mod signals;
mod trigger;
mod version;
mod virtualenv;
mod watch;
mod workers;

use std::process::ExitCode;

/// Many small allocations per request come and go on few threads: mimalloc serves those markedly faster than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main()
}
