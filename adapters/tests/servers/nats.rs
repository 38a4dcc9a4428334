//! Where is the NATS server of the tests, and how is it left as it was?

use std::{env, thread};

/// Where the server is.
#[expect(clippy::disallowed_methods, reason = "says where the test's server is, not a setting")]
pub(crate) fn url() -> String {
    env::var("ROHAS_TEST_NATS_URL").expect(
        "ROHAS_TEST_NATS_URL names a NATS server with JetStream; start one with `scripts/brokers up nats` and `eval \"$(scripts/brokers env)\"`",
    )
}

/// Removes the streams of a project. Waits for that on a thread of its own, for it is called where nothing can be awaited.
pub(crate) fn remove(project: &str) {
    let streams = [format!("ROHAS_{project}"), format!("ROHAS_{project}_DLQ")];
    let removing = thread::spawn(move || {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
        runtime.block_on(async {
            let client = async_nats::connect(url()).await.expect("the server is there");
            let context = async_nats::jetstream::new(client);
            for stream in streams {
                if let Err(error) = context.delete_stream(&stream).await {
                    assert!(error.to_string().contains("not found"), "{stream} cannot be removed: {error}");
                }
            }
        });
    });
    assert!(removing.join().is_ok() || thread::panicking(), "the streams of {project} were not removed");
}
