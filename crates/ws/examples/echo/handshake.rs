//! As much of the opening handshake (RFC 6455, section 4) as a suite needs. Extensions are declined by
//! not naming them.

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::handshake::{client::generate_key, derive_accept_key};

const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Answers a request to upgrade; gives the stream and what was read behind the request.
pub(crate) async fn accept(mut stream: TcpStream, agent: &str) -> io::Result<(TcpStream, Vec<u8>)> {
    let (head, leftover) = head(&mut stream).await?;
    let key = field(&head, "sec-websocket-key").ok_or(io::ErrorKind::InvalidData)?;
    let accept = derive_accept_key(key.as_bytes());
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nServer: {agent}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(response.as_bytes()).await?;
    Ok((stream, leftover))
}

/// Asks for an upgrade; gives the stream and what was read behind the response.
pub(crate) async fn connect(
    mut stream: TcpStream,
    host: &str,
    path: &str,
) -> io::Result<(TcpStream, Vec<u8>)> {
    let key = generate_key();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let (head, leftover) = head(&mut stream).await?;
    let accepted = field(&head, "sec-websocket-accept");
    if !head.starts_with("HTTP/1.1 101 ") || accepted != Some(&derive_accept_key(key.as_bytes())) {
        return Err(io::Error::other(format!("no upgrade: {head}")));
    }
    Ok((stream, leftover))
}

/// The lines up to the empty one, and the bytes behind it.
async fn head(stream: &mut TcpStream) -> io::Result<(String, Vec<u8>)> {
    const END: &[u8] = b"\r\n\r\n";
    let mut bytes = Vec::new();
    loop {
        if let Some(at) = bytes.windows(END.len()).position(|w| w == END) {
            let leftover = bytes.split_off(at + END.len());
            let head = String::from_utf8(bytes).map_err(io::Error::other)?;
            return Ok((head, leftover));
        }
        if bytes.len() > HEAD_BYTES_MAX || stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}
