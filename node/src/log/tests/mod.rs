//! Tests of the log, most of them on a disk that forgets what was not synced.

mod crash;
mod damage;
mod disk;
mod encoding;
mod operation;
mod promises;
mod suite;

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use openraft::RaftLogReader as _;
use openraft::storage::{IOFlushed, RaftLogStorage as _};
use openraft::type_config::TypeConfigExt as _;
use openraft::type_config::alias::OneshotReceiverOf;

use self::disk::ForgetfulDisk;
use super::entry::log_id;
use super::{Driver, FILE_BYTES_MIN, LogStore, OpenError, Options};
use crate::raft::types::{Entry, Group, LogId, Payload, TypeConfig, Vote};

/// Resolves when a callback that was given to `append` is completed.
type Flushed = OneshotReceiverOf<TypeConfig, io::Result<()>>;

/// The smallest files, and nothing in the cache that can be read from them.
fn options() -> Options {
    Options { file_bytes: FILE_BYTES_MIN, cache_bytes: 0, ..Options::default() }
}

fn open(disk: &ForgetfulDisk) -> Result<(LogStore, Driver), OpenError> {
    LogStore::open_driven(Arc::new(disk.clone()), options())
}

/// An entry whose group is `bytes` times a byte made of its place.
fn group(term: u64, index: u64, bytes: usize) -> Entry {
    let byte = (term * 31 + index) as u8;
    Entry {
        log_id: log_id(term, index),
        payload: Payload::Normal(Group(Bytes::from(vec![byte; bytes]))),
    }
}

/// Polls `future`, and lets the writer work whenever it waits. Unconstrained, since inside a task of tokio that has
/// used up its turn even a future that is ready says that it is not.
fn drive<F: Future>(driver: &mut Driver, future: F) -> F::Output {
    let mut future = pin!(tokio::task::unconstrained(future));
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        assert!(driver.step(), "nobody will ever complete this");
    }
}

/// The output of a future that must not need the writer.
fn now<F: Future>(future: F) -> F::Output {
    let mut future = pin!(tokio::task::unconstrained(future));
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("this has to wait for the writer"),
    }
}

/// Appends without waiting.
fn append(store: &LogStore, entries: Vec<Entry>) -> io::Result<Flushed> {
    let (sender, flushed) = TypeConfig::oneshot();
    now(store.clone().append(entries, IOFlushed::signal(sender)))?;
    Ok(flushed)
}

fn append_durably(store: &LogStore, driver: &mut Driver, entries: Vec<Entry>) {
    let flushed = append(store, entries).unwrap();
    drive(driver, flushed).unwrap().unwrap();
}

fn save_vote(store: &LogStore, driver: &mut Driver, vote: Vote) -> io::Result<()> {
    drive(driver, store.clone().save_vote(&vote))
}

fn entries(store: &LogStore) -> Vec<Entry> {
    now(async { store.clone().get_log_reader().await.try_get_log_entries(..).await }).unwrap()
}

fn log_ids(store: &LogStore) -> Vec<LogId> {
    entries(store).iter().map(|entry| entry.log_id).collect()
}

fn vote(store: &LogStore) -> Option<Vote> {
    now(async { store.clone().get_log_reader().await.read_vote().await }).unwrap()
}
