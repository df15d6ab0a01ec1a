//! A name server for pods, in place of a cluster's own. It knows what it was told.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Where the kubelet tells pods that it is; the node's script gives this address to the machine.
const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 96, 0, 10)), 53);

/// A thread that answers until this is dropped.
#[derive(Debug)]
pub(super) struct NameServer {
    ends: Arc<AtomicBool>,
    names: Arc<Mutex<HashMap<String, Ipv4Addr>>>,
}

impl NameServer {
    /// Answers that there is no such name, whatever it is asked for, until it learns one.
    pub(super) fn start() -> Result<Self> {
        let socket = UdpSocket::bind(ADDRESS).with_context(|| format!("listening on {ADDRESS}"))?;
        // How long it may take to notice the end.
        socket.set_read_timeout(Some(Duration::from_millis(500))).context("the name server's socket")?;
        let ends = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ends);
        let names = Arc::<Mutex<HashMap<_, _>>>::default();
        let known = Arc::clone(&names);
        std::thread::spawn(move || {
            let mut question = [0; 512];
            while !told.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut question) else { continue };
                if let Some(answer) = answer(&question[..length], &known.lock().unwrap_or_else(PoisonError::into_inner)) {
                    // Who hears nothing asks again.
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        Ok(Self { ends, names })
    }

    /// From now on this name, in small letters, leads to this address.
    pub(super) fn learn(&self, name: &str, address: IpAddr) -> Result<()> {
        let IpAddr::V4(address) = address else { bail!("{address} is not of version 4") };
        self.names.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), address);
        Ok(())
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
    }
}

/// RFC 1035, section 4: a header of twelve bytes, one question, and one answer if there is one.
fn answer(question: &[u8], names: &HashMap<String, Ipv4Addr>) -> Option<Vec<u8>> {
    const HEADER: usize = 12;
    const A: [u8; 4] = [0, 1, 0, 1];
    let mut labels = Vec::new();
    let mut at = HEADER;
    loop {
        let length = usize::from(*question.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(question.get(at..at + length)?).to_lowercase());
        at += length;
    }
    let kind = question.get(at..at + 4)?;
    let known = names.get(&labels.join("."));
    // Of a known name there is nothing but an A record, which is no error.
    let address = known.filter(|_| kind == A);
    let code = if known.is_some() { 0 } else { 3 };
    let mut message = question.get(..2)?.to_vec();
    message.extend([0x85, 0x80 | code, 0, 1, 0, u8::from(address.is_some()), 0, 0, 0, 0]);
    message.extend(question.get(HEADER..at + 4)?);
    if let Some(address) = address {
        // The name of the question again, type and class, five seconds to live, four bytes of address.
        message.extend([0xc0, HEADER as u8, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4]);
        message.extend(address.octets());
    }
    Some(message)
}
