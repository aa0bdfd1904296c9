//! A network that misbehaves as it is told, between two processes.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

use crate::rng::Rng;

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
    /// New connections are reset at once.
    Refuse,
}

/// How connections end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With a FIN.
    Close,
    /// With a RST; what was under way is lost.
    Reset,
}

#[derive(Debug, Clone)]
struct State {
    mode: Mode,
    /// Connections that began under a lower number end so.
    ended: (u64, End),
    /// A connection goes to one of them.
    targets: Arc<[SocketAddr]>,
}

/// What a proxy does besides.
#[derive(Debug, Clone, Default)]
pub struct Way {
    /// Decides which connection goes to which target.
    pub seed: u64,
    /// Is set to the port of the target that sent something last.
    pub answered: Arc<AtomicU16>,
    /// Texts in what targets send that are replaced by others of the same length. It is not noticed if a text
    /// comes in two pieces.
    pub rewrite: Arc<[(String, String)]>,
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
        Self::balance(&[target], Way::default()).await
    }

    /// Listens, and forwards each connection to one of `targets`; one that takes none is passed over.
    ///
    /// # Errors
    /// When there is no free port.
    pub async fn balance(targets: &[SocketAddr], way: Way) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = State { mode: Mode::Pass, ended: (0, End::Close), targets: targets.into() };
        let state = Arc::new(watch::Sender::new(state));
        let states = state.clone();
        let draws = AtomicU64::new(way.seed);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let draw = Rng(draws.fetch_add(1, Ordering::Relaxed)).draw();
                tokio::spawn(carry(near, states.subscribe(), draw, way.clone()));
            }
        });
        Ok(Self { address, state })
    }

    /// From now on the network is so.
    pub fn set(&self, mode: Mode) {
        self.state.send_modify(|state| state.mode = mode);
    }

    /// New connections go there.
    pub fn set_targets(&self, targets: &[SocketAddr]) {
        self.state.send_modify(|state| state.targets = targets.into());
    }

    /// All connections end.
    pub fn end(&self, how: End) {
        self.state.send_modify(|state| state.ended = (state.ended.0 + 1, how));
    }
}

/// Connects to the first target that takes a connection, from a random one on.
async fn reach(targets: &[SocketAddr], draw: u64) -> Option<TcpStream> {
    let first = Rng(draw).below(targets.len());
    for at in 0..targets.len() {
        let target = targets[(first + at) % targets.len()];
        if let Ok(stream) = TcpStream::connect(target).await {
            return Some(stream);
        }
    }
    None
}

async fn carry(near: TcpStream, states: watch::Receiver<State>, draw: u64, way: Way) {
    let state = states.borrow().clone();
    if state.mode == Mode::Refuse {
        let _ = near.set_zero_linger();
        return;
    }
    let Some(far) = reach(&state.targets, draw).await else { return };
    let Ok(target) = far.peer_addr() else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let ((mut near_in, mut near_out), (mut far_in, mut far_out)) =
        (near.into_split(), far.into_split());
    let mut ends = states.clone();
    let answer = |bytes: &mut Vec<u8>| {
        way.answered.store(target.port(), Ordering::Relaxed);
        way.rewrite.iter().for_each(|(from, to)| replace(bytes, from, to));
    };
    let ended = tokio::select! {
        () = pump(&mut near_in, &mut far_out, states.clone(), |_| ()) => None,
        () = pump(&mut far_in, &mut near_out, states, answer) => None,
        ended = ends.wait_for(|now| now.ended.0 != state.ended.0) => ended.ok().map(|s| s.ended.1),
    };
    if ended == Some(End::Reset) {
        let _ = (near_out.as_ref().set_zero_linger(), far_out.as_ref().set_zero_linger());
    }
}

/// Puts one text in place of another of the same length.
fn replace(bytes: &mut [u8], from: &str, to: &str) {
    let (from, to) = (from.as_bytes(), to.as_bytes());
    if from.is_empty() || from.len() != to.len() {
        return;
    }
    let mut at = 0;
    while at + from.len() <= bytes.len() {
        if bytes[at..].starts_with(from) {
            bytes[at..at + from.len()].copy_from_slice(to);
            at += from.len();
        } else {
            at += 1;
        }
    }
}

async fn pump(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    mut states: watch::Receiver<State>,
    look: impl Fn(&mut Vec<u8>),
) {
    let mut is_lost = false;
    loop {
        let mut bytes = Vec::with_capacity(16 * 1024);
        let Ok(1..) = from.read_buf(&mut bytes).await else { return };
        let passing = states.wait_for(|state| state.mode != Mode::Stall).await;
        let Ok(mode) = passing.map(|state| state.mode) else { return };
        look(&mut bytes);
        is_lost |= mode == Mode::HalfOpen;
        if !is_lost && !write(to, &bytes, mode).await {
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
        Mode::Pass | Mode::Stall | Mode::HalfOpen | Mode::Refuse => {}
    }
    to.write_all(bytes).await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_replaced_wherever_it_is() {
        let mut bytes = b"$5\r\n46379\r\n46379".to_vec();

        replace(&mut bytes, "46379", "50001");

        assert_eq!(bytes, b"$5\r\n50001\r\n50001");
    }
}
