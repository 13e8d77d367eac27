//! The lease under which one process at a time works on an organisation, renewed as long as it lives.

use std::{fs, ops::Deref, time::Duration};

use muster_store::{Lease, Store, StoreError};
use tokio::task::JoinHandle;

/// For how long a lease holds without being renewed.
pub const LEASE: Duration = Duration::from_secs(15);

/// A lease that renews itself until it is dropped.
pub struct Leased {
    lease: Lease,
    renewing: JoinHandle<()>,
}

impl Leased {
    /// Keeps the lease alive.
    pub fn renewing(store: Store, lease: Lease) -> Self {
        let mine = lease.clone();
        let renewing = tokio::spawn(async move {
            loop {
                tokio::time::sleep(LEASE / 3).await;
                if let Err(StoreError::LeaseLost) = store.renew_lease(&mine, LEASE).await {
                    return;
                }
            }
        });
        Leased { lease, renewing }
    }
}

impl Deref for Leased {
    type Target = Lease;
    fn deref(&self) -> &Lease {
        &self.lease
    }
}

impl Drop for Leased {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

/// A name for this process by which another on the same machine can tell whether it still lives:
/// machine with its processes' namespace, process id, and the moment at which the process began (process ids are used again).
pub fn this_process() -> String {
    let pid = std::process::id();
    format!("{}/{pid}/{}", machine(), began(pid).unwrap_or_default())
}

/// Whether the holder was a process of this machine that no longer runs. Of other machines nothing is known.
pub fn is_dead(holder: &str) -> bool {
    let mut parts = holder.rsplitn(3, '/');
    let (Some(start), Some(pid), Some(host)) = (parts.next(), parts.next(), parts.next()) else { return false };
    let Ok(pid) = pid.parse() else { return false };
    // Where there is no /proc, nothing can be told.
    host == machine() && began(std::process::id()).is_some() && began(pid).as_deref() != Some(start)
}

fn machine() -> String {
    let read = |path| fs::read_to_string(path).map(|t| t.trim().to_owned()).unwrap_or_default();
    // The boot tells machines of the same name apart. Containers of one machine may share name and boot, and what is
    // process 1 in one of them is another process in the next.
    let processes = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let (name, boot) = (read("/proc/sys/kernel/hostname"), read("/proc/sys/kernel/random/boot_id"));
    format!("{name}/{boot}/{}", processes.display())
}

/// The start time of a process, in the kernel's ticks: field 22 of `/proc/PID/stat`, see proc(5).
/// A process that was killed and not yet waited for (state Z) no longer runs.
fn began(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program stands in parentheses and may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_lives() {
        assert!(!is_dead(&this_process()));
    }

    #[test]
    fn a_process_that_ended_is_dead() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let name = format!("{}/{}/{}", machine(), child.id(), began(child.id()).unwrap_or_default());
        child.wait().unwrap();
        assert!(is_dead(&name));
    }

    #[test]
    fn of_processes_in_another_container_nothing_is_known() {
        let mine = fs::read_link("/proc/self/ns/pid").unwrap();
        let dead = format!("{}/4194304/1", machine());
        assert!(is_dead(&dead), "a process that is not there");
        assert!(!is_dead(&dead.replace(mine.to_str().unwrap(), "pid:[1]")));
    }

    #[test]
    fn of_other_machines_nothing_is_known() {
        assert!(!is_dead("elsewhere/boot/1/2"));
        assert!(!is_dead("nonsense"));
    }
}
