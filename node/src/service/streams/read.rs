//! `Read` and `ReadAll`.

use reckon_api::v1;
use tokio::time::Instant;
use tonic::Status;

use super::StreamsService;
use super::pages::{PageSource, Pages};
use super::scan::Scan;
use super::stream_part::StreamPart;
use crate::metrics::{ReadKind, ReadObserved};
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
        let observed = self.read_begins(ReadKind::Stream, request.consistency.as_ref());
        let fresh = self.fresh(request.consistency, deadline).await;
        let (observed, (slot, member)) = begun(observed, fresh)?;

        let stream_id = request.stream_id;
        let opened = super::look(&member, deadline, move |reader| {
            // Taken first, so that everything below it is in what is read next.
            let next_position = reader.next_position();
            let state = reader.stream(&stream_id)?;
            let part = match wire::live(&stream_id, &state) {
                Ok(summary) => StreamPart::new(reader, stream_id, direction, summary, times)?,
                Err(status) => return Ok(Err(status)),
            };
            let from = part.begin(reader, start)?;
            Ok(Ok((part.header(next_position), part, from)))
        });
        let (observed, (header, part, from)) = begun(observed, opened.await.flatten())?;
        let pages = PageSource {
            member,
            limit: wire::limit(request.limit),
            read: move |reader: &_, from, events_max| part.page(reader, from, events_max),
        };
        let header = v1::read_response::Message::Header(header);
        let wrap = |message| v1::ReadResponse { message: Some(message) };
        Ok(pages.stream(slot, observed, from, wrap(header), move |events| {
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
        let filter = self.compiled(request.filter).await?;
        let observed = self.read_begins(ReadKind::All, request.consistency.as_ref());
        let fresh = self.fresh(request.consistency, deadline).await;
        let (observed, (slot, member)) = begun(observed, fresh)?;

        let opened = super::look(&member, deadline, move |reader| {
            let next_position = reader.next_position();
            let mut scan = Scan::new(reader, next_position, Positions::default(), times)?;
            scan.direction = direction;
            scan.include_system = request.include_system;
            scan.filter = filter;
            let from = scan.begin(reader, start)?;
            Ok((next_position, scan, from))
        });
        let (observed, (next_position, scan, from)) = begun(observed, opened.await)?;
        let pages = PageSource {
            member,
            limit: wire::limit(request.limit),
            read: move |reader: &_, from, events_max| scan.page(reader, from, events_max),
        };
        let header = v1::read_all_response::Message::Header(v1::ReadAllHeader { next_position });
        let wrap = |message| v1::ReadAllResponse { message: Some(message) };
        Ok(pages.stream(slot, observed, from, wrap(header), move |events| {
            wrap(v1::read_all_response::Message::Events(v1::EventBatch { events }))
        }))
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
