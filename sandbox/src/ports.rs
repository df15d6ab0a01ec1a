//! Ports that stay ours while nobody listens on them.

use std::{io, net::SocketAddr};

use tokio::net::TcpSocket;

/// Keeps a port for a sandbox that is stopped, killed and started again, in this process or in another one.
///
/// Without it, a free port that was given up for a moment may be taken by anybody: as the next free port, or by an outgoing connection.
/// Connections to a port that is only reserved are refused. On Linux; the sandbox listens beside the reservation.
#[derive(Debug)]
pub struct Reservation {
    socket: TcpSocket,
}

impl Reservation {
    /// Reserves an address; port 0 is a free one.
    ///
    /// # Errors
    /// Somebody has it who does not share it.
    pub fn of(address: SocketAddr) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(Self { socket })
    }

    /// The address, with the port that it got.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}
