//! `Read` and `ReadAll`.

use reckon_api::v1;
use tokio::time::Instant;
use tonic::Status;

use super::StreamsService;
use super::pages::{PageSource, SentPage, page_events_max};
use super::scan::Scan;
use super::stream_part::StreamPart;
use crate::engine::Page;
use crate::metrics::{ReadKind, ReadObserved};
use crate::service::admission;
use crate::service::answer::Pages;
use crate::service::wire::{self, Positions};

impl StreamsService {
    pub(super) async fn read_stream(
        &self,
        request: v1::ReadRequest,
        deadline: Instant,
    ) -> Result<Pages<v1::ReadResponse>, Status> {
        wire::check_stream_id(&request.stream_id)?;
        let direction = wire::direction(request.direction)?;
        let start = wire::start(request.from, direction)?;
        let times = wire::times(request.since_us, request.until_us)?;
        let observed = self.admission.read_begins(ReadKind::Stream, request.consistency.as_ref());
        let fresh = self.admission.fresh(request.consistency, deadline).await;
        let (observed, (slot, member)) = begun(observed, fresh)?;

        let stream_id = request.stream_id;
        let limit = wire::limit(request.limit);
        let opened = admission::look(&member, deadline, move |reader| {
            loop {
                // Taken first, so that everything below it is in what is read next.
                let next_position = reader.next_position();
                let before = reader.stream(&stream_id)?;
                let part = match wire::live(&stream_id, &before) {
                    Ok(summary) => {
                        StreamPart::new(reader, stream_id.clone(), direction, summary, times)?
                    }
                    Err(status) => return Ok(Err(status)),
                };
                let first = first_page(part.begin(reader, start)?, limit, |from, events_max| {
                    part.page(reader, from, events_max)
                });
                // A removal in between would have the header and the events tell of two different moments.
                if !reader.stream(&stream_id)?.is_cut_since(&before) {
                    return Ok(first.map(|first| (part.header(next_position), part, first)));
                }
            }
        });
        let (observed, (header, part, first)) = begun(observed, opened.await.flatten())?;
        let pages = PageSource {
            member,
            limit,
            read: move |reader: &_, from, events_max| part.page(reader, from, events_max),
        };
        let header = v1::read_response::Message::Header(header);
        let wrap = |message| v1::ReadResponse { message: Some(message) };
        Ok(pages.stream(slot, observed, wrap(header), first, move |events| {
            wrap(v1::read_response::Message::Events(v1::EventBatch { events }))
        }))
    }

    pub(super) async fn read_store(
        &self,
        request: v1::ReadAllRequest,
        deadline: Instant,
    ) -> Result<Pages<v1::ReadAllResponse>, Status> {
        let direction = wire::direction(request.direction)?;
        let start = wire::start(request.from, direction)?;
        let times = wire::times(request.since_us, request.until_us)?;
        let filter = self.admission.compiled(request.filter).await?;
        let observed = self.admission.read_begins(ReadKind::All, request.consistency.as_ref());
        let fresh = self.admission.fresh(request.consistency, deadline).await;
        let (observed, (slot, member)) = begun(observed, fresh)?;

        let limit = wire::limit(request.limit);
        let opened = admission::look(&member, deadline, move |reader| {
            let next_position = reader.next_position();
            let mut scan = Scan::new(reader, next_position, Positions::default(), times)?;
            scan.direction = direction;
            scan.include_system = request.include_system;
            scan.filter = filter;
            let first = first_page(scan.begin(reader, start)?, limit, |from, events_max| {
                scan.page(reader, from, events_max)
            });
            Ok(first.map(|first| (next_position, scan, first)))
        });
        let (observed, (next_position, scan, first)) = begun(observed, opened.await.flatten())?;
        let pages = PageSource {
            member,
            limit,
            read: move |reader: &_, from, events_max| scan.page(reader, from, events_max),
        };
        let header = v1::read_all_response::Message::Header(v1::ReadAllHeader { next_position });
        let wrap = |message| v1::ReadAllResponse { message: Some(message) };
        Ok(pages.stream(slot, observed, wrap(header), first, move |events| {
            wrap(v1::read_all_response::Message::Events(v1::EventBatch { events }))
        }))
    }
}

/// The first page of an answer; an empty one when there is nowhere to begin.
fn first_page(
    from: Option<u64>,
    limit: u64,
    read: impl FnOnce(u64, usize) -> Result<Page, Status>,
) -> Result<SentPage, Status> {
    match from.filter(|_| limit > 0) {
        Some(from) => read(from, page_events_max(limit)).map(SentPage::from),
        None => Ok(SentPage::default()),
    }
}

/// Goes on with a read that has begun, or lets its observer see why it ends.
fn begun<T>(observed: ReadObserved, step: Result<T, Status>) -> Result<(ReadObserved, T), Status> {
    match step {
        Ok(value) => Ok((observed, value)),
        Err(status) => {
            observed.ends(&Err::<(), _>(status.clone()));
            Err(status)
        }
    }
}
