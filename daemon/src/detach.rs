//! How does work that has begun outlive its caller? It runs inside of the caller as long as that waits, and goes on as a task
//! of its own when the caller goes away.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio_util::task::TaskTracker;

/// A future that is run to its end even if it is dropped before. Cheaper than a task from the beginning: nothing is
/// scheduled and nobody is woken twice as long as the caller stays.
pub(crate) struct Detach<F: Future<Output: Send> + Send + 'static> {
    work: Option<Pin<Box<F>>>,
    tracker: TaskTracker,
}

impl<F: Future<Output: Send> + Send + 'static> Detach<F> {
    /// Work that the tracker's owner waits for, with or without its caller.
    pub(crate) fn new(work: F, tracker: TaskTracker) -> Self {
        Self { work: Some(Box::pin(work)), tracker }
    }
}

impl<F: Future<Output: Send> + Send + 'static> Future for Detach<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // Taken out while it is polled: work that panics must not be polled again by the drop that follows.
        let Some(mut work) = self.work.take() else { return Poll::Pending };
        let outcome = work.as_mut().poll(context);
        if outcome.is_pending() {
            self.work = Some(work);
        }
        outcome
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for Detach<F> {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            self.tracker.spawn(async move { drop(work.await) });
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn work_that_is_waited_for_gives_its_result() {
        let tracker = TaskTracker::new();
        assert_eq!(Detach::new(async { 7 }, tracker.clone()).await, 7);
        assert!(tracker.is_empty());
    }

    #[tokio::test]
    async fn work_whose_caller_goes_away_goes_on() {
        let tracker = TaskTracker::new();
        let (go, may_go) = oneshot::channel::<()>();
        let (done, is_done) = oneshot::channel();
        let work = async move {
            may_go.await.unwrap();
            done.send(7).unwrap();
        };
        let caller = tokio::time::timeout(std::time::Duration::ZERO, Detach::new(work, tracker.clone()));
        assert!(caller.await.is_err());
        go.send(()).unwrap();
        assert_eq!(is_done.await.unwrap(), 7);
        tracker.close();
        tracker.wait().await;
    }
}
