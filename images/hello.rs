//! `hello`: answers every HTTP request on port 8080 with the name of the pod it runs in. The image that a new cluster
//! tries itself out with.
#![no_std]
#![no_main]

mod sys;

use sys::{call, number};

const PORT: u16 = 8080;
const AF_INET6: usize = 10;
const AF_INET: usize = 2;
const SOCK_STREAM: usize = 1;
const SOCK_CLOEXEC: usize = 0o2000000;
const SOL_SOCKET: usize = 1;
const SO_REUSEADDR: usize = 2;
const SO_RCVTIMEO: usize = 20;

#[unsafe(no_mangle)]
extern "C" fn program() -> ! {
    sys::handle_signals();
    let mut name = [0u8; 390];
    // SAFETY: utsname is six fields of 65 bytes; the buffer holds all of them.
    unsafe { call(number::UNAME, [name.as_mut_ptr() as usize, 0, 0, 0, 0]) };
    let node_name = &name[65..130];
    let length = node_name.iter().position(|b| *b == 0).unwrap_or(0);
    let Some(listener) = listen() else { sys::exit(1) };
    loop {
        // SAFETY: null addresses are allowed.
        let peer = unsafe { call(number::ACCEPT4, [listener, 0, 0, SOCK_CLOEXEC, 0]) };
        if peer >= 0 {
            answer(peer as usize, &node_name[..length]);
        }
    }
}

/// A listening socket on every address: IPv6 with IPv4 mapped, or IPv4 alone where the kernel has no IPv6.
fn listen() -> Option<usize> {
    let [high, low] = PORT.to_be_bytes();
    let mut v6 = [0u8; 28];
    v6[0] = AF_INET6 as u8;
    (v6[2], v6[3]) = (high, low);
    let mut v4 = [0u8; 16];
    v4[0] = AF_INET as u8;
    (v4[2], v4[3]) = (high, low);
    bound(AF_INET6, &v6).or_else(|| bound(AF_INET, &v4))
}

fn bound(family: usize, address: &[u8]) -> Option<usize> {
    let one: i32 = 1;
    // SAFETY: plain numbers.
    let socket = unsafe { call(number::SOCKET, [family, SOCK_STREAM | SOCK_CLOEXEC, 0, 0, 0]) };
    let socket = usize::try_from(socket).ok()?;
    // SAFETY: the option and the address live through the calls and their lengths are passed.
    let failed = unsafe {
        call(number::SETSOCKOPT, [socket, SOL_SOCKET, SO_REUSEADDR, &raw const one as usize, 4]);
        call(number::BIND, [socket, address.as_ptr() as usize, address.len(), 0, 0]) < 0
            || call(number::LISTEN, [socket, 128, 0, 0, 0]) < 0
    };
    (!failed).then_some(socket)
}

/// Reads one request's head and answers it; a client that sends nothing for two seconds is dropped.
fn answer(peer: usize, name: &[u8]) {
    let timeout: [i64; 2] = [2, 0];
    // SAFETY: a timeval of two 64-bit words, valid through the call.
    unsafe { call(number::SETSOCKOPT, [peer, SOL_SOCKET, SO_RCVTIMEO, timeout.as_ptr() as usize, 16]) };
    let mut head = [0u8; 4096];
    let mut filled = 0;
    while filled < head.len() && !head[..filled].windows(4).any(|w| w == b"\r\n\r\n") {
        let room = &mut head[filled..];
        // SAFETY: the kernel writes at most the room's length.
        let read = unsafe { call(number::READ, [peer, room.as_mut_ptr() as usize, room.len(), 0, 0]) };
        if read <= 0 {
            break;
        }
        filled += read as usize;
    }
    if filled > 0 {
        let body_length = "Hello from ".len() + name.len() + 1;
        let digits = [b'0' + (body_length / 100) as u8, b'0' + (body_length / 10 % 10) as u8, b'0' + (body_length % 10) as u8];
        for part in [
            &b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: "[..],
            &digits,
            b"\r\n\r\nHello from ",
            name,
            b"\n",
        ] {
            send(peer, part);
        }
    }
    // SAFETY: plain numbers; 1 is SHUT_WR.
    unsafe {
        call(number::SHUTDOWN, [peer, 1, 0, 0, 0]);
        call(number::CLOSE, [peer, 0, 0, 0, 0]);
    }
}

fn send(peer: usize, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        // SAFETY: the slice is valid for its length.
        let written = unsafe { call(number::WRITE, [peer, bytes.as_ptr() as usize, bytes.len(), 0, 0]) };
        if written <= 0 {
            return;
        }
        bytes = &bytes[written as usize..];
    }
}
