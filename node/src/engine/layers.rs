//! The layers below the active overlay: sealed ones, and frozen overlays that wait to be sealed. They never
//! change, so a clone of this list is a view that is read without the engine's lock.

use std::sync::Arc;

use super::error::ReadError;
use super::head::Head;
use super::layer::Layer;
use super::overlay::Overlay;
use super::page::Direction;

/// A frozen overlay and the seal that it will become.
#[derive(Debug, Clone)]
pub(super) struct Frozen {
    pub seal: u64,
    pub overlay: Arc<Overlay>,
}

/// Layers in the order of positions: the sealed ones, then the frozen ones. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Layers {
    sealed: Arc<[Arc<dyn Layer>]>,
    frozen: Arc<[Frozen]>,
}

impl Default for Layers {
    fn default() -> Self {
        Self { sealed: Arc::new([]), frozen: Arc::new([]) }
    }
}

impl Layers {
    /// Puts a frozen overlay on top.
    pub fn freeze(&mut self, frozen: Frozen) {
        self.frozen = self.frozen.iter().cloned().chain([frozen]).collect();
    }

    /// Takes the sealed layers as they are after `seal`, and lets go of the frozen ones that are in them.
    pub fn seal(&mut self, seal: u64, sealed: Vec<Arc<dyn Layer>>) {
        self.sealed = sealed.into();
        self.frozen = self.frozen.iter().filter(|frozen| frozen.seal > seal).cloned().collect();
    }

    /// Memory that the frozen overlays take, in bytes.
    pub fn frozen_bytes(&self) -> u64 {
        self.frozen.iter().map(|frozen| frozen.overlay.bytes()).sum()
    }

    /// From the lowest positions up.
    pub fn ascending(&self) -> impl DoubleEndedIterator<Item = &dyn Layer> {
        let sealed = self.sealed.iter().map(AsRef::as_ref);
        let frozen = self.frozen.iter().map(|frozen| frozen.overlay.as_ref() as &dyn Layer);
        sealed.chain(frozen)
    }

    /// From the highest positions down: what a layer says goes before what a later one of these says.
    pub fn newest_first(&self) -> impl Iterator<Item = &dyn Layer> {
        self.ascending().rev()
    }

    /// The position behind the last layer's; `None`: there is none.
    pub fn end(&self) -> Option<u64> {
        self.newest_first().next().map(|layer| layer.positions().end)
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
