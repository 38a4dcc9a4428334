//! Does an adapter on a network pass the suite that all adapters pass?

use async_trait::async_trait;

use super::*;
use crate::conformance::{self, Factory, Place, Size};

/// Of an adapter whose broker has no weakness.
struct FakeFactory(Nature);

#[async_trait]
impl Factory for FakeFactory {
    fn adapter(&self) -> &'static str {
        "fake"
    }

    async fn place(&self, size: Size) -> Result<Box<dyn Place>, Error> {
        let room = match size {
            Size::Ample => 1 << 30,
            Size::Small => 1 << 20,
        };
        Ok(Box::new(Site::new(Nature { room, ..self.0 })))
    }

    fn exceptions(&self) -> &[(&'static str, &'static str)] {
        &[(
            "a_retired_subscription_keeps_what_it_has_and_gets_nothing",
            "Another replica may still declare it, so the broker goes on keeping messages for it.",
        )]
    }
}

#[async_trait]
impl Place for Site {
    async fn open(&self) -> Result<Arc<dyn Broker>, Error> {
        Ok(Arc::new(Self::open(self).await?))
    }
}

async fn passes(nature: Nature) {
    let report = conformance::run(&FakeFactory(nature)).await;
    assert_eq!(report.failures(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_conforms() {
    passes(Nature::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_conforms_where_messages_are_lent_for_a_moment_and_have_no_names() {
    passes(Nature { lease: Some(Duration::from_millis(150)), places: false, ..Nature::default() }).await;
}
