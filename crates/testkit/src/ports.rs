//! Ports for programs that may be stopped and started again.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{LazyLock, Mutex, PoisonError};

/// Returns a free port that this process has not returned before.
///
/// The port is below the range from which the kernel assigns ports, so that no other process gets it unless it asks
/// for it, even while its program is down. It is also below the ports of `control_plane`, and above those of a kubelet.
/// It is random, because several runs may choose ports at the same time.
///
/// # Errors
/// If no free port is found.
pub fn free_port() -> anyhow::Result<u16> {
    const FIRST: u16 = 11_000;
    const COUNT: u16 = 9_000;
    const ATTEMPTS: usize = 1_000;
    static RETURNED: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);
    let mut returned = RETURNED.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..ATTEMPTS {
        let random = RandomState::new().build_hasher().finish() % u64::from(COUNT);
        let port = FIRST + u16::try_from(random)?;
        if !returned.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            returned.insert(port);
            return Ok(port);
        }
    }
    anyhow::bail!("no free port found from {FIRST} to {}", FIRST + COUNT)
}
