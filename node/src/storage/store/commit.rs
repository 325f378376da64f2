//! The moment at which files become part of the state.

use std::sync::Arc;

use super::super::catalogue::NotCommitted;
use super::super::checkpoint::Checkpoint;
use super::output::Output;
use super::view::View;
use super::{Shared, StoreError};

impl Shared {
    /// Replaces the checkpoint by the one that `next` makes of the present one. The output becomes part of the state, or
    /// is removed.
    pub(super) fn commit(
        &self,
        output: Output<'_>,
        next: impl FnOnce(Option<&Checkpoint>) -> Result<Checkpoint, StoreError>,
    ) -> Result<Arc<Checkpoint>, StoreError> {
        output.sync_folders()?;
        let mut changes = self.changes.lock();
        let before = self.view.read().clone();
        let checkpoint = Arc::new(next(before.checkpoint.as_deref())?);
        match self.catalogue.set_checkpoint(&checkpoint) {
            Ok(()) => output.keep(),
            Err(NotCommitted::Unchanged(error)) => return Err(error.into()),
            Err(NotCommitted::Unknown(error)) => {
                output.keep();
                return Err(error.into());
            }
        }
        *self.view.write() =
            View::new(&self.files, Some(Arc::clone(&checkpoint)), Some(&before), None);
        self.retire(&mut changes, before);
        Ok(checkpoint)
    }
}
