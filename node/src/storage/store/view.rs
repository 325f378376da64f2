//! The checkpoint and the readers of its files, swapped as one.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::checkpoint::Checkpoint;
use super::super::files::Files;
use super::super::records::RecordsReader;
use super::super::run::RunReader;
use super::super::sealed::{Sealed, SealedLayer, SealedRecords};

#[derive(Debug, Clone)]
pub(super) struct View {
    pub checkpoint: Option<Arc<Checkpoint>>,
    pub sealed: Arc<Sealed>,
}

impl View {
    /// The view of a checkpoint. Files that the view `before` has too keep their readers and what is cached of them,
    /// all but the one at the path `renewed`.
    pub fn new(
        files: &Files,
        checkpoint: Option<Arc<Checkpoint>>,
        before: Option<&Self>,
        renewed: Option<&str>,
    ) -> Self {
        let mut runs: HashMap<&str, &Arc<RunReader>> = HashMap::new();
        let mut records: HashMap<&str, &Arc<RecordsReader>> = HashMap::new();
        for layer in before.iter().flat_map(|before| &before.sealed.layers) {
            runs.insert(layer.run.path(), &layer.run);
            for file in &layer.records {
                records.insert(file.reader.path(), &file.reader);
            }
        }
        if let Some(renewed) = renewed {
            runs.remove(renewed);
            records.remove(renewed);
        }
        let mut layers = Vec::new();
        if let Some(checkpoint) = &checkpoint {
            let mut metas = checkpoint.records.iter().peekable();
            for run in &checkpoint.runs {
                let (name, bytes) = (&run.file.name, run.file.bytes);
                let reader = runs.get(name.as_str()).map(|reader| Arc::clone(reader));
                let mut layer = SealedLayer {
                    positions: run.positions.clone(),
                    run: reader.unwrap_or_else(|| Arc::new(RunReader::new(files, name, bytes))),
                    records: Vec::new(),
                };
                let in_layer =
                    |positions: &std::ops::Range<u64>| positions.end <= run.positions.end;
                while let Some(meta) = metas.next_if(|meta| in_layer(&meta.positions)) {
                    let (name, bytes) = (&meta.file.name, meta.file.bytes);
                    let reader = records.get(name.as_str()).map(|reader| Arc::clone(reader));
                    layer.records.push(SealedRecords {
                        positions: meta.positions.clone(),
                        last_epoch_us: *meta.epochs_us.end(),
                        reader: reader
                            .unwrap_or_else(|| Arc::new(RecordsReader::new(files, name, bytes))),
                    });
                }
                layers.push(layer);
            }
        }
        Self { checkpoint, sealed: Arc::new(Sealed { layers }) }
    }
}
