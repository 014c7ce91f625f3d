//! Takes an address, or says what to do if it cannot be had.

use std::{io, net::SocketAddr};

use tokio::net::{TcpListener, TcpSocket};

/// Connections that wait to be taken in.
pub(super) const BACKLOG: u32 = 4096;
/// What the system holds for a client that does not read (it takes twice of it). Small, so that
/// whoever reads slowly is seen to read: space is told when a third of it is free.
const SEND_BUFFER_BYTES: u32 = 64 << 10;

#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address}: {source}; choose another port with {variable}, or stop what uses this one"
)]
pub struct ListenError {
    address: SocketAddr,
    variable: &'static str,
    source: io::Error,
}

pub(crate) fn listen(address: SocketAddr, variable: &'static str) -> Result<TcpListener, ListenError> {
    let open = || {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        }?;
        socket.set_reuseaddr(true)?;
        // Connections inherit it.
        socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    open().map_err(|source| ListenError {
        address,
        variable,
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_named_with_its_variable() {
        let taken = listen(SocketAddr::from(([127, 0, 0, 1], 0)), "PORT").unwrap();
        let address = taken.local_addr().unwrap();
        let error = listen(address, "PORT").unwrap_err().to_string();
        assert!(
            error.contains(&address.port().to_string()) && error.contains("PORT"),
            "{error}"
        );
    }
}
