//! The machine's clock and randomness, as a simulated run sees them.
//!
//! A run must be the same every time, also where libraries ask the operating system on their own: `std` seeds its hash
//! maps with `getrandom` (and tokio its choices with such a hash), h2 reads the monotonic clock. So this binary has
//! its own `getrandom` and `clock_gettime`, which the linker prefers to libc's. They answer from the seed and from
//! simulated time once [`enter`] was called, and truthfully before.

#![allow(unsafe_code, reason = "libc's functions can only be replaced by functions of their kind")]

use std::ffi::{c_int, c_uint, c_void};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

static SIMULATED: AtomicBool = AtomicBool::new(false);
static RANDOM: AtomicU64 = AtomicU64::new(0);
/// Nanoseconds since the run began.
static NOW_NS: AtomicU64 = AtomicU64::new(0);

/// When simulated time begins, seconds since 1970: long enough ago to be no real time.
pub const EPOCH_SECONDS: u64 = 1_700_000_000;

/// From here on this process has the seed's randomness and stands still in time until [`set_now`].
pub fn enter(seed: u64) {
    RANDOM.store(seed, Ordering::SeqCst);
    SIMULATED.store(true, Ordering::SeqCst);
}

/// Moves the clock of the whole process.
pub fn set_now(since_start: Duration) {
    NOW_NS.store(u64::try_from(since_start.as_nanos()).unwrap_or(u64::MAX), Ordering::SeqCst);
}

/// `SplitMix64` (Steele, Lea, Flood 2014): enough for seeds of hash maps.
fn next_random() -> u64 {
    let mut z = RANDOM.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// libc's `timespec`.
#[repr(C)]
#[derive(Debug)]
pub struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

/// Replaces libc's `getrandom`.
///
/// # Safety
///
/// `buffer` must point to `length` writable bytes, as for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut c_void, length: usize, flags: c_uint) -> isize {
    // SAFETY: the caller of getrandom(2) promises that the buffer is as long as it says.
    let bytes = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), length) };
    if !SIMULATED.load(Ordering::SeqCst) {
        let flags = rustix::rand::GetRandomFlags::from_bits_retain(flags);
        return rustix::rand::getrandom(bytes, flags)
            .map_or(-1, |filled| isize::try_from(filled).unwrap_or(-1));
    }
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&next_random().to_le_bytes()[..chunk.len()]);
    }
    isize::try_from(length).unwrap_or(-1)
}

/// Replaces libc's `clock_gettime`.
///
/// # Safety
///
/// `time` must point to a writable `timespec`, as for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: c_int, time: *mut Timespec) -> c_int {
    let (seconds, nanoseconds) = if SIMULATED.load(Ordering::SeqCst) {
        let now = NOW_NS.load(Ordering::SeqCst);
        let base = EPOCH_SECONDS;
        ((base + now / 1_000_000_000).cast_signed(), (now % 1_000_000_000).cast_signed())
    } else {
        let id = match clock {
            0 => rustix::time::ClockId::Realtime,
            _ => rustix::time::ClockId::Monotonic,
        };
        let now = rustix::time::clock_gettime(id);
        (now.tv_sec, now.tv_nsec)
    };
    // SAFETY: the caller of clock_gettime(2) promises that there is room for the time.
    unsafe { time.write(Timespec { seconds, nanoseconds }) };
    0
}
