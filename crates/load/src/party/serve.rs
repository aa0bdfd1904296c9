//! What a party does while it is connected.

use belay_client::Heard;
use belay_wire::{Frame, Pong};
use belay_ws::Message;
use tokio::{sync::watch, time::Instant};

use super::{Party, draw};
use crate::{crowd::Orders, link::Socket};

impl Party {
    /// Until it is cut (`Ok`), or ends otherwise.
    pub(super) async fn serve(
        &mut self,
        mut socket: Socket,
        orders: &mut watch::Receiver<Orders>,
    ) -> Result<(), String> {
        let cut = orders.borrow().cut;
        self.follow(&orders.borrow_and_update().clone());
        loop {
            let frames = self.ledger.outgoing(std::time::Instant::now());
            self.write(&mut socket, frames).await?;
            let deadline = self.ledger.deadline().map(Instant::from_std);
            tokio::select! {
                message = socket.next() => match message {
                    Some(Ok(Message::Text(text))) => {
                        let answers = self.hear(text.as_str())?;
                        self.write(&mut socket, answers).await?;
                    }
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return Err("closed".to_owned()),
                    Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_))) => {}
                },
                () = until(deadline) => {}
                () = until(self.send_at) => self.say(orders.borrow().every),
                changed = orders.changed() => {
                    let ordered = orders.borrow_and_update().clone();
                    if changed.is_err() || ordered.cut != cut {
                        // As when its network is gone: no goodbye.
                        let _ = socket.get_mut().set_zero_linger();
                        return Ok(());
                    }
                    self.follow(&ordered);
                }
            }
        }
    }

    async fn write(&mut self, socket: &mut Socket, frames: Vec<Frame>) -> Result<(), String> {
        if frames.is_empty() {
            return Ok(());
        }
        for frame in frames {
            socket.feed(Message::text(frame.encode())).await.map_err(|e| e.to_string())?;
        }
        socket.flush().await.map_err(|e| e.to_string())
    }

    /// Takes a frame; gives what is answered at once.
    fn hear(&mut self, text: &str) -> Result<Vec<Frame>, String> {
        let frame = belay_wire::decode(text).map_err(|e| e.to_string())?;
        let heard = self.ledger.hear(frame, std::time::Instant::now(), &mut draw);
        let frame = match heard {
            Heard::Nothing => return Ok(Vec::new()),
            Heard::Hole => return Err("hole".to_owned()),
            Heard::GivenUp(all) => {
                self.crowd.count_lost(all.iter().map(|(_, messages)| messages.len()).sum());
                return Ok(Vec::new());
            }
            Heard::GaveUp(_) => return Err("gave up".to_owned()),
            Heard::Frame(frame) => *frame,
        };
        #[expect(clippy::wildcard_enum_match_arm, reason = "the others are no load")]
        match frame {
            Frame::Ping(ping) => return Ok(vec![Pong { n: ping.n, t: ping.t }.into()]),
            Frame::Msg(message) => self.take(&message),
            Frame::Gap(gap) => {
                let count = (gap.to.value() + 1).saturating_sub(gap.from.value());
                self.crowd.count_failure(format!("gap of {count} {}", gap.reason));
            }
            Frame::Nack(nack) => self.crowd.count_failure(format!("nack {:?}", nack.reason)),
            Frame::Bye(bye) => return Err(format!("bye {}", bye.reason)),
            _ => {}
        }
        Ok(Vec::new())
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
