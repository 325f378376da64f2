//! Every queue, batch, frame and name limit of the node, with its reason. Units stand in the names. What must
//! hold between limits is checked at the end of each section, at compile time.

use std::time::Duration;

// ---- Events and appends: what a caller may send (the API promises these numbers) ----

/// Largest event, in bytes as it stands in a record: data, metadata and all other fields. One event must not
/// hold up the replication of the others for long.
pub const EVENT_BYTES_MAX: usize = 1 << 20;

/// Largest append, in bytes over the records of all its streams. Larger ones stall the log's group commit.
pub const APPEND_BYTES_MAX: usize = 8 << 20;

/// Most events in one append.
pub const APPEND_EVENTS_MAX: usize = 10_000;

/// Most streams in one append.
pub const APPEND_STREAMS_MAX: usize = 100;

/// Longest stream id, in bytes of UTF-8. The shortest is one byte.
pub const STREAM_ID_BYTES_MAX: usize = 512;

/// Longest event type, in bytes of UTF-8. The shortest is one byte.
pub const EVENT_TYPE_BYTES_MAX: usize = 512;

/// Most distinct tags of one event: each is an index entry.
pub const TAGS_MAX: usize = 64;

/// Longest tag, in bytes of UTF-8. The shortest is one byte.
pub const TAG_BYTES_MAX: usize = 256;

/// Longest causation, correlation or actor id, in bytes of UTF-8: they are index keys, like stream ids.
pub const REFERENCE_ID_BYTES_MAX: usize = 512;

/// Longest content type, in bytes: RFC 6838 allows 127 + 1 + 127, the rest is for parameters.
pub const CONTENT_TYPE_BYTES_MAX: usize = 320;

/// Longest volume id that a node id is given out for, in bytes. They stay in the state for ever.
pub const VOLUME_ID_BYTES_MAX: usize = 256;

/// Most items of a query: each is a walk of its own over the indexes.
pub const QUERY_ITEMS_MAX: usize = 100;

/// Most types of a query item.
pub const QUERY_ITEM_TYPES_MAX: usize = 64;

/// Most tags of a query item: as many as an event can have.
pub const QUERY_ITEM_TAGS_MAX: usize = TAGS_MAX;

/// Most types and tags over all items of a query: apply has to look up every one of them in every run.
pub const QUERY_TERMS_MAX: usize = 1_024;

/// Largest encoded append condition: each type and tag with the length in front, and what stands around them.
pub const CONDITION_BYTES_MAX: usize =
    QUERY_TERMS_MAX * (EVENT_TYPE_BYTES_MAX + 2) + QUERY_ITEMS_MAX * 4 + 16;

const _: () = {
    assert!(EVENT_BYTES_MAX <= APPEND_BYTES_MAX);
    assert!(APPEND_STREAMS_MAX <= APPEND_EVENTS_MAX);
    // An event that uses every other limit to the full has most of its size left for data.
    assert!(
        TAGS_MAX * TAG_BYTES_MAX
            + EVENT_TYPE_BYTES_MAX
            + 3 * REFERENCE_ID_BYTES_MAX
            + 2 * CONTENT_TYPE_BYTES_MAX
            < EVENT_BYTES_MAX / 32
    );
    // Offsets inside a record are u32.
    assert!(COMMAND_BYTES_MAX < u32::MAX as usize);
};

// ---- Commands: what the log carries ----

/// Largest encoded command: the largest append, with the few bytes in front of each of its records, and its
/// condition.
pub const COMMAND_BYTES_MAX: usize =
    APPEND_BYTES_MAX + 32 * (APPEND_STREAMS_MAX + 1) + CONDITION_BYTES_MAX;

/// Bytes in front of the commands of a group, and in front of each command.
pub const GROUP_HEADER_BYTES: usize = 1 + 4 + 8 + 4;
/// Bytes in front of each command of a group.
pub const GROUP_COMMAND_HEADER_BYTES: usize = 4;

// ---- Storage: sealed files ----

/// Largest block of a sealed file before compression, in bytes, so that a damaged length cannot ask for all memory. A
/// record stands in one block, and what one append brings to one stream is one record.
pub const BLOCK_BYTES_MAX: usize = 2 * APPEND_BYTES_MAX;

/// Up to this size neighbouring records files are joined, in bytes: few files for a large store, and yet small enough
/// that one which has to be written again, or fetched again, is soon there.
pub const RECORDS_FILE_BYTES: u64 = 64 << 20;

const _: () = {
    // Lengths and places inside a block are u32.
    assert!(BLOCK_BYTES_MAX < u32::MAX as usize / 2);
    assert!(COMMAND_BYTES_MAX < BLOCK_BYTES_MAX);
};

// ---- Reads: what one look at the engine may cost ----

/// Most events that one page of a read gathers under the engine's lock.
pub const READ_PAGE_EVENTS_MAX: usize = 1_000;

/// Bytes of events after which a page ends. A page holds at least one event, so it may be larger by one.
pub const READ_PAGE_BYTES_MAX: usize = 1 << 20;

/// Records and index entries that one call of a read looks at, before it hands back what it has: excluded events
/// must not keep a caller waiting for long.
pub const READ_PAGE_WORK_MAX: usize = 10_000;

/// Records that a read takes in one look at a layer. The active overlay is read under the engine's lock, for which
/// apply waits: this is well under a millisecond.
pub const READ_BATCH_RECORDS_MAX: usize = 256;

/// Bytes of records after which such a look ends.
pub const READ_BATCH_BYTES_MAX: usize = 2 * READ_PAGE_BYTES_MAX;

/// Records and index entries that are looked at in it.
pub const READ_BATCH_WORK_MAX: usize = 1_000;

/// Looks at the store that may read files at once. A disk is kept busy by fewer; each holds a thread, and what
/// waits holds none.
pub const OFFLOADED_WORK_MAX: usize = 32;

/// Pages that are made ahead of a slow reader.
pub const READ_PAGES_AHEAD_MAX: usize = 2;

/// Messages of a watch that are made ahead of a slow reader: a page of notices, so that one is looked up while the
/// one before is sent.
pub const WATCH_MESSAGES_AHEAD_MAX: usize = NOTICES_PAGE_MAX;

/// Watches on one node. Each costs a look at the index whenever something was applied.
pub const WATCHES_MAX: usize = 1_024;

/// Between two looks of a watch: what is applied in the meantime is looked through at once.
pub const WATCH_PAUSE: Duration = Duration::from_millis(20);

/// Most streams on a page of a listing, and the default.
pub const LIST_PAGE_STREAMS_MAX: usize = 1_000;

/// Most names that are looked at for a page of a listing.
pub const LIST_PAGE_NAMES_MAX: usize = 2_000;

/// Most notices that are looked at for a page of them.
pub const NOTICES_PAGE_MAX: usize = 1_000;

const _: () = assert!(LIST_PAGE_NAMES_MAX > LIST_PAGE_STREAMS_MAX);

// ---- Client connections ----

/// Largest message from or to a client. An append at its limit is larger in protobuf than in records (ids as
/// text, content types spelled out), by at most a few hundred bytes an event.
pub const CLIENT_MESSAGE_BYTES_MAX: usize = 16 << 20;

const _: () = {
    assert!(CLIENT_MESSAGE_BYTES_MAX >= APPEND_BYTES_MAX + APPEND_EVENTS_MAX * 256);
    // A page of read events fits a message even when its last event is the largest.
    assert!(
        CLIENT_MESSAGE_BYTES_MAX
            >= READ_PAGE_BYTES_MAX
                + EVENT_BYTES_MAX
                + READ_PAGE_EVENTS_MAX * (STREAM_ID_BYTES_MAX + 256)
    );
};

// ---- Filters: what a caller may ask of every event of a read ----

/// Most terms of one filter. Each is looked at for every event that the indexes leave over.
pub const FILTER_TERMS_MAX: usize = 16;

/// Most event types of one term or of one item of a query: each is a list of the index to walk along.
pub const FILTER_TYPES_MAX: usize = 100;

/// Most tags of one term or of one item of a query. An event has at most `TAGS_MAX`, but a term may name
/// alternatives.
pub const FILTER_TAGS_MAX: usize = 100;

/// Longest stream pattern, in bytes: the longest stream id with every byte escaped.
pub const STREAM_PATTERN_BYTES_MAX: usize = 2 * STREAM_ID_BYTES_MAX;

/// Longest regular expression, in bytes.
pub const REGEX_BYTES_MAX: usize = 1024;

/// How deep groups of a regular expression may nest: the compiler recurses over them.
pub const REGEX_NESTING_MAX: u32 = 32;

/// Largest compiled regular expression, in bytes. Repetitions multiply (`(a{100}){100}`), and in the worst case
/// a search takes the product of this and the text.
pub const REGEX_PROGRAM_BYTES_MAX: usize = 128 << 10;

/// Longest CEL expression, in bytes.
pub const EXPRESSION_BYTES_MAX: usize = 4096;

/// How deep brackets and conditionals of an expression may nest: the parser recurses over them, with large
/// frames.
pub const EXPRESSION_NESTING_MAX: u16 = 32;

/// Stack of the thread that parses an expression, in bytes. Nesting at its limit needs 6 MiB in a debug build,
/// and a chain of operators as long as `EXPRESSION_BYTES_MAX` allows needs 4.
pub const EXPRESSION_PARSE_STACK_BYTES: usize = 16 << 20;

/// How deep the tree of an expression may be once macros are expanded. Evaluation recurses over it, on the
/// stacks of the threads that read.
pub const EXPRESSION_DEPTH_MAX: usize = 64;

/// Most nodes of the tree of an expression once macros are expanded.
pub const EXPRESSION_NODES_MAX: usize = 1_000;

/// Most regular expressions within one CEL expression: each is compiled and kept.
pub const EXPRESSION_REGEXES_MAX: usize = 8;

/// What evaluating an expression on any event may cost, in steps: evaluating a node is one, and so is
/// touching 64 bytes of data. A step is about a tenth of a microsecond.
pub const EXPRESSION_STEPS_MAX: u64 = 20_000;

/// What evaluating may cost on top for each byte of the event: enough for every expression that goes over the
/// data a few times, too little for loops within loops over large data.
pub const EXPRESSION_STEPS_PER_EVENT_BYTE: u64 = 8;

// ---- Selectors: which events somebody follows or subscribes to ----

/// Most conditions on the data of an event. Each is looked at for every event that the rest leaves over.
pub const PAYLOAD_CONDITIONS_MAX: usize = 16;

/// Longest path to a field of the data, in bytes.
pub const PAYLOAD_FIELD_BYTES_MAX: usize = 512;

/// Longest JSON of a selector, in bytes: a value to compare with, or an object that events have to contain.
pub const SELECTOR_JSON_BYTES_MAX: usize = 4096;

/// How deep that JSON may nest, and how many names a path may have.
pub const SELECTOR_NESTING_MAX: usize = 16;

/// Most values in that JSON. Comparing takes at most the product of these and of the values of an event.
pub const SELECTOR_VALUES_MAX: usize = 100;

/// Longest key by which events are kept in order, in bytes. Longer ones are cut, which keeps more events in order than
/// was asked for.
pub const DELIVERY_KEY_BYTES_MAX: usize = 512;

// ---- Delivery: to those who follow and those who consume ----

/// New records that are looked at under the engine's lock to see who is to be woken for them.
pub const WAKE_RECORDS_MAX: usize = 256;

/// Followers on one node. One that waits takes some tens of KiB, most of it for its HTTP/2 stream.
pub const FOLLOWERS_MAX: usize = 20_000;

/// Events on a page that is read on a thread which drives requests, and how far a reader of everything may be behind for
/// that: well under a millisecond.
pub const LIVE_PAGE_EVENTS_MAX: usize = 256;

/// Between two looks at what is new: under load those who are woken find a few events at once, and without load nobody
/// waits for this. Well below what a person or a service notices.
pub const WAKE_PAUSE: Duration = Duration::from_millis(2);

const _: () = {
    // A key may be a stream id.
    assert!(DELIVERY_KEY_BYTES_MAX >= STREAM_ID_BYTES_MAX);
    // The longest values that can be in an event can also be asked for.
    assert!(SELECTOR_JSON_BYTES_MAX >= 2 * STREAM_ID_BYTES_MAX);
};

const _: () = {
    assert!(FILTER_TAGS_MAX >= TAGS_MAX);
    // One event must not cost a reader more than about a second.
    assert!(
        EXPRESSION_STEPS_MAX + EXPRESSION_STEPS_PER_EVENT_BYTE * EVENT_BYTES_MAX as u64
            <= 10_000_000
    );
    assert!(EXPRESSION_NODES_MAX as u64 <= EXPRESSION_STEPS_MAX / 10);
};

// ---- Subscriptions: what is kept of them, and what their consumers may ask for ----

/// Most subscriptions of a store: each stands whole in every checkpoint, and is looked at by the leader.
pub const SUBSCRIPTIONS_MAX: usize = 10_000;

/// Largest definition of a subscription, in bytes as it is kept.
pub const SUBSCRIPTION_DEFINITION_BYTES_MAX: usize = 64 << 10;

/// Longest name of a subscription, in bytes of UTF-8. Its journal's stream id has room for it.
pub const SUBSCRIPTION_NAME_BYTES_MAX: usize = 256;

/// Most parked events of a subscription that are being delivered again at once.
pub const SUBSCRIPTION_REPLAYS_MAX: usize = 10_000;

/// Most events that a checkpoint notes as not done although later ones are. Beyond them, what is done counts as not
/// done after a change of leaders: it comes again.
pub const SUBSCRIPTION_PENDING_MAX: usize = 4_096;

/// Most consumers of a subscription that are served at once.
pub const CONSUMERS_SERVED_MAX: u32 = 1_024;

/// Consumers on one node, of all subscriptions.
pub const NODE_CONSUMERS_MAX: usize = 10_000;

/// Most events in flight to consumers, and most that are read ahead of them.
pub const SUBSCRIPTION_EVENTS_MAX: u32 = 100_000;
/// The same where a definition says nothing.
pub const SUBSCRIPTION_EVENTS_DEFAULT: u32 = 1_000;

/// Bytes of events that are held for a subscription, read ahead or in flight, beyond which no more are read.
pub const SUBSCRIPTION_BYTES_MAX: usize = 32 << 20;

/// How long a consumer may take for an event, in milliseconds.
pub const ACK_TIMEOUT_MS_MIN: u64 = 100;
/// Longer than that nobody waits for a consumer that is gone.
pub const ACK_TIMEOUT_MS_MAX: u64 = 12 * 3_600 * 1_000;
/// Where a definition says nothing.
pub const ACK_TIMEOUT_MS_DEFAULT: u64 = 30_000;

/// Failures after which an event is parked, where a definition says nothing.
pub const MAX_RETRIES_DEFAULT: u32 = 10;

/// Between two tries of an event, in milliseconds.
pub const RETRY_BACKOFF_MS_MAX: u64 = 24 * 3_600 * 1_000;
/// Where a definition says nothing.
pub const RETRY_BACKOFF_MS_MIN_DEFAULT: u64 = 100;
/// Where a definition says nothing.
pub const RETRY_BACKOFF_MS_MAX_DEFAULT: u64 = 30_000;

/// Longest reason for a retry or for parking that is kept, in bytes; the rest is cut.
pub const PARK_REASON_BYTES_MAX: usize = 1_024;

/// How often what consumers have settled is written to the log: what was settled since comes again after a change of
/// leaders.
pub const SUBSCRIPTION_REPORT_INTERVAL: Duration = Duration::from_millis(100);

/// Settled events after which that is written at once.
pub const SUBSCRIPTION_REPORT_EVENTS: u64 = 10_000;

/// Positions without an event for a subscription after which it is written that they were looked at.
pub const SUBSCRIPTION_PASSED_OVER_MAX: u64 = 100_000;

/// Parked events after which no more is read until they are written down.
pub const SUBSCRIPTION_UNREPORTED_MAX: usize = 1_000;

/// Most reports of subscriptions in one command.
pub const SUBSCRIPTION_REPORTS_MAX: usize = 1_000;

/// Bytes of reports after which a command is closed.
pub const SUBSCRIPTION_REPORTS_BYTES: usize = 1 << 20;

/// Deliveries in one message to a consumer.
pub const DELIVERIES_MAX: usize = 256;

/// Bytes of events after which such a message is closed.
pub const DELIVERIES_BYTES: usize = 256 << 10;

/// What consumers of a subscription say that may wait to be looked at.
pub const CONSUMER_ORDERS_MAX: usize = 1_024;

/// How long a subscription without consumers is kept running.
pub const SUBSCRIPTION_IDLE: Duration = Duration::from_secs(5);

/// Subscriptions on a page of a listing.
pub const SUBSCRIPTIONS_PAGE_DEFAULT: u32 = 100;
/// The same at most; also of parked events.
pub const SUBSCRIPTIONS_PAGE_MAX: u32 = 1_000;

/// Longest URL of a sink, in bytes.
pub const SINK_URL_BYTES_MAX: usize = 2_048;
/// Most headers that a sink's requests carry.
pub const SINK_HEADERS_MAX: usize = 64;
/// Longest name or value of such a header, in bytes.
pub const SINK_HEADER_BYTES_MAX: usize = 4_096;
/// Most events in one request to a sink.
pub const SINK_BATCH_MAX: u32 = 1_000;
/// How long a request to a sink may take, in milliseconds.
pub const SINK_TIMEOUT_MS_MAX: u64 = 10 * 60 * 1_000;
/// Where a definition says nothing.
pub const SINK_TIMEOUT_MS_DEFAULT: u64 = 10_000;
/// Most requests to a sink at once.
pub const SINK_CONCURRENCY_MAX: u32 = 256;

const _: () = assert!(SUBSCRIPTION_NAME_BYTES_MAX + 64 < STREAM_ID_BYTES_MAX);

// ---- Raft and its peers ----

/// How long connecting to a peer may take, name look-up included: well below an election, so that a vote is
/// not lost to one dead address.
pub const PEER_CONNECT_TIMEOUT: Duration = Duration::from_millis(400);
/// How often an idle connection is tried. A peer that was unplugged says nothing; this notices.
pub const PEER_KEEP_ALIVE_INTERVAL: Duration = Duration::from_millis(500);
/// How long such a try may stay unanswered.
pub const PEER_KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(1);
/// Between attempts to reach a peer that does not answer.
pub const PEER_RETRY_DELAY: Duration = Duration::from_millis(100);
/// How long one call between members may take that openraft sets no time for.
pub const PEER_CALL_TIMEOUT: Duration = Duration::from_secs(1);
/// The largest message between peers: one entry of the largest append, and room for its frame.
pub const PEER_MESSAGE_BYTES_MAX: usize = 2 * APPEND_BYTES_MAX;
/// HTTP/2 window of peer connections: a full pipeline must not stall on credit.
pub const PEER_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// Bytes of entries that may be under way to one peer without an answer.
pub const REPLICATION_IN_FLIGHT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Requests that may wait to be written to one peer's stream.
pub const REPLICATION_REQUESTS_QUEUED_MAX: usize = 64;
/// Entries in one replication request; its bytes are bounded by the log's reader.
pub const REPLICATION_ENTRIES_MAX: u64 = 512;
/// Apply commands that Raft's core may queue; when it is full the core stands still, heartbeats included.
pub const APPLY_CHANNEL_SIZE: u64 = 65_536;
/// Log bytes that a learner may lack and still become a voter.
pub const PROMOTION_LAG_BYTES_MAX: u64 = 1024 * 1024;
/// Log bytes that a voter may lack and still be handed the leadership: what one request carries.
pub const TRANSFER_LAG_BYTES_MAX: u64 = 512 * 1024;
/// How long a transfer waits to see the new leader.
pub const TRANSFER_TIMEOUT: Duration = Duration::from_secs(3);
/// How long Raft's core may take to answer the liveness probe.
pub const RAFT_CORE_ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

// ---- Sealing, and sealed files between members ----

/// How often, at most, the log's cache is told what is applied.
pub const APPLIED_LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// How often, at most, the leader looks whether there is enough to seal.
pub const SEAL_LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// Between attempts to seal while the disk is full.
pub const SEAL_RETRY_DELAY: Duration = Duration::from_millis(500);
/// Between attempts to merge or reclaim what had to be put off.
pub const COMPACTION_RETRY_DELAY: Duration = Duration::from_secs(5);
/// How long Raft may take to notice a new checkpoint.
pub const SNAPSHOT_KNOWN_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a member looks whether somebody has met damage.
pub const REPAIR_LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Between attempts to mend a damaged file.
pub const REPAIR_RETRY_DELAY: Duration = Duration::from_secs(1);
/// How long a member that starts tries to mend damage before it takes part without what is damaged: others may wait
/// for it to mend theirs.
pub const REPAIR_BEFORE_START_MAX: Duration = Duration::from_secs(20);
/// After a group that needed blocks which were not in memory, the blocks of so many groups are read ahead.
pub const PREFETCHED_GROUPS: u64 = 16;
/// How many commands of a group there are at most for a block that was missing, if groups are to be read ahead. An
/// estimate of how many can be looked up in the time that a disk takes for one block.
pub const PREFETCH_COMMANDS_PER_BLOCK: u64 = 32;
/// Groups that may wait to have their blocks read ahead; what is beyond is left to apply.
pub const PREFETCH_QUEUED_MAX: usize = 64;
/// Bytes of a file in one message. Small enough to come between two pages of a client, large enough to cost little.
pub const FETCH_CHUNK_BYTES: u64 = 256 * 1024;
/// How long a member that gives a file may say nothing.
pub const FETCH_STALL_MAX: Duration = Duration::from_secs(10);
/// How long a member that takes in a checkpoint may say nothing: a chunk may have waited for its own stall.
pub const INSTALL_STALL_MAX: Duration = Duration::from_secs(20);

const _: () = assert!(FETCH_CHUNK_BYTES < PEER_MESSAGE_BYTES_MAX as u64);

// ---- Health: how members look at each other ----

/// Between two probes of a member, in milliseconds. More often would be load without knowing more: an election takes
/// longer.
pub const PROBE_INTERVAL_MS_MIN: u64 = 200;
/// Longer than that a failure is no news.
pub const PROBE_INTERVAL_MS_MAX: u64 = 3_600_000;
/// How long a probe may take, in milliseconds. Less than this is less than a busy machine needs.
pub const PROBE_TIMEOUT_MS_MIN: u64 = 10;
/// The same at most.
pub const PROBE_TIMEOUT_MS_MAX: u64 = 60_000;
/// Failed probes in a row that make a member failed, at least.
pub const PROBE_FAILURES_MIN: u32 = 1;
/// The same at most.
pub const PROBE_FAILURES_MAX: u32 = 100;
/// Between two checks of consistency, in milliseconds. Each asks every member.
pub const CONSISTENCY_INTERVAL_MS_MIN: u64 = 1_000;
/// The same at most.
pub const CONSISTENCY_INTERVAL_MS_MAX: u64 = 3_600_000;
/// How long a member may take to say how it is before a check goes on without it.
pub const CONSISTENCY_ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// Log bytes that a voter may lack before a check calls it behind: what may be on its way to it under load.
pub const CONSISTENCY_LAG_BYTES_MAX: u64 = REPLICATION_IN_FLIGHT_BYTES_MAX as u64;
/// Changes of members' states that are remembered for those who ask later, or read slowly.
pub const HEALTH_NOTICES_MAX: usize = 64;
/// Longest reason of a failed probe that is kept, in bytes; the rest is cut.
pub const PROBE_ERROR_BYTES_MAX: usize = 512;
/// Seals that a member remembers the digests of, so that replicas which are a few seals apart can be compared.
pub const SEALS_REMEMBERED: usize = 16;
/// Requests to probe or check now that are in work at once: each asks every member.
pub const HEALTH_REQUESTS_MAX: usize = 16;
/// Watches of health and consistency on one node.
pub const HEALTH_WATCHES_MAX: usize = 256;

const _: () = assert!(SEALS_REMEMBERED >= 2);

// ---- Requests ----

/// Commands that may wait for the proposer.
pub const PROPOSALS_QUEUED_MAX: usize = 16_384;
/// Bytes of commands that may wait for the proposer or for their group's answer. Requests are counted too, but
/// a few thousand of the largest would fill any memory.
pub const PROPOSALS_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of disk that are kept free beside the next log file: what a seal that is under way, the catalogue and
/// recovery need. A follower refuses entries below the two together, the leader below twice as much.
pub const DISK_MARGIN_BYTES: u64 = 32 * 1024 * 1024;
/// How often the room on the disk is looked at. Far more often than appends could fill the reserve.
pub const DISK_SAMPLE_INTERVAL: Duration = Duration::from_millis(500);
/// Appends of one `AppendBatch` stream that may be under way at once: enough to fill a group many times over while
/// the last ones are synced.
pub const APPEND_BATCH_IN_FLIGHT_MAX: usize = 1024;
/// Appends of one `AppendBatch` stream that are looked at, proposed and answered together when they came together. A
/// few such chunks make a group, so that one chunk is synced while the next one is read.
pub const APPEND_CHUNK_MAX: usize = 256;
/// Bytes of them as commands; a larger append is a chunk of its own.
pub const APPEND_CHUNK_BYTES_MAX: usize = 256 * 1024;
/// Bytes of them, above which no further append is read: two of the largest.
pub const APPEND_BATCH_IN_FLIGHT_BYTES_MAX: usize = 2 * APPEND_BYTES_MAX;
/// Requests that one client connection may have open at once.
pub const CONNECTION_STREAMS_MAX: u32 = 1024;
/// How long a reader may leave a page of its answer unread before the read is given up and its slot freed.
pub const READ_STALL_MAX: Duration = Duration::from_secs(30);
/// The slowest link to a peer that is still waited for, in bytes per second.
pub const PEER_LINK_BYTES_PER_SECOND_MIN: u64 = 1_000_000;
/// How long a command is held over an election or a transfer before its caller is told.
pub const PROPOSAL_HOLD: Duration = Duration::from_secs(1);
/// How long a request waits for a leader to be known.
pub const LEADER_WAIT: Duration = Duration::from_secs(1);
/// Linearizable reads that may wait for one confirmation of leadership.
pub const READ_INDEXES_QUEUED_MAX: usize = 16_384;
/// How often an idle client connection is tried.
pub const CLIENT_KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);

// ---- The process ----

/// Threads for Raft, its peers and the proposer.
pub const CONSENSUS_THREADS: usize = 2;
/// Most threads for everything that users can load; half of the processors otherwise.
pub const CLIENT_THREADS_MAX: usize = 8;
/// Which part of the memory that the node may use the unsealed events may fill: one in so many.
pub const UNSEALED_MEMORY_PART: u64 = 4;
/// Which part of that memory one overlay may fill before it is sealed.
pub const SEAL_MEMORY_PART: u64 = 8;
/// Which part of that memory blocks, filters and indexes of sealed files may fill.
pub const BLOCK_CACHE_MEMORY_PART: u64 = 8;
/// Which part of that memory the log's cache may fill.
pub const LOG_CACHE_MEMORY_PART: u64 = 8;
/// How long a volume is waited for that another process still holds: the grace of a deleted pod.
pub const VOLUME_WAIT: Duration = Duration::from_secs(30);
/// How often it is looked whether Raft has ended: soon enough that Kubernetes restarts the node within an election.
pub const RAFT_LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// How often Raft is looked at for metrics and liveness.
pub const RAFT_OBSERVATION_INTERVAL: Duration = Duration::from_secs(1);
/// How often readiness is carried over to `grpc.health.v1`.
pub const HEALTH_REPORT_INTERVAL: Duration = Duration::from_millis(100);
/// How long a node that stops waits for what it has in memory to be sealed.
pub const LAST_SEAL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long connections may take to close once there is nothing more to say.
pub const CONNECTIONS_CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

const _: () = assert!(APPEND_CHUNK_MAX <= APPEND_BATCH_IN_FLIGHT_MAX);
const _: () = assert!(APPEND_CHUNK_BYTES_MAX <= COMMAND_BYTES_MAX);
const _: () = assert!(REPLICATION_IN_FLIGHT_BYTES_MAX >= PEER_MESSAGE_BYTES_MAX);
const _: () = assert!(PROMOTION_LAG_BYTES_MAX >= TRANSFER_LAG_BYTES_MAX);
const _: () =
    assert!(PROPOSALS_BYTES_MAX >= COMMAND_BYTES_MAX && PROPOSALS_BYTES_MAX <= u32::MAX as usize);
