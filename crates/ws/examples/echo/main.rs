//! Both ends for a conformance suite: `echo serve` prints its port and echoes what it is sent;
//! `echo drive HOST:PORT` takes each case from a suite that serves, and echoes there.

#![expect(clippy::print_stdout, reason = "the port and the progress are read by who started it")]

mod handshake;

use std::{future::poll_fn, io, task::Poll};

use belay_ws::{CloseFrame, Error, Limits, Message, Role, WebSocket};
use tokio::net::{TcpListener, TcpStream};

/// The suite sends messages of 16 MiB.
const LIMITS: Limits = Limits { message_bytes_max: 64 << 20, queue_bytes_max: 256 * 1024 };
/// Named in the suite's report.
const AGENT: &str = "belay-ws";

type Socket = WebSocket<TcpStream>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve"] => serve().await,
        ["drive", address] => drive(address).await,
        _ => Err(io::Error::other("usage: echo serve | echo drive HOST:PORT")),
    }
}

async fn serve() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            stream.set_nodelay(true)?;
            let (stream, leftover) = handshake::accept(stream, AGENT).await?;
            echo(WebSocket::new(stream, Role::Server, LIMITS, &leftover)).await
        });
    }
}

async fn drive(address: &str) -> io::Result<()> {
    let mut count = connect(address, "/getCaseCount").await?;
    let cases = match count.next().await {
        Some(Ok(Message::Text(text))) => text.as_str().parse::<u32>().map_err(io::Error::other)?,
        other => return Err(io::Error::other(format!("no count of cases: {other:?}"))),
    };
    count.close(Some(CloseFrame::new(1000, ""))).await.map_err(io::Error::other)?;
    println!("{cases} cases");
    for case in 1..=cases {
        let path = format!("/runCase?case={case}&agent={AGENT}");
        // How a case ends is for the suite to judge.
        let _ = echo(connect(address, &path).await?).await;
    }
    // The suite may end before it says goodbye.
    let _ = echo(connect(address, &format!("/updateReports?agent={AGENT}")).await?).await;
    Ok(())
}

async fn connect(address: &str, path: &str) -> io::Result<Socket> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (stream, leftover) = handshake::connect(stream, address, path).await?;
    Ok(WebSocket::new(stream, Role::Client { masking_key }, LIMITS, &leftover))
}

fn masking_key() -> [u8; 4] {
    let mut key = [0; 4];
    getrandom::fill(&mut key).expect("the system gives random bytes");
    key
}

/// Sends back what comes, until the end.
async fn echo(mut socket: Socket) -> io::Result<()> {
    let ended = async {
        while let Some(next) = socket.next().await {
            let mut next = Some(next);
            while let Some(message) = next {
                let message = message?;
                if let Message::Text(_) | Message::Binary(_) = message {
                    socket.feed(message).await?;
                }
                next = ready(&mut socket).await;
            }
            socket.flush().await?;
        }
        Ok::<_, Error>(None)
    };
    let close = match ended.await {
        Ok(close) => close,
        Err(Error::Violation(violation)) => {
            Some(CloseFrame::new(violation.close_code(), violation.to_string()))
        }
        Err(error) => return Err(io::Error::other(error)),
    };
    socket.close(close).await.map_err(io::Error::other)
}

/// The next message if it is here already.
async fn ready(socket: &mut Socket) -> Option<Result<Message, Error>> {
    poll_fn(|context| {
        Poll::Ready(match socket.poll_next(context) {
            Poll::Ready(next) => next,
            Poll::Pending => None,
        })
    })
    .await
}
