//! What is asked of streams and events but reading them: descriptions, lists, counts, look-ups, and the ends of
//! their lives.

use futures::stream::BoxStream;

use super::call::calls;
use super::error::Error;
use super::{Client, pages, streams};
use crate::v1;

calls! { streams;
    /// How many events a read of the same range and filter would deliver. One attempt may take the whole deadline.
    call_long count = count(CountRequest) -> CountResponse;
    /// Whether a read of the same range and filter would deliver an event. One attempt may take the whole deadline.
    call_long any = any(AnyRequest) -> AnyResponse;
    /// Validates and types a CEL expression over an event.
    call check_expression = check_expression(CheckExpressionRequest) -> CheckExpressionResponse;
    /// The last version that a stream had at a time.
    call version_at = version_at(VersionAtRequest) -> VersionAtResponse;
    /// Whether at least one event can be read.
    call has_events = has_events(HasEventsRequest) -> HasEventsResponse;
    /// Deletes a stream softly. Sent again, it is answered alike.
    call delete = delete(DeleteRequest) -> DeleteResponse;
    /// Deletes a stream for ever. Sent again, it is answered alike.
    call tombstone = tombstone(TombstoneRequest) -> TombstoneResponse;
    /// Removes the events of a stream below a version. Sent again, it is answered alike.
    call truncate = truncate(TruncateRequest) -> TruncateResponse;
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
        pages::items("streams", request.page_token.clone(), move |page_token| {
            let (client, request) = (client.clone(), request.clone());
            async move {
                let request = v1::ListStreamsRequest { page_token, ..request };
                let page = client
                    .call(request, |channel, request| async move {
                        streams(channel).list_streams(request).await
                    })
                    .await?;
                Ok((page.streams, page.next_page_token))
            }
        })
    }
}
