//! What is known of streams: one, or all of them by pages.

use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};

use super::error::Error;
use super::{Client, streams};
use crate::v1;

impl Client {
    /// Describes one stream; one that never was is an answer (`exists` false), not an error.
    pub async fn get_stream(&self, stream_id: impl Into<String>) -> Result<v1::StreamInfo, Error> {
        let request = v1::GetStreamRequest { stream_id: stream_id.into(), consistency: None };
        let answer =
            self.call(request, |channel, request| async move {
                streams(channel).get_stream(request).await
            })
            .await?;
        answer.stream.ok_or_else(|| Error::Protocol {
            message: "the description of a stream is empty".to_owned(),
        })
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
