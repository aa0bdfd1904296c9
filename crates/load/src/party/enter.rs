//! A party connects, and goes on where it was.

use belay_core::token::Principal;
use belay_wire::{Auth, ClientInfo, VERSIONS, proof::auth_transcript};

use super::{Party, draw};
use crate::{
    link::{self, Socket},
    world,
};

impl Party {
    pub(super) async fn connect(&mut self) -> anyhow::Result<Socket> {
        let n = self.pair * 2 + u64::from(self.principal == Principal::Host);
        let mut socket = link::upgrade(self.relay, self.crowd.process, n).await?;
        let welcome = link::authenticate(&mut socket, |nonce| self.auth(nonce)).await?;
        let given_up = self.ledger.welcomed(&welcome, std::time::Instant::now(), &mut draw);
        self.crowd.count_lost(given_up.iter().map(|(_, messages)| messages.len()).sum());
        Ok(socket)
    }

    fn auth(&mut self, nonce: &str) -> Auth {
        let token = self.crowd.world.token(self.pair, self.principal);
        let origin = format!("http://{}", self.relay);
        let (session, principal) = (world::session(self.pair), self.principal.as_bytes());
        let signed = auth_transcript(&origin, session, &principal, nonce, token.expose());
        // A place to write from at once, as a client has that has written before.
        if self.ledger.head(self.writes).is_none() {
            self.ledger.name_volatile(self.writes, draw());
        }
        Auth {
            version: VERSIONS[0].to_owned(),
            token,
            nonce: nonce.to_owned(),
            proof: Some(self.crowd.identity.sign(&signed)),
            client: ClientInfo {
                name: "load".to_owned(),
                version: "0".to_owned(),
                instance: "load".to_owned(),
                attempt: self.attempt,
            },
            resume: self.ledger.resume(),
            base: self.ledger.bases(),
        }
    }
}
