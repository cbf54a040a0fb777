//! Sockets that accept connections of both IP families.

use anyhow::Context as _;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::net::TcpListener;

/// Maximum number of connections that wait to be accepted.
const BACKLOG: i32 = 1024;
/// Errors of a kernel without IPv6: no such address family, no such address.
const NO_IPV6: [i32; 2] = [97, 99];

/// Listens on an address. `[::]` is every address of both families, whatever the kernel's default is; where it has no
/// IPv6, every IPv4 address (contract O2).
///
/// # Errors
///
/// If the address cannot be bound.
pub fn listen(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    let bound = bind(address).or_else(|error| match without_ipv6(address, &error) {
        Some(address) => bind(address),
        None => Err(error),
    });
    bound.with_context(|| format!("{flag} {address} cannot be listened on"))
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

/// Every IPv4 address instead of every address, if the kernel has no IPv6.
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
    async fn every_address_is_one_of_either_family() {
        let listener = listen("[::]:0".parse().unwrap(), "--webhook-address").unwrap();
        let port = listener.local_addr().unwrap().port();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        if listener.local_addr().unwrap().is_ipv6()
            && bind(SocketAddr::from((Ipv6Addr::LOCALHOST, 0))).is_ok()
        {
            TcpStream::connect((Ipv6Addr::LOCALHOST, port)).await.unwrap();
        }
        let taken = listen(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)), "--admin-address").unwrap_err();
        assert!(format!("{taken:#}").starts_with("--admin-address 0.0.0.0:"), "{taken:#}");
    }

    #[test]
    fn only_a_kernel_without_ipv6_gets_every_ipv4_address() {
        let every: SocketAddr = "[::]:8080".parse().unwrap();
        let error = |code| io::Error::from_raw_os_error(code);
        let instead = Some("0.0.0.0:8080".parse().unwrap());
        assert_eq!(without_ipv6(every, &error(97)), instead);
        assert_eq!(without_ipv6(every, &error(99)), instead);
        assert_eq!(without_ipv6(every, &error(98)), None, "it is in use");
        assert_eq!(without_ipv6("[::1]:8080".parse().unwrap(), &error(97)), None);
    }
}
