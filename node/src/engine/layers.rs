//! The layers below the active overlay: sealed ones, and frozen overlays that wait to be sealed. They never
//! change, so a clone of this list is a view that is read without the engine's lock.

use std::sync::Arc;

use super::error::ReadError;
use super::head::Head;
use super::layer::Layer;
use super::overlay::Overlay;
use super::page::Direction;
use crate::storage::Sealed;

/// Layers in the order of positions: the sealed ones, then the frozen ones. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Layers {
    sealed: Arc<Sealed>,
    frozen: Arc<[Arc<Overlay>]>,
}

impl Layers {
    /// The sealed layers alone.
    pub fn sealed(sealed: Arc<Sealed>) -> Self {
        Self { sealed, frozen: Arc::default() }
    }

    /// Puts a frozen overlay on top.
    pub fn freeze(&mut self, frozen: Arc<Overlay>) {
        self.frozen = self.frozen.iter().cloned().chain([frozen]).collect();
    }

    /// Takes the sealed layers as they are now, and lets go of the frozen ones that are in them.
    pub fn seal(&mut self, sealed: Arc<Sealed>) {
        let end = sealed_end(&sealed);
        self.frozen = self.frozen.iter().filter(|frozen| frozen.end() > end).cloned().collect();
        self.sealed = sealed;
    }

    /// Whether there are any in files.
    pub fn has_files(&self) -> bool {
        !self.sealed.layers.is_empty()
    }

    /// The position behind the last sealed record.
    pub fn sealed_end(&self) -> u64 {
        sealed_end(&self.sealed)
    }

    /// The overlays that wait to be sealed, from the lowest positions up.
    pub fn frozen(&self) -> &[Arc<Overlay>] {
        &self.frozen
    }

    /// Memory that the frozen overlays take, in bytes.
    pub fn frozen_bytes(&self) -> u64 {
        self.frozen.iter().map(|frozen| frozen.bytes()).sum()
    }

    /// Those in files, from the highest positions down.
    pub fn sealed_newest_first(&self) -> impl DoubleEndedIterator<Item = &dyn Layer> {
        self.sealed.layers.iter().rev().map(|layer| layer as &dyn Layer)
    }

    /// From the lowest positions up.
    pub fn ascending(&self) -> impl DoubleEndedIterator<Item = &dyn Layer> {
        let frozen = self.frozen.iter().map(|frozen| frozen.as_ref() as &dyn Layer);
        self.sealed_newest_first().rev().chain(frozen)
    }

    /// From the highest positions down: what a layer says goes before what a later one of these says.
    pub fn newest_first(&self) -> impl Iterator<Item = &dyn Layer> {
        self.ascending().rev()
    }

    /// The layer to read at a position in a direction; `None`: there is none that way.
    pub fn at(&self, position: u64, direction: Direction) -> Option<&dyn Layer> {
        match direction {
            Direction::Forward => self
                .ascending()
                .find(|layer| !layer.positions().is_empty() && layer.positions().end > position),
            Direction::Backward => self
                .newest_first()
                .find(|layer| !layer.positions().is_empty() && layer.positions().start <= position),
        }
    }

    /// The newest head of a stream.
    pub fn head(&self, stream_id: &str) -> Result<Option<Head>, ReadError> {
        for layer in self.newest_first() {
            if let Some(head) = layer.head(stream_id)? {
                return Ok(Some(head));
            }
        }
        Ok(None)
    }
}

/// The position behind the last record of sealed layers.
pub(super) fn sealed_end(sealed: &Sealed) -> u64 {
    sealed.layers.last().map_or(0, |layer| layer.positions.end)
}
