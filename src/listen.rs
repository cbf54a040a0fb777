//! Listening sockets for both IP families.

use anyhow::Context as _;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::net::TcpListener;

/// Maximum number of pending connections.
const BACKLOG: i32 = 1024;
/// Error codes of a kernel without IPv6: EAFNOSUPPORT and EADDRNOTAVAIL.
const NO_IPV6: [i32; 2] = [97, 99];

/// Listens on an address. `[::]` means all addresses of both families, regardless of the kernel's default, or all IPv4
/// addresses if the kernel has no IPv6 (contract O2).
///
/// # Errors
///
/// If the address cannot be bound.
pub fn listen(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    let bound = bind(address).or_else(|error| match without_ipv6(address, &error) {
        Some(address) => bind(address),
        None => Err(error),
    });
    bound.with_context(|| format!("cannot listen on {address} ({flag})"))
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        let every = address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        socket.set_only_v6(!every)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Returns all IPv4 addresses instead of all addresses, if the kernel has no IPv6.
fn without_ipv6(address: SocketAddr, error: &io::Error) -> Option<SocketAddr> {
    let every = address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let lacks_ipv6 = error.raw_os_error().is_some_and(|code| NO_IPV6.contains(&code));
    (every && lacks_ipv6).then(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpStream;

    #[tokio::test]
    async fn the_unspecified_address_accepts_both_families() {
        let listener = listen("[::]:0".parse().unwrap(), "--webhook-address").unwrap();
        let port = listener.local_addr().unwrap().port();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        if listener.local_addr().unwrap().is_ipv6()
            && bind(SocketAddr::from((Ipv6Addr::LOCALHOST, 0))).is_ok()
        {
            TcpStream::connect((Ipv6Addr::LOCALHOST, port)).await.unwrap();
        }
        let taken = listen(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)), "--admin-address").unwrap_err();
        assert!(format!("{taken:#}").starts_with("cannot listen on 0.0.0.0:"), "{taken:#}");
    }

    #[test]
    fn all_ipv4_addresses_are_used_only_without_ipv6() {
        let every: SocketAddr = "[::]:8080".parse().unwrap();
        let error = |code| io::Error::from_raw_os_error(code);
        let instead = Some("0.0.0.0:8080".parse().unwrap());
        assert_eq!(without_ipv6(every, &error(97)), instead);
        assert_eq!(without_ipv6(every, &error(99)), instead);
        assert_eq!(without_ipv6(every, &error(98)), None, "address in use");
        assert_eq!(without_ipv6("[::1]:8080".parse().unwrap(), &error(97)), None);
    }
}
