//! The engine over sealed files: continued from a checkpoint, and told when files have changed.

use std::sync::Arc;

use super::Engine;
use super::error::ReadError;
use super::layer::Layer;
use super::layers::{Layers, sealed_end};
use super::overlay::Overlay;
use super::removals::{Reclaimable, Removals};
use super::small_state::{CorruptState, SmallState};
use crate::storage::Sealed;

/// Why a checkpoint cannot be continued from.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its state is none.
    #[error("the state of the checkpoint cannot be read: {0}")]
    State(#[from] CorruptState),
    /// Its files hold more or fewer events than its state counts.
    #[error("the checkpoint's state ends at position {state}, its files at {files}")]
    Positions { state: u64, files: u64 },
}

impl OpenError {
    /// Never: the same checkpoint stays as it is.
    pub const fn retryable(&self) -> bool {
        false
    }
}

impl Engine {
    /// The state as a checkpoint left it; the log behind it is applied next. Damaged files keep nothing from
    /// continuing: whoever needs them is told.
    pub fn continued(
        state: &[u8],
        removals: &[u8],
        sealed: Arc<Sealed>,
    ) -> Result<Self, OpenError> {
        let state = SmallState::decode(state)?;
        let files = sealed_end(&sealed);
        if files != state.next_position {
            return Err(OpenError::Positions { state: state.next_position, files });
        }
        let layers = Layers::sealed(sealed);
        let reclaimed_before = Removals::decode_mark(removals).map_err(CorruptState::from)?;
        Ok(Self {
            active: Overlay::starting_at(state.next_position),
            removals: Arc::new(Removals::of(layers.ascending(), reclaimed_before)),
            layers,
            state,
            ..Self::default()
        })
    }

    /// Reads these sealed layers from now on, and lets go of the frozen overlays that are in them.
    pub fn take_files(&mut self, sealed: Arc<Sealed>) {
        // A checkpoint was installed that this state knows nothing of: it is about to be replaced.
        if sealed_end(&sealed) > self.active.start() {
            return;
        }
        self.layers.seal(sealed);
        if self.removals.is_incomplete() {
            self.read_removals(self.removals.reclaimed_before());
        }
    }

    /// As [`Engine::take_files`], for files that another member reclaimed as far as it says in its checkpoint: less, it
    /// may be, than this one had.
    pub fn take_others_files(
        &mut self,
        sealed: Arc<Sealed>,
        removals: &[u8],
    ) -> Result<(), CorruptState> {
        let reclaimed_before = Removals::decode_mark(removals)?;
        self.take_files(sealed);
        self.read_removals(reclaimed_before);
        Ok(())
    }

    /// Removals of which events may leave the files now; `None`: there are none. Only what is sealed: a removal that
    /// is applied again after a crash must find what it found before, and so must all that the log holds before it.
    pub fn removals_to_reclaim(&self) -> Option<Reclaimable> {
        // With some unknown, these would not be all.
        let removals = self.removals.known().ok()?.below(self.layers.sealed_end());
        (!removals.is_empty()).then_some(removals)
    }

    /// The files hold no event of these removals any more, so reads need not know them. To be told under one lock
    /// with the change of files: reads that go on with the old files keep the old removals.
    pub fn reclaimed(&mut self, reclaimed: &Reclaimable) {
        self.removals = Arc::new(self.removals.without(reclaimed));
    }

    fn read_removals(&mut self, reclaimed_before: u64) {
        let layers = self.layers.ascending().chain([&self.active as &dyn Layer]);
        self.removals = Arc::new(Removals::of(layers, reclaimed_before));
    }
}

impl Reclaimable {
    /// Where records begin that hold events of these removals, ascending: in which files there is something to gain.
    pub fn positions(&self, sealed: &Sealed) -> Result<Vec<u64>, ReadError> {
        let mut positions = Vec::new();
        for layer in &sealed.layers {
            for (stream_id, removal) in self.streams() {
                let mut version = 0;
                while let Some(stored) = layer.stream_record_from(stream_id, version)?
                    && stored.first_version + u64::from(stored.removed) < removal.first_version
                {
                    positions.push(stored.first_position);
                    version = stored.last_version() + 1;
                }
            }
        }
        positions.sort_unstable();
        Ok(positions)
    }
}
