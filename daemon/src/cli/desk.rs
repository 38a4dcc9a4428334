//! Who answers a command about messages? The daemon that runs the project.

use std::path::PathBuf;

use anyhow::anyhow;
use bytes::Bytes;

use crate::cli::{Common, Failure};
use crate::control::requests::{Request, Watch};
use crate::control::{Client, Lines, PublishOptions, Published};

const IN_MEMORY: &str = "no daemon runs this project, and the events of the memory adapter live in the daemon; start `rohas dev` or \
    `rohas run`";

/// What commands about messages are asked of.
pub(super) struct Desk {
    /// The project's directory.
    root: PathBuf,
}

impl Desk {
    pub(super) fn open(common: &Common) -> Result<Self, Failure> {
        Ok(Self { root: common.root()? })
    }

    pub(super) async fn ask<R: Request>(&self, request: R) -> Result<R::Answer, anyhow::Error> {
        Ok(self.client().await?.ask(&request).await?)
    }

    pub(super) async fn watch(&self, watch: &Watch) -> Result<Lines, anyhow::Error> {
        Ok(self.client().await?.watch(watch).await?)
    }

    pub(super) async fn publish(
        &self,
        event: &str,
        payload: Bytes,
        options: &PublishOptions,
    ) -> Result<Published, anyhow::Error> {
        Ok(self.client().await?.publish(event, payload, options).await?)
    }

    /// A connection is good for one question.
    async fn client(&self) -> Result<Client, anyhow::Error> {
        Client::connect(&self.root).await?.ok_or_else(|| anyhow!(IN_MEMORY))
    }
}
