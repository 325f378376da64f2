//! Reads as streamed answers: page after page, with nothing held between two of them but a position.

use std::sync::Arc;

use reckon_api::v1;
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;

use crate::engine::{Page, StateReader};
use crate::limits;
use crate::metrics::ReadObserved;
use crate::raft::Member;
use crate::service::answer::{Answer, Pages, Unread};
use crate::service::wire;

/// A page as clients get it.
#[derive(Debug, Default)]
pub(super) struct SentPage {
    events: Vec<v1::Event>,
    /// Where the next page begins; `None`: there is none.
    next: Option<u64>,
}

impl From<Page> for SentPage {
    fn from(page: Page) -> Self {
        Self { events: page.events.iter().map(wire::event).collect(), next: page.next }
    }
}

/// How many events the next page may have when so many are left of the limit.
pub(super) fn page_events_max(left: u64) -> usize {
    limits::READ_PAGE_EVENTS_MAX.min(usize::try_from(left).unwrap_or(usize::MAX))
}

/// Reads page after page; between pages it holds a position and nothing else.
pub(super) struct PageSource<R> {
    pub member: Arc<Member>,
    pub limit: u64,
    pub read: R,
}

impl<R> PageSource<R>
where
    R: Fn(&StateReader, u64, usize) -> Result<Page, Status> + Send + Sync + 'static,
{
    /// Streams the header and the first page, which were found in one look, then further pages. The slot is held until the
    /// stream ends or is dropped.
    pub fn stream<T: Send + 'static>(
        self,
        slot: OwnedSemaphorePermit,
        observed: ReadObserved,
        header: T,
        first: SentPage,
        batch: impl Fn(Vec<v1::Event>) -> T + Send + Sync + 'static,
    ) -> Pages<T> {
        let (answer, pages) = Answer::new(limits::READ_PAGES_AHEAD_MAX);
        tokio::spawn(async move {
            let _slot = slot;
            match self.answer(&answer, &observed, header, first, batch).await {
                Ok(()) => observed.ends(&Ok(())),
                Err(Stop::Unread(unread)) => answer.fail_unread(unread),
                Err(Stop::Failed(status)) => {
                    observed.ends(&Err::<(), _>(status.clone()));
                    answer.fail(status);
                }
            }
        });
        pages
    }

    async fn answer<T: Send + 'static>(
        self,
        answer: &Answer<T>,
        observed: &ReadObserved,
        header: T,
        first: SentPage,
        batch: impl Fn(Vec<v1::Event>) -> T,
    ) -> Result<(), Stop> {
        answer.send(header).await?;
        let read = Arc::new(self.read);
        let mut left = self.limit;
        let mut page = first;
        loop {
            left = left.saturating_sub(page.events.len() as u64);
            if page.events.is_empty() {
                // A page of excluded events alone still has to let others run.
                tokio::task::yield_now().await;
                if answer.is_unheard() {
                    return Err(Stop::Unread(Unread));
                }
            } else {
                observed.events(page.events.len());
                answer.send(batch(page.events)).await?;
            }
            let Some(at) = page.next.filter(|_| left > 0) else { return Ok(()) };
            let (reader, read) = (self.member.reader(), Arc::clone(&read));
            let next = move || read(&reader, at, page_events_max(left)).map(SentPage::from);
            page = self.member.offload().run(next).await?;
        }
    }
}

/// Why an answer ends before it is whole.
#[derive(Debug)]
enum Stop {
    Unread(Unread),
    Failed(Status),
}

impl From<Unread> for Stop {
    fn from(unread: Unread) -> Self {
        Self::Unread(unread)
    }
}

impl From<Status> for Stop {
    fn from(status: Status) -> Self {
        Self::Failed(status)
    }
}
