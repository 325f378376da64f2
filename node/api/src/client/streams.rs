//! What is asked of streams and events but reading them: descriptions, lists, counts, look-ups, and the ends of
//! their lives.

use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};

use super::error::Error;
use super::{Client, streams};
use crate::v1;

/// Calls that are a request and an answer, safe to send twice.
macro_rules! calls {
    ($($(#[doc = $doc:literal])+ $via:ident $method:ident($request:ident) -> $response:ident;)+) => {
        impl Client {
            $(
                $(#[doc = $doc])+
                pub async fn $method(
                    &self,
                    request: v1::$request,
                ) -> Result<v1::$response, Error> {
                    self.$via(request, |channel, request| async move {
                        streams(channel).$method(request).await
                    })
                    .await
                }
            )+
        }
    };
}

calls! {
    /// How many events a read of the same range and filter would deliver. One attempt may take the whole deadline.
    call_long count(CountRequest) -> CountResponse;
    /// Whether a read of the same range and filter would deliver an event. One attempt may take the whole deadline.
    call_long any(AnyRequest) -> AnyResponse;
    /// Validates and types a CEL expression over an event.
    call check_expression(CheckExpressionRequest) -> CheckExpressionResponse;
    /// The last version that a stream had at a time.
    call version_at(VersionAtRequest) -> VersionAtResponse;
    /// Whether at least one event can be read.
    call has_events(HasEventsRequest) -> HasEventsResponse;
    /// Deletes a stream softly. Sent again, it is answered alike.
    call delete(DeleteRequest) -> DeleteResponse;
    /// Deletes a stream for ever. Sent again, it is answered alike.
    call tombstone(TombstoneRequest) -> TombstoneResponse;
    /// Removes the events of a stream below a version. Sent again, it is answered alike.
    call truncate(TruncateRequest) -> TruncateResponse;
}

impl Client {
    /// Describes one stream; one that never was is an answer (`exists` false), not an error.
    pub async fn get_stream(&self, request: v1::GetStreamRequest) -> Result<v1::StreamInfo, Error> {
        let answer =
            self.call(request, |channel, request| async move {
                streams(channel).get_stream(request).await
            })
            .await?;
        answer.stream.ok_or_else(|| Error::Protocol {
            message: "the description of a stream is empty".to_owned(),
        })
    }

    /// One event by its id.
    pub async fn get_event(&self, request: v1::GetEventRequest) -> Result<v1::Event, Error> {
        let answer =
            self.call(request, |channel, request| async move {
                streams(channel).get_event(request).await
            })
            .await?;
        answer
            .event
            .ok_or_else(|| Error::Protocol { message: "an event's answer is empty".to_owned() })
    }

    /// Lists streams in the byte order of their names, one page after the other. `page_token` of the
    /// request says where to begin; an error ends the list.
    pub fn list_streams(
        &self,
        request: v1::ListStreamsRequest,
    ) -> BoxStream<'static, Result<v1::StreamInfo, Error>> {
        let client = self.clone();
        futures::stream::try_unfold(Some(request), move |request| {
            let client = client.clone();
            async move {
                let Some(mut request) = request else { return Ok(None) };
                let page = client
                    .call(request.clone(), |channel, request| async move {
                        streams(channel).list_streams(request).await
                    })
                    .await?;
                if !page.next_page_token.is_empty() && page.next_page_token == request.page_token {
                    return Err(Error::Protocol {
                        message: "a page of streams points at itself".to_owned(),
                    });
                }
                request.page_token = page.next_page_token;
                let next = (!request.page_token.is_empty()).then_some(request);
                Ok(Some((futures::stream::iter(page.streams.into_iter().map(Ok)), next)))
            }
        })
        .try_flatten()
        .boxed()
    }
}
