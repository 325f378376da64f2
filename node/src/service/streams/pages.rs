//! Streamed answers: messages in their order, and why there are no more.

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt as _, stream};
use reckon_api::{Reason, v1};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::engine::{Page, StateReader};
use crate::limits;
use crate::metrics::ReadObserved;
use crate::raft::Member;
use crate::service::wire;

/// A streamed answer.
pub type Pages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Where a streamed answer is put in. Dropped, it ends the answer well.
#[derive(Debug)]
pub(super) struct Answer<T> {
    messages: mpsc::Sender<T>,
    failure: oneshot::Sender<Status>,
}

/// The answer goes on no more: its reader is gone, or has left it unread for too long.
#[derive(Debug)]
pub(super) struct Unread;

impl<T: Send + 'static> Answer<T> {
    /// An answer of which so many messages may wait to be read.
    pub fn new(ahead_max: usize) -> (Self, Pages<T>) {
        let (messages, receiver) = mpsc::channel(ahead_max);
        let (failure, failed) = oneshot::channel();
        // Apart from the messages, so that it finds its way also when their channel is full.
        let failed = stream::once(failed).filter_map(|failed| async { failed.ok().map(Err) });
        (Self { messages, failure }, ReceiverStream::new(receiver).map(Ok).chain(failed).boxed())
    }

    /// Hands a message on, as soon as there is room for it.
    pub async fn send(&self, message: T) -> Result<(), Unread> {
        self.messages.send_timeout(message, limits::READ_STALL_MAX).await.map_err(|_unread| Unread)
    }

    /// Ends the answer, behind the messages that wait, with an error.
    pub fn fail(self, status: Status) {
        // A reader that is gone needs no reason.
        let _ = self.failure.send(status);
    }

    /// Ends an answer that nobody reads: whoever comes back to it must not take it for whole.
    pub fn fail_unread(self, Unread: Unread) {
        let seconds = limits::READ_STALL_MAX.as_secs();
        self.fail(Reason::DeadlineExceeded.plain(format!(
            "the answer was left unread for {seconds} s and given up; read on from where you are"
        )));
    }

    /// Whether the reader is gone.
    pub fn is_unheard(&self) -> bool {
        self.messages.is_closed()
    }

    /// Returns when the reader is gone.
    pub async fn unheard(&self) {
        self.messages.closed().await;
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_ends_well_when_it_was_whole() {
        let (answer, pages) = Answer::new(2);
        answer.send(1).await.unwrap();
        answer.send(2).await.unwrap();
        drop(answer);
        let messages: Vec<_> = pages.map(Result::unwrap).collect().await;
        assert_eq!(messages, [1, 2]);
    }

    #[tokio::test]
    async fn an_error_comes_behind_the_messages_that_wait() {
        let (answer, mut pages) = Answer::new(1);
        answer.send(1).await.unwrap();
        answer.fail(Reason::Damaged.plain("a file is damaged"));
        assert_eq!(pages.next().await.unwrap().unwrap(), 1);
        let failed = pages.next().await.unwrap().unwrap_err();
        assert_eq!(Reason::of(&failed), Some(Reason::Damaged));
        assert!(pages.next().await.is_none());
    }

    /// The clock stands still and jumps to the next thing that waits for it.
    #[tokio::test(start_paused = true)]
    async fn whoever_comes_back_to_an_answer_left_unread_does_not_take_it_for_whole() {
        let (answer, mut pages) = Answer::new(1);
        answer.send(1).await.unwrap();
        let unread = answer.send(2).await.unwrap_err();
        answer.fail_unread(unread);
        assert_eq!(pages.next().await.unwrap().unwrap(), 1);
        let failed = pages.next().await.unwrap().unwrap_err();
        assert_eq!(Reason::of(&failed), Some(Reason::DeadlineExceeded));
        assert!(pages.next().await.is_none());
    }

    #[tokio::test]
    async fn an_answer_notices_that_its_reader_is_gone() {
        let (answer, pages) = Answer::new(1);
        assert!(!answer.is_unheard());
        drop(pages);
        answer.unheard().await;
        assert!(answer.is_unheard());
        answer.send(1).await.unwrap_err();
    }
}
