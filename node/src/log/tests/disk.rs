//! A disk that forgets what was not synced, that can be stopped at any operation, and whose syncs can be held.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::log::files::{Disk, FileNumber, LogFile};

const SECTOR_BYTES: usize = 512;
/// How long anything waits for a test that has gone wrong, before it fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a crash leaves of what was not synced.
#[derive(Debug, Clone, Copy)]
pub enum Survival {
    /// Nothing: the least that a disk promises.
    Nothing,
    /// Everything: it happened to be written back in time.
    Everything,
    /// Everything, for now: the process died, the machine did not, and still has not written anything back.
    Process,
    /// Some sectors and some files, by chance.
    Some(u64),
}

/// A folder in memory; clones share it.
#[derive(Debug, Clone, Default)]
pub struct ForgetfulDisk {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    live: BTreeMap<FileNumber, Arc<Mutex<Contents>>>,
    durable: BTreeMap<FileNumber, Arc<Mutex<Contents>>>,
    nonce: u64,
    operations: u64,
    syncs: u64,
    /// The operation from which on everything fails.
    fail_from: Option<u64>,
    /// A bug: syncs say that they are done and do nothing.
    lying: bool,
    /// Syncs of file data wait.
    held: bool,
    waiting: usize,
}

#[derive(Debug, Default, Clone)]
struct Contents {
    live: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Debug)]
struct ForgetfulFile {
    shared: Arc<Shared>,
    contents: Arc<Mutex<Contents>>,
}

impl ForgetfulDisk {
    /// From the `n`-th changing operation on (creation, write, sync, removal; from 0), everything fails.
    pub fn fail_from(&self, n: u64) {
        self.shared.state.lock().fail_from = Some(n);
    }

    /// How many changing operations there were.
    pub fn operations(&self) -> u64 {
        self.shared.state.lock().operations
    }

    /// How many syncs of file data succeeded.
    pub fn syncs(&self) -> u64 {
        self.shared.state.lock().syncs
    }

    pub fn hold_syncs(&self) {
        self.shared.state.lock().held = true;
    }

    pub fn release_syncs(&self) {
        self.shared.state.lock().held = false;
        self.shared.changed.notify_all();
    }

    /// Blocks until somebody waits in a held sync.
    pub fn wait_for_held_sync(&self) {
        let mut state = self.shared.state.lock();
        while state.waiting == 0 {
            let timed_out = self.shared.changed.wait_for(&mut state, PATIENCE).timed_out();
            assert!(!timed_out, "nobody syncs");
        }
    }

    /// The disk as it is found after a crash now. This one stays as it is; what still runs on it changes nothing
    /// of the new one.
    pub fn crash(&self, survival: Survival) -> Self {
        let state = self.shared.state.lock();
        let mut chance = StdRng::seed_from_u64(match survival {
            Survival::Some(seed) => seed,
            _ => 0,
        });
        let mut keep = || match survival {
            Survival::Nothing => false,
            Survival::Everything | Survival::Process => true,
            Survival::Some(_) => chance.random(),
        };
        if let Survival::Process = survival {
            return state.copy();
        }
        let mut files = BTreeMap::new();
        let numbers: std::collections::BTreeSet<_> =
            state.live.keys().chain(state.durable.keys()).copied().collect();
        for number in numbers {
            let file = match (state.live.get(&number), state.durable.get(&number)) {
                (Some(file), Some(_)) => file,
                (Some(file), None) | (None, Some(file)) => {
                    let created = state.live.contains_key(&number);
                    if keep() != created {
                        continue;
                    }
                    file
                }
                (None, None) => unreachable!("the number came from one of them"),
            };
            let contents = file.lock();
            let mut bytes = contents.durable.clone();
            if keep() || bytes.len() == contents.live.len() {
                bytes.resize(contents.live.len(), 0);
                for (old, new) in
                    bytes.chunks_mut(SECTOR_BYTES).zip(contents.live.chunks(SECTOR_BYTES))
                {
                    if old != new && keep() {
                        old.copy_from_slice(new);
                    }
                }
            }
            let contents = Contents { live: bytes.clone(), durable: bytes };
            files.insert(number, Arc::new(Mutex::new(contents)));
        }
        State { live: files.clone(), durable: files, nonce: state.nonce, ..State::default() }.into()
    }

    /// The files and their sizes.
    pub fn files(&self) -> Vec<(FileNumber, usize)> {
        let state = self.shared.state.lock();
        state.live.iter().map(|(number, file)| (*number, file.lock().live.len())).collect()
    }

    /// Changes one byte of a file, on the medium.
    pub fn damage(&self, number: FileNumber, offset: usize, xor: u8) {
        let byte = self.bytes(number)[offset];
        self.overwrite(number, offset, &[byte ^ xor]);
    }

    /// Replaces bytes of a file, on the medium.
    pub fn overwrite(&self, number: FileNumber, offset: usize, bytes: &[u8]) {
        let state = self.shared.state.lock();
        let mut contents = state.live[&number].lock();
        contents.live[offset..offset + bytes.len()].copy_from_slice(bytes);
        contents.durable[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    /// The bytes of a file.
    pub fn bytes(&self, number: FileNumber) -> Vec<u8> {
        self.shared.state.lock().live[&number].lock().live.clone()
    }

    /// From now on syncs do nothing and say that they did.
    pub fn lie_about_syncs(&self) {
        self.shared.state.lock().lying = true;
    }
}

impl State {
    /// The same files with what is durable of each; a file that is in both folders stays one.
    fn copy(&self) -> ForgetfulDisk {
        let copy = |file: &Arc<Mutex<Contents>>| Arc::new(Mutex::new(file.lock().clone()));
        let live: BTreeMap<_, _> =
            self.live.iter().map(|(number, file)| (*number, copy(file))).collect();
        let durable = self.durable.iter().map(|(number, file)| {
            (*number, live.get(number).map_or_else(|| copy(file), Arc::clone))
        });
        let durable = durable.collect();
        Self { live, durable, nonce: self.nonce, ..Self::default() }.into()
    }
}

impl From<State> for ForgetfulDisk {
    fn from(state: State) -> Self {
        // Nonces of the next life differ from those that the crash may have lost.
        let state = State { nonce: state.nonce + 1000, ..state };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() }) }
    }
}

impl Shared {
    fn operation(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        let number = state.operations;
        state.operations += 1;
        match state.fail_from {
            Some(from) if number >= from => Err(io::Error::other("the disk has failed")),
            _ => Ok(()),
        }
    }
}

impl Disk for ForgetfulDisk {
    fn create(&self, number: FileNumber, bytes: u64) -> io::Result<Arc<dyn LogFile>> {
        self.shared.operation()?;
        let contents = Contents { live: vec![0; bytes as usize], durable: Vec::new() };
        let contents = Arc::new(Mutex::new(contents));
        let before = self.shared.state.lock().live.insert(number, Arc::clone(&contents));
        assert!(before.is_none(), "file {number} was there already");
        Ok(Arc::new(ForgetfulFile { shared: Arc::clone(&self.shared), contents }))
    }

    fn open(&self, number: FileNumber) -> io::Result<Arc<dyn LogFile>> {
        let contents = Arc::clone(&self.shared.state.lock().live[&number]);
        Ok(Arc::new(ForgetfulFile { shared: Arc::clone(&self.shared), contents }))
    }

    fn list(&self) -> io::Result<Vec<FileNumber>> {
        Ok(self.shared.state.lock().live.keys().copied().collect())
    }

    fn remove(&self, number: FileNumber) -> io::Result<()> {
        self.shared.operation()?;
        self.shared.state.lock().live.remove(&number).expect("the file is there");
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.shared.operation()?;
        let mut state = self.shared.state.lock();
        state.durable = state.live.clone();
        Ok(())
    }

    fn nonce(&self) -> u64 {
        let mut state = self.shared.state.lock();
        state.nonce += 1;
        state.nonce.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn available_bytes(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }

    fn name(&self, number: FileNumber) -> String {
        format!("log/{number}")
    }
}

impl LogFile for ForgetfulFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.contents.lock().live.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let offset = offset as usize;
        let contents = self.contents.lock();
        let bytes = contents.live.get(offset..offset + buffer.len());
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.shared.operation()?;
        let offset = offset as usize;
        let mut contents = self.contents.lock();
        assert!(offset + bytes.len() <= contents.live.len(), "a write beyond what is preallocated");
        contents.live[offset..offset + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.shared.operation()?;
        let mut state = self.shared.state.lock();
        state.waiting += 1;
        self.shared.changed.notify_all();
        while state.held {
            if self.shared.changed.wait_for(&mut state, PATIENCE).timed_out() {
                return Err(io::Error::other("the sync was held for too long"));
            }
        }
        state.waiting -= 1;
        state.syncs += 1;
        if !state.lying {
            let mut contents = self.contents.lock();
            contents.durable = contents.live.clone();
        }
        Ok(())
    }
}
