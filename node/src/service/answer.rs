//! Streamed answers: messages in their order, and why there are no more.

use std::pin::Pin;

use futures::{Stream, StreamExt as _, stream};
use reckon_api::Reason;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::limits;

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
