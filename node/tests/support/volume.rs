//! A volume in memory that forgets at a crash what was not synced, fails when told to, and can be full, damaged or
//! frozen. Clones share it.

#![allow(dead_code, reason = "each test binary uses a part of it")]

#[path = "image.rs"]
mod image;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use reckon_node::storage::volume::{Volume, VolumeFile};

/// What a crash leaves of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survival {
    /// Nothing: the least that a disk promises.
    Nothing,
    /// Everything: it happened to be written back in time.
    Everything,
    /// Some sectors, sizes, names and removals, by chance.
    Some(u64),
    /// Everything but a part of the last write, by chance.
    Torn(u64),
}

/// What a call is refused with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The disk is broken.
    Eio,
    /// The disk is full; of a write, half happened.
    Enospc,
}

/// Which calls are counted and refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calls {
    /// Whatever changes the volume, syncs among it.
    Changes,
    /// Changes that take space: creations, writes, growth, renames and folders.
    Growth,
    /// Syncs of files and folders.
    Syncs,
    /// Reads and openings.
    Reads,
}

#[derive(Debug, Clone, Copy)]
struct FaultPlan {
    calls: Calls,
    /// Calls of the kind that still succeed.
    after: u64,
    /// How many are refused then.
    times: u64,
    refused: u64,
    fault: Fault,
}

/// The state of the volume at one call, from which crashes can be made.
#[derive(Debug, Clone)]
pub struct Image {
    state: State,
    /// What the test had said last by [`FaultyVolume::mark`].
    pub mark: u64,
}

#[derive(Debug, Clone, Default)]
pub struct FaultyVolume {
    state: Arc<Mutex<State>>,
}

type FileId = u64;

#[derive(Debug, Clone, Default)]
struct State {
    files: BTreeMap<FileId, Contents>,
    live: Names,
    durable: Names,
    next_file: FileId,
    last_write: Option<LastWrite>,
    capacity: Option<u64>,
    frozen: bool,
    plan: Option<FaultPlan>,
    changes: u64,
    recording: Option<Recording>,
    mark: u64,
}

#[derive(Debug, Clone)]
struct Recording {
    calls: Calls,
    images: Vec<Image>,
}

#[derive(Debug, Clone, Default)]
struct Names {
    files: BTreeMap<String, FileId>,
    folders: BTreeSet<String>,
}

/// Shared until one side writes, so that images are cheap.
#[derive(Debug, Clone, Default)]
struct Contents {
    live: Arc<Vec<u8>>,
    durable: Arc<Vec<u8>>,
}

#[derive(Debug, Clone)]
struct LastWrite {
    file: FileId,
    offset: usize,
    before: Arc<Vec<u8>>,
    bytes: usize,
}

#[derive(Debug)]
struct FaultyFile {
    state: Arc<Mutex<State>>,
    file: FileId,
}

impl FaultyVolume {
    /// After `after` more calls of a kind, `times` of them fail.
    pub fn fail(&self, calls: Calls, after: u64, times: u64, fault: Fault) {
        self.state.lock().plan = Some(FaultPlan { calls, after, times, refused: 0, fault });
    }

    /// No call fails any more for having been told to. Says how many did.
    pub fn heal(&self) -> u64 {
        self.state.lock().plan.take().map_or(0, |plan| plan.refused)
    }

    /// Whether a call has failed for having been told to.
    pub fn has_failed(&self) -> bool {
        self.state.lock().plan.is_some_and(|plan| plan.refused > 0)
    }

    /// How many bytes the files may have together; `None`: as many as memory holds.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state.lock().capacity = bytes;
    }

    /// Bytes of all files.
    pub fn used_bytes(&self) -> u64 {
        self.state.lock().used()
    }

    /// From now on every call fails and nothing changes: what is dropped after a crash must not tidy up.
    pub fn freeze(&self) {
        self.state.lock().frozen = true;
    }

    /// How many calls have changed the volume.
    pub fn changes(&self) -> u64 {
        self.state.lock().changes
    }

    /// From now on an image is kept before every change.
    pub fn record(&self) {
        self.record_before(Calls::Changes);
    }

    /// From now on an image is kept before every call of a kind.
    pub fn record_before(&self, calls: Calls) {
        self.state.lock().recording = Some(Recording { calls, images: Vec::new() });
    }

    /// Goes into the images from here on.
    pub fn mark(&self, mark: u64) {
        self.state.lock().mark = mark;
    }

    /// The images so far, and no more of them.
    pub fn take_images(&self) -> Vec<Image> {
        self.state.lock().recording.take().map(|recording| recording.images).unwrap_or_default()
    }

    /// The volume as it is now.
    pub fn image(&self) -> Image {
        self.state.lock().image()
    }

    /// The volume as it is found after a crash now. This one stays as it is.
    pub fn crash(&self, survival: Survival) -> Self {
        self.image().crash(survival)
    }

    /// The paths of all files and their sizes.
    pub fn files(&self) -> Vec<(String, usize)> {
        let state = self.state.lock();
        let size = |file: &FileId| state.files[file].live.len();
        state.live.files.iter().map(|(path, file)| (path.clone(), size(file))).collect()
    }

    /// The bytes of a file.
    pub fn contents(&self, path: &str) -> Vec<u8> {
        let state = self.state.lock();
        state.files[&state.live.files[path]].live.to_vec()
    }

    /// Replaces bytes of a file, on the medium; cut at its end.
    pub fn overwrite(&self, path: &str, offset: usize, bytes: &[u8]) {
        let mut state = self.state.lock();
        let file = state.live.files[path];
        let contents = state.files.get_mut(&file).expect("a name has a file");
        for side in [&mut contents.live, &mut contents.durable] {
            let side = Arc::make_mut(side);
            let end = side.len().min(offset + bytes.len());
            side[offset..end].copy_from_slice(&bytes[..end - offset]);
        }
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

impl State {
    fn image(&self) -> Image {
        let state = Self { recording: None, plan: None, ..self.clone() };
        Image { state, mark: self.mark }
    }

    fn used(&self) -> u64 {
        self.live.files.values().map(|file| self.files[file].live.len() as u64).sum()
    }

    /// Counts a call; an error if it is to be refused.
    fn call(&mut self, kinds: &[Calls]) -> io::Result<()> {
        if self.frozen {
            return Err(io::Error::other("the volume is frozen"));
        }
        if kinds.contains(&Calls::Changes) {
            self.changes += 1;
        }
        if self.recording.as_ref().is_some_and(|recording| kinds.contains(&recording.calls)) {
            let image = self.image();
            self.recording.as_mut().expect("it was there").images.push(image);
        }
        match &mut self.plan {
            Some(plan) if kinds.contains(&plan.calls) => {
                if plan.after > 0 {
                    plan.after -= 1;
                } else if plan.refused < plan.times {
                    plan.refused += 1;
                    return Err(plan.fault.into());
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn file(&self, path: &str) -> io::Result<FileId> {
        self.live.files.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn in_folder(&self, path: &str) -> io::Result<()> {
        let folder = parent(path);
        if folder.is_empty() || self.live.folders.contains(folder) {
            return Ok(());
        }
        Err(io::ErrorKind::NotFound.into())
    }
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Eio => Self::from_raw_os_error(5),
            Fault::Enospc => Self::from_raw_os_error(28),
        }
    }
}

impl Volume for FaultyVolume {
    fn create(&self, path: &str) -> io::Result<Arc<dyn VolumeFile>> {
        let mut state = self.state.lock();
        state.call(&[Calls::Changes, Calls::Growth])?;
        state.in_folder(path)?;
        if state.live.files.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = state.next_file;
        state.next_file += 1;
        state.files.insert(file, Contents::default());
        state.live.files.insert(path.to_owned(), file);
        Ok(Arc::new(FaultyFile { state: Arc::clone(&self.state), file }))
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn VolumeFile>> {
        let mut state = self.state.lock();
        state.call(&[Calls::Reads])?;
        let file = state.file(path)?;
        Ok(Arc::new(FaultyFile { state: Arc::clone(&self.state), file }))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let mut state = self.state.lock();
        state.call(&[Calls::Reads])?;
        if !folder.is_empty() && !state.live.folders.contains(folder) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let paths = state.live.files.keys().chain(&state.live.folders);
        let mut names: Vec<_> = paths
            .filter(|path| parent(path) == folder)
            .map(|path| path.rsplit('/').next().unwrap_or(path).to_owned())
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.call(&[Calls::Changes, Calls::Growth])?;
        state.in_folder(to)?;
        let file = state.file(from)?;
        state.live.files.remove(from);
        state.live.files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.call(&[Calls::Changes])?;
        state.file(path)?;
        state.live.files.remove(path);
        Ok(())
    }

    fn make_folder(&self, path: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.call(&[Calls::Changes, Calls::Growth])?;
        state.in_folder(path)?;
        state.live.folders.insert(path.to_owned());
        Ok(())
    }

    fn sync_folder(&self, path: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.call(&[Calls::Changes, Calls::Syncs])?;
        let State { live, durable, .. } = &mut *state;
        durable.files.retain(|name, _| parent(name) != path);
        durable.folders.retain(|name| parent(name) != path);
        let files = live.files.iter().filter(|(name, _)| parent(name) == path);
        durable.files.extend(files.map(|(name, file)| (name.clone(), *file)));
        let folders = live.folders.iter().filter(|name| parent(name) == path);
        durable.folders.extend(folders.cloned());
        Ok(())
    }

    fn available_bytes(&self) -> io::Result<u64> {
        let state = self.state.lock();
        Ok(state.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(state.used())))
    }

    fn name(&self, path: &str) -> String {
        path.to_owned()
    }
}

impl FaultyFile {
    fn resize(state: &mut State, file: FileId, bytes: u64) -> io::Result<()> {
        let now = state.files[&file].live.len() as u64;
        let capacity = state.capacity.unwrap_or(u64::MAX);
        if bytes > now && state.used() + (bytes - now) > capacity {
            return Err(Fault::Enospc.into());
        }
        let contents = state.files.get_mut(&file).expect("a handle has a file");
        Arc::make_mut(&mut contents.live).resize(bytes as usize, 0);
        Ok(())
    }

    fn put(state: &mut State, file: FileId, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let before = Arc::clone(&state.files[&file].live);
        let end = offset + bytes.len() as u64;
        if end > before.len() as u64 {
            Self::resize(state, file, end)?;
        }
        let offset = offset as usize;
        state.last_write = Some(LastWrite { file, offset, before, bytes: bytes.len() });
        let contents = state.files.get_mut(&file).expect("a handle has a file");
        Arc::make_mut(&mut contents.live)[offset..offset + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
}

impl VolumeFile for FaultyFile {
    fn bytes(&self) -> io::Result<u64> {
        let mut state = self.state.lock();
        state.call(&[Calls::Reads])?;
        Ok(state.files[&self.file].live.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut state = self.state.lock();
        state.call(&[Calls::Reads])?;
        let offset = offset as usize;
        let bytes = state.files[&self.file].live.get(offset..offset + buffer.len());
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock();
        let called = state.call(&[Calls::Changes, Calls::Growth]);
        if let Err(error) = called {
            if error.kind() == io::ErrorKind::StorageFull {
                Self::put(&mut state, self.file, offset, &bytes[..bytes.len() / 2])?;
            }
            return Err(error);
        }
        Self::put(&mut state, self.file, offset, bytes)
    }

    fn set_bytes(&self, bytes: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        state.call(&[Calls::Changes, Calls::Growth])?;
        Self::resize(&mut state, self.file, bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        state.call(&[Calls::Changes, Calls::Syncs])?;
        if state.last_write.as_ref().is_some_and(|last| last.file == self.file) {
            // What is on the medium cannot be torn any more.
            state.last_write = None;
        }
        let contents = state.files.get_mut(&self.file).expect("a handle has a file");
        contents.durable = Arc::clone(&contents.live);
        Ok(())
    }
}
