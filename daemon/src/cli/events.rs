//! `rohas events`: publish an event by hand.

use std::io::Read as _;

use anyhow::Context as _;
use bytes::Bytes;
use clap::Subcommand;

use crate::cli::{Common, Outcome, block_on, print_json};
use crate::control::Client;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Publish one event; the daemon must be running
    Publish {
        /// Name of the event
        event: String,
        /// Payload as JSON; `-` reads it from stdin
        #[arg(default_value = "{}")]
        payload: String,
        /// Print the event's ids as JSON
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(common: &Common, command: Command) -> Outcome {
    let Command::Publish { event, payload, json } = command;
    let payload = if payload == "-" { from_stdin()? } else { payload };
    let root = common.root()?;
    let published = block_on(async {
        let client = Client::connect(&root).await?;
        let mut client = client.context(
            "no daemon runs this project, and the events of the memory adapter live in the daemon; start `rohas dev` or `rohas run`",
        )?;
        Ok::<_, anyhow::Error>(client.publish(&event, Bytes::from(payload)).await?)
    })??;
    if json {
        return print_json(&published);
    }
    outln!("published {} {}\ntrace {}", published.event, published.id, published.trace_id);
    Ok(())
}

fn from_stdin() -> Result<String, anyhow::Error> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("cannot read the payload from stdin")?;
    Ok(text)
}
