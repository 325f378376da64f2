//! What happened in a run, as one number: the same seed must give the same one.

use std::cell::RefCell;
use std::time::Duration;

use parking_lot::Mutex;

/// What is written down. The numbers are part of the hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Bytes were sent; the detail is their checksum.
    Sent = 1,
    /// A node started on its volume.
    Started = 2,
    /// A client was answered.
    Answered = 3,
    /// The harness did something to the cluster.
    Fault = 4,
    /// The run has ended; the detail counts the changes of a node's disk.
    Ended = 5,
    /// A consumer or a follower was given an event; the detail is its position, for consumers with the attempt.
    Delivered = 6,
}

#[derive(Debug, Default)]
struct Trace {
    hash: u64,
    events: u64,
}

static TRACE: Mutex<Trace> = Mutex::new(Trace { hash: 0xcbf2_9ce4_8422_2325, events: 0 });

/// Takes each event as a line.
type Listener = Box<dyn FnMut(String)>;

thread_local! {
    static LINES: RefCell<Option<Listener>> = const { RefCell::new(None) };
}

/// Adds an event: when, where, what, and a number that says more.
pub fn record(at: Duration, node: &str, kind: Kind, detail: u64) {
    let mut trace = TRACE.lock();
    let words = [u64::try_from(at.as_nanos()).unwrap_or(u64::MAX), kind as u64, detail];
    let bytes = words.iter().flat_map(|word| word.to_le_bytes()).chain(node.bytes());
    // FNV-1a (Fowler, Noll, Vo): order matters, and nothing here is an adversary.
    for byte in bytes {
        trace.hash = (trace.hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    trace.events += 1;
    drop(trace);
    LINES.with_borrow_mut(|lines| {
        if let Some(write) = lines {
            write(format!("{at:?} {node} {kind:?} {detail:x}"));
        }
    });
}

/// From here on each event is also handed over as a line: to see where two runs part.
pub fn print_to(write: impl FnMut(String) + 'static) {
    LINES.set(Some(Box::new(write)));
}

/// The hash so far, and how many events are in it.
pub fn summary() -> (u64, u64) {
    let trace = TRACE.lock();
    (trace.hash, trace.events)
}
