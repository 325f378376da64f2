//! Streamed answers: a header, then page after page of events.

use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use reckon_api::v1;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::engine::{Page, ReadError};
use crate::limits;
use crate::metrics::ReadObserved;
use crate::raft::Member;
use crate::service::wire;

/// A streamed answer.
pub type Pages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Reads page after page; between pages it holds a position and nothing else.
pub(super) struct PageSource<R> {
    pub member: Arc<Member>,
    pub limit: u64,
    pub read: R,
}

impl<R> PageSource<R>
where
    R: Fn(&Member, u64, usize) -> Result<Page, ReadError> + Send + Sync + 'static,
{
    /// Streams the header, then batches of events. The slot is held until the stream ends or is dropped.
    pub fn stream<T: Send + 'static>(
        self,
        slot: OwnedSemaphorePermit,
        observed: ReadObserved,
        from: u64,
        header: T,
        batch: impl Fn(Vec<v1::Event>) -> T + Send + Sync + 'static,
    ) -> Pages<T> {
        let (sender, receiver) = mpsc::channel(limits::READ_PAGES_AHEAD_MAX);
        tokio::spawn(async move {
            let _slot = slot;
            // A receiver that is gone means that the caller is; there is nobody to tell.
            if sender.send_timeout(Ok(header), limits::READ_STALL_MAX).await.is_err() {
                return;
            }
            let mut cursor = Some(from);
            let mut left = self.limit;
            while let Some(at) = cursor.filter(|_| left > 0) {
                let events_max =
                    limits::READ_PAGE_EVENTS_MAX.min(usize::try_from(left).unwrap_or(usize::MAX));
                let page = match (self.read)(&self.member, at, events_max) {
                    Ok(page) => page,
                    Err(error) => {
                        let status = wire::read_failed(error);
                        let told = sender.send_timeout(Err(status.clone()), limits::READ_STALL_MAX);
                        // A receiver that is gone means that the caller is.
                        let _ = told.await;
                        observed.ends(&Err::<(), _>(status));
                        return;
                    }
                };
                cursor = page.next;
                left -= page.events.len() as u64;
                if page.events.is_empty() {
                    // A page of excluded events alone still has to let others run.
                    tokio::task::yield_now().await;
                    if sender.is_closed() {
                        return;
                    }
                    continue;
                }
                observed.events(page.events.len());
                let events = page.events.iter().map(wire::event).collect();
                if sender.send_timeout(Ok(batch(events)), limits::READ_STALL_MAX).await.is_err() {
                    return;
                }
            }
            observed.ends(&Ok(()));
        });
        Box::pin(ReceiverStream::new(receiver))
    }
}
