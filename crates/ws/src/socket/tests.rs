//! Over a pipe, with tungstenite at its other end.

use std::time::Duration;

use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, DuplexStream, duplex};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Bytes as TheirBytes,
        protocol::{Role as TheirRole, frame::coding::CloseCode},
    },
};

use super::*;
use crate::Violation;

const MIB: usize = 1024 * 1024;
const LIMITS: Limits = Limits { message_bytes_max: MIB, queue_bytes_max: 64 * 1024 };
const CLIENT: Role = Role::Client { masking_key: || [0xa5, 0x5a, 0x0f, 0xf0] };

type Theirs = WebSocketStream<DuplexStream>;

/// Our end of a role, and theirs of the other, with so many bytes in the pipe.
async fn pair(role: Role, pipe: usize) -> (WebSocket<DuplexStream>, Theirs) {
    let (ours, theirs) = duplex(pipe);
    let their_role = match role {
        Role::Server => TheirRole::Client,
        Role::Client { .. } => TheirRole::Server,
    };
    let theirs = WebSocketStream::from_raw_socket(theirs, their_role, None).await;
    (WebSocket::new(ours, role, LIMITS, &[]), theirs)
}

fn text(n: usize) -> String {
    "ä".repeat(n / 2)
}

#[tokio::test]
async fn messages_of_all_sizes_go_both_ways() {
    for role in [Role::Server, CLIENT] {
        let (mut ours, mut theirs) = pair(role, 4_096).await;
        let sizes = [0, 2, 124, 126, 4_094, 4_096, 4_098, 65_534, 65_536, MIB];
        let there = async {
            for size in sizes {
                ours.feed(Message::text(text(size))).await.expect("queued");
            }
            ours.flush().await.expect("sent");
            for size in sizes {
                let Some(Ok(Message::Text(got))) = ours.next().await else { panic!("{size}") };
                assert!(got.as_str() == text(size), "{size}");
            }
        };
        let back = async {
            for size in sizes {
                let Some(Ok(tungstenite::Message::Text(got))) = theirs.next().await else {
                    panic!("{size}")
                };
                assert!(got.as_str() == text(size), "{size}");
            }
            for size in sizes {
                theirs.send(tungstenite::Message::text(text(size))).await.expect("sent");
            }
        };
        tokio::join!(there, back);
        assert!(ours.next().now_or_never().is_none());
        assert_eq!(ours.held(), 0, "nothing is kept of 1 MiB");
    }
}

#[tokio::test]
async fn what_was_read_with_the_handshake_comes_first() {
    let (ours, _theirs) = duplex(64);
    let mut ours = WebSocket::new(ours, CLIENT, LIMITS, &[0x81, 2, b'h', b'i']);

    let next = ours.next().await.expect("open").expect("valid");

    assert_eq!(next, Message::text("hi"));
}

#[tokio::test]
async fn waiting_may_be_cancelled_anywhere() {
    let (ours, mut theirs) = duplex(8);
    let mut ours = WebSocket::new(ours, CLIENT, LIMITS, &[]);
    let mut got = Vec::new();
    for byte in [0x81, 2, b'h', b'i', 0x82, 1, 7] {
        assert!(ours.next().now_or_never().is_none());
        theirs.write_all(&[byte]).await.expect("room");
        got.extend(ours.next().now_or_never().map(|next| next.expect("open").expect("valid")));
    }

    assert_eq!(got, [Message::text("hi"), Message::Binary([7][..].into())]);
}

#[tokio::test]
async fn writing_may_be_cancelled_anywhere() {
    let (mut ours, mut theirs) = pair(Role::Server, 100).await;
    ours.feed(Message::text(text(1_000))).await.expect("queued");
    assert!(ours.flush().now_or_never().is_none(), "the pipe is full");
    ours.feed(Message::text("last")).await.expect("queued");

    let (flushed, (first, last)) =
        tokio::join!(ours.flush(), async { (theirs.next().await, theirs.next().await) });

    flushed.expect("sent");
    let text = |m: Option<Result<tungstenite::Message, _>>| m.expect("open").expect("valid");
    assert_eq!(text(first).len(), 1_000);
    assert_eq!(text(last), tungstenite::Message::text("last"));
}

#[tokio::test]
async fn a_full_queue_is_written_before_more_is_taken() {
    let (ours, mut theirs) = duplex(4_096);
    let mut ours = WebSocket::new(ours, Role::Server, LIMITS, &[]);
    let large = 2 * LIMITS.queue_bytes_max;
    ours.feed(Message::text(text(large))).await.expect("queued");

    assert!(ours.feed(Message::text("more")).now_or_never().is_none(), "it waits");

    let mut bytes = vec![0; 10 + large];
    let (fed, read) = tokio::join!(ours.feed(Message::text("more")), theirs.read_exact(&mut bytes));
    fed.expect("queued");
    read.expect("open");
    assert_eq!(ours.held(), 6, "the second one waits, once");
}

#[tokio::test]
async fn pings_are_answered_while_waiting_for_more() {
    let (mut ours, mut theirs) = pair(Role::Server, 4_096).await;
    for n in 0..10_u8 {
        theirs.feed(tungstenite::Message::Ping(vec![n].into())).await.expect("room");
    }
    theirs.flush().await.expect("room");
    for n in 0..10_u8 {
        let ping = ours.next().await.expect("open").expect("valid");
        assert_eq!(ping, Message::Ping(vec![n].into()));
    }

    for n in 0..10_u8 {
        let pong = theirs.next().await.expect("open").expect("valid");
        assert_eq!(pong, tungstenite::Message::Pong(vec![n].into()));
    }
}

#[tokio::test]
async fn of_pings_that_come_too_fast_the_newest_is_answered() {
    let (ours, mut theirs) = duplex(10);
    let mut ours = WebSocket::new(ours, CLIENT, LIMITS, &[]);
    // A pong has seven bytes, so one fits into the pipe and the second in part.
    for n in 0..100_u8 {
        theirs.write_all(&[0x89, 1, n]).await.expect("read at once");
        assert!(ours.next().await.is_some());
    }
    assert!(ours.held() < 20, "{} bytes wait", ours.held());

    let mut bytes = Vec::new();
    while let Some(read) = {
        assert!(ours.next().now_or_never().is_none());
        let mut chunk = [0; 10];
        let read = theirs.read(&mut chunk).now_or_never();
        read.map(|n| chunk[..n.expect("open")].to_vec())
    } {
        bytes.extend(read);
    }

    let answered: Vec<u8> = bytes.chunks(7).map(|pong| pong[6] ^ 0xa5).collect();
    assert_eq!(answered, [0, 1, 99]);
}

#[tokio::test]
async fn a_close_frame_is_answered_at_once_and_ends_both_directions() {
    for role in [Role::Server, CLIENT] {
        let (mut ours, mut theirs) = pair(role, 4_096).await;
        let close =
            tungstenite::protocol::CloseFrame { code: CloseCode::Away, reason: "leaving".into() };
        theirs.close(Some(close)).await.expect("sent");

        let next = ours.next().await.expect("open").expect("valid");

        assert_eq!(next, Message::Close(Some(CloseFrame::new(1001, "leaving"))));
        let fed = ours.feed(Message::text("late")).await;
        assert!(matches!(fed, Err(Error::Closing)), "{fed:?}");
        let answer = theirs.next().await.expect("answered").expect("valid");
        assert!(answer.is_close());
        let (closed, rest) = tokio::join!(ours.close(None), async move { theirs.next().await });
        closed.expect("closed");
        assert!(rest.is_none());
        assert!(ours.next().await.is_none());
    }
}

#[tokio::test]
async fn closing_waits_for_the_answer_and_discards_what_comes_before_it() {
    let (mut ours, mut theirs) = pair(Role::Server, 4_096).await;
    theirs.send(tungstenite::Message::text("late")).await.expect("room");
    ours.feed(Message::text("last")).await.expect("queued");

    let closing = ours.close(Some(CloseFrame::new(4500, "over")));
    let (closed, got) = tokio::join!(closing, async {
        let mut got = Vec::new();
        while let Some(Ok(message)) = theirs.next().await {
            got.push(message);
        }
        got
    });

    closed.expect("closed");
    assert_eq!(got[0], tungstenite::Message::text("last"));
    let tungstenite::Message::Close(Some(close)) = &got[1] else { panic!("{got:?}") };
    assert_eq!((u16::from(close.code), close.reason.as_str()), (4500, "over"));
}

#[tokio::test]
async fn after_a_violation_the_peer_is_told_and_may_send_on() {
    let (mut ours, mut theirs) = pair(Role::Server, 4_096).await;
    let large = tungstenite::Message::Binary(TheirBytes::from(vec![0; MIB + 1]));
    let sending = tokio::spawn(async move {
        theirs.send(large).await.expect("it is read");
        theirs.next().await.expect("told").expect("valid")
    });

    let failed = ours.next().await.expect("told");

    let Err(Error::Violation(violation)) = failed else { panic!("{failed:?}") };
    assert!(matches!(violation, Violation::TooLarge { .. }));
    assert!(ours.next().await.is_none());
    ours.close(Some(CloseFrame::new(violation.close_code(), "big"))).await.expect("closed");
    let told = sending.await.expect("ran");
    let tungstenite::Message::Close(Some(close)) = told else { panic!("{told:?}") };
    assert_eq!(u16::from(close.code), 1009);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_answers_is_left_by_the_caller() {
    let (mut ours, theirs) = pair(Role::Server, 4_096).await;

    let closing = tokio::time::timeout(Duration::from_secs(2), ours.close(None)).await;

    assert!(closing.is_err(), "it waits");
    drop(theirs);
}

#[tokio::test]
async fn a_stream_that_ends_is_told_once() {
    let (mut ours, theirs) = pair(Role::Server, 4_096).await;
    drop(theirs);

    assert!(matches!(ours.next().await, Some(Err(Error::Eof))));
    assert!(ours.next().await.is_none());
    let sent = ours.send(Message::text("a")).await;
    assert!(matches!(sent, Err(Error::Io(_))), "{sent:?}");
}
