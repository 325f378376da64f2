//! Prefetching: the blocks that applying a group will need are read before, so that apply seldom waits for a disk.
//! It changes nothing and decides nothing; what it could not read, apply reads itself.

use bytes::Bytes;

use super::append::event_ids;
use super::apply::decode;
use super::command::{Command, StreamAppend};
use super::condition;
use super::error::ReadError;
use super::layer::record_at;
use super::layers::Layers;
use super::query::AppendCondition;
use super::reader::StateReader;

/// Reads what applying the group will need of sealed files. May wait for a disk.
pub fn prefetch(group: &Bytes, reader: &StateReader) {
    let Some(layers) = reader.layers_with_files() else { return };
    // A group that cannot be read changes nothing; apply says why.
    let Ok((_, commands)) = decode(group) else { return };
    for command in commands {
        // Whoever needs a damaged block is told by apply.
        let _ = read_for(&command, &layers);
    }
}

fn read_for(command: &Command, layers: &Layers) -> Result<(), ReadError> {
    match command {
        Command::Append { appends, condition } => {
            appends.iter().try_for_each(|append| read_for_append(append, layers))?;
            condition.iter().try_for_each(|condition| read_for_condition(condition, layers))
        }
        Command::Delete { stream_id, .. } | Command::Tombstone { stream_id, .. } => {
            layers.head(stream_id).map(drop)
        }
        Command::Truncate { stream_id, before_version, .. } => {
            layers.head(stream_id)?;
            for layer in layers.sealed_newest_first() {
                if layer.stream_record_to(stream_id, *before_version)?.is_some() {
                    break;
                }
            }
            Ok(())
        }
        // What commands about subscriptions look up, the heads of the server's own streams, was mostly written not long ago.
        Command::Subscription(_)
        | Command::Seal
        | Command::Activate
        | Command::AllocateNodeId { .. } => Ok(()),
    }
}

fn read_for_append(append: &StreamAppend, layers: &Layers) -> Result<(), ReadError> {
    layers.head(append.record.stream_id())?;
    for event_id in event_ids(&append.record) {
        for layer in layers.sealed_newest_first() {
            if let Some(place) = layer.place(&event_id)? {
                record_at(layer, place.record_position)?;
                break;
            }
        }
    }
    Ok(())
}

fn read_for_condition(condition: &AppendCondition, layers: &Layers) -> Result<(), ReadError> {
    let Some(from) = condition.from() else { return Ok(()) };
    let first_readable =
        |stream_id: &str| Ok(layers.head(stream_id)?.map_or(0, |head| head.first_version));
    for layer in layers.sealed_newest_first().rev().filter(|layer| layer.positions().end > from) {
        if condition::first_match_in(layer, condition, from, &first_readable)?.is_some() {
            break;
        }
    }
    Ok(())
}
