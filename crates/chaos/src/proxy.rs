//! A network that misbehaves as it is told, between one party and the relay.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

/// What a network does to the bytes that pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Pass,
    /// Nothing arrives until it passes again; nothing is lost.
    Stall,
    /// Each piece takes so much longer.
    Delay(Duration),
    /// Everything vanishes, and both ends believe in the connection: what a NAT does that forgot it.
    HalfOpen,
    /// Pieces of one to seven bytes.
    Split,
}

/// How connections end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With a FIN.
    Close,
    /// With a RST; what was under way is lost.
    Reset,
}

#[derive(Debug, Clone, Copy)]
struct State {
    mode: Mode,
    /// Connections that began under a lower number end so.
    ended: (u64, End),
    target: SocketAddr,
}

/// A proxy on a port of its own.
#[derive(Debug)]
pub struct Proxy {
    pub address: SocketAddr,
    state: Arc<watch::Sender<State>>,
}

impl Proxy {
    /// Listens, and forwards to `target`.
    ///
    /// # Errors
    /// When there is no free port.
    pub async fn start(target: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = State { mode: Mode::Pass, ended: (0, End::Close), target };
        let state = Arc::new(watch::Sender::new(state));
        let states = state.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, states.subscribe()));
            }
        });
        Ok(Self { address, state })
    }

    /// From now on the network is so.
    pub fn set(&self, mode: Mode) {
        self.state.send_modify(|state| state.mode = mode);
    }

    /// The relay listens there now.
    pub fn set_target(&self, target: SocketAddr) {
        self.state.send_modify(|state| state.target = target);
    }

    /// All connections end.
    pub fn end(&self, how: End) {
        self.state.send_modify(|state| state.ended = (state.ended.0 + 1, how));
    }
}

async fn carry(near: TcpStream, states: watch::Receiver<State>) {
    let state = *states.borrow();
    let Ok(far) = TcpStream::connect(state.target).await else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let ((mut near_in, mut near_out), (mut far_in, mut far_out)) =
        (near.into_split(), far.into_split());
    let mut ends = states.clone();
    let ended = tokio::select! {
        () = pump(&mut near_in, &mut far_out, states.clone()) => None,
        () = pump(&mut far_in, &mut near_out, states) => None,
        ended = ends.wait_for(|now| now.ended.0 != state.ended.0) => ended.ok().map(|s| s.ended.1),
    };
    if ended == Some(End::Reset) {
        let _ = (near_out.as_ref().set_zero_linger(), far_out.as_ref().set_zero_linger());
    }
}

async fn pump(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    mut states: watch::Receiver<State>,
) {
    let mut buffer = vec![0; 16 * 1024];
    let mut is_lost = false;
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        let passing = states.wait_for(|state| state.mode != Mode::Stall).await;
        let Ok(mode) = passing.map(|state| state.mode) else { return };
        is_lost |= mode == Mode::HalfOpen;
        if !is_lost && !write(to, &buffer[..n], mode).await {
            return;
        }
    }
}

async fn write(to: &mut OwnedWriteHalf, bytes: &[u8], mode: Mode) -> bool {
    match mode {
        Mode::Delay(by) => tokio::time::sleep(by).await,
        Mode::Split => {
            for (at, piece) in bytes.chunks(7).enumerate() {
                let (first, rest) = piece.split_at(at % piece.len());
                for part in [first, rest] {
                    if to.write_all(part).await.is_err() {
                        return false;
                    }
                    tokio::task::yield_now().await;
                }
            }
            return true;
        }
        Mode::Pass | Mode::Stall | Mode::HalfOpen => {}
    }
    to.write_all(bytes).await.is_ok()
}
