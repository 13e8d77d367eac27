//! How the C library keeps memory that was given back.

/// From this size on, in bytes, memory goes back to the system as soon as it is given back.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: i32 = 1 << 20;

/// Lets threads share what memory the C library keeps for later: a stage on one thread otherwise takes fresh memory while
/// what the stage before gave back lies idle in another thread's keeping. What is large grows without leaving holes behind,
/// and is not kept. A third less at a first import, and no slower.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn share() {
    #[expect(unsafe_code, reason = "mallopt only sets a number, and is safe to call from any thread at any time")]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
    }
}

/// Elsewhere there is nothing to be set.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn share() {}
