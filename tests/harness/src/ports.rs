//! Ports to listen on.

use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, anyhow, bail};
use ring::rand::{SystemRandom, generate};

/// Below the range from which Linux takes the local ports of outgoing connections (32768 and up): such a connection would
/// otherwise now and then sit on the port of a server that a test has just killed and wants to start again.
const LOWEST: u16 = 12_000;
const NUMBER: u16 = 20_000;

/// A TCP port of 127.0.0.1 on which nobody listens, and that this process is given only once.
///
/// It is chosen at random, so that other test processes that choose at the same time choose others.
pub fn free() -> Result<u16> {
    static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    for _ in 0..1_000 {
        let random: [u8; 2] = generate(&SystemRandom::new()).map_err(|_| anyhow!("the system has no random bits"))?.expose();
        let port = LOWEST + u16::from_be_bytes(random) % NUMBER;
        let is_new = GIVEN.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default().insert(port);
        if is_new && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port between {LOWEST} and {}", LOWEST + NUMBER)
}
