//! Lists that come in pages, as one stream of their items.

use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};

use super::error::Error;

/// The items of all pages from `page_token` on, each page asked for when the one before it is used up. `page` gives the
/// items of a page and the token of the next one, empty at the end; an error ends the list. `what` names the items.
pub(super) fn items<T, P, A>(
    what: &'static str,
    page_token: String,
    page: P,
) -> BoxStream<'static, Result<T, Error>>
where
    T: Send + 'static,
    P: Fn(String) -> A + Send + Sync + 'static,
    A: Future<Output = Result<(Vec<T>, String), Error>> + Send + 'static,
{
    futures::stream::try_unfold(Some(page_token), move |token| {
        let asked = token.map(|token| (page(token.clone()), token));
        async move {
            let Some((asked, token)) = asked else { return Ok(None) };
            let (items, next) = asked.await?;
            // Whoever follows such a token never comes to an end.
            if !next.is_empty() && next == token {
                return Err(Error::Protocol {
                    message: format!("a page of {what} points at itself"),
                });
            }
            let next = (!next.is_empty()).then_some(next);
            Ok(Some((futures::stream::iter(items.into_iter().map(Ok)), next)))
        }
    })
    .try_flatten()
    .boxed()
}
