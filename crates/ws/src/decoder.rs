//! From bytes to messages (RFC 6455, sections 5 and 8), without I/O.

mod assembly;
mod input;

use std::mem;

use bytes::buf::Limit;

use crate::{CloseFrame, Header, Message, OpCode, Role, Violation, apply_mask};
use assembly::Assembly;
use input::Input;

/// Payloads with less than this to come are fed with whatever follows them, bytes.
const DIRECT_BYTES_MIN: usize = 4 * 1024;

/// Reads one direction of a connection: [`feed`](Self::feed) it bytes as they come, take what
/// [`next`](Self::next) makes of them until there is nothing more.
///
/// It keeps what was fed and not yet taken, and the message that is not complete: never more than the
/// limit, and at most twice of what the peer has really sent of it. Between messages it keeps nothing.
#[derive(Debug)]
pub struct Decoder {
    reads_masked: bool,
    bytes_max: usize,
    input: Input,
    /// The data frame whose payload is coming.
    frame: Option<Payload>,
    /// The message that is not complete.
    message: Option<Assembly>,
    end: Option<End>,
}

/// What is left of a data frame.
#[derive(Debug)]
struct Payload {
    /// Bytes that are still to come.
    left: usize,
    is_final: bool,
    /// Rotated to the next byte.
    masking_key: Option<[u8; 4]>,
}

#[derive(Debug, Clone, Copy)]
enum End {
    /// A close frame came: what follows is discarded (section 5.5.1).
    Closed,
    Failed(Violation),
}

impl Decoder {
    /// Reads frames that come to this end, with messages of at most `bytes_max` bytes.
    pub fn new(role: Role, bytes_max: usize) -> Self {
        Self {
            reads_masked: role.reads_masked(),
            bytes_max,
            input: Input::default(),
            frame: None,
            message: None,
            end: None,
        }
    }

    /// Adds bytes that came.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.end.is_none() {
            self.input.feed(bytes);
        }
    }

    /// Room to read a large payload into, which spares a copy. What is put there counts as fed, and it
    /// holds no more than the frame has left. `None`: there is no large payload to come.
    pub fn room(&mut self) -> Option<Limit<&mut Vec<u8>>> {
        let (Some(frame), Some(message)) = (&self.frame, &mut self.message) else { return None };
        let left = frame.left - message.fresh();
        let is_direct =
            left >= DIRECT_BYTES_MIN && self.input.rest().is_empty() && self.end.is_none();
        is_direct.then(|| message.room(left))
    }

    /// The next message or control frame. `None`: more bytes are needed, or a close frame came.
    ///
    /// # Errors
    ///
    /// As soon as the bytes so far cannot be continued to anything that is allowed; then always.
    #[expect(clippy::should_implement_trait, reason = "an iterator that says None does not go on")]
    pub fn next(&mut self) -> Result<Option<Message>, Violation> {
        match self.end {
            None => {}
            Some(End::Closed) => return Ok(None),
            Some(End::Failed(violation)) => return Err(violation),
        }
        let next = self.decode();
        match &next {
            Ok(Some(Message::Close(_))) => self.end_with(End::Closed),
            Ok(Some(_)) => {}
            Ok(None) => self.input.settle(),
            Err(violation) => self.end_with(End::Failed(*violation)),
        }
        next
    }

    /// Bytes that it keeps in memory now.
    pub fn held(&self) -> usize {
        self.input.held() + self.message.as_ref().map_or(0, Assembly::held)
    }

    fn end_with(&mut self, end: End) {
        self.end = Some(end);
        self.input = Input::default();
        self.message = None;
    }

    fn decode(&mut self) -> Result<Option<Message>, Violation> {
        loop {
            if let Some(frame) = self.frame.take() {
                match self.payload(frame)? {
                    Progress::Message(message) => return Ok(Some(message)),
                    Progress::Frame => {}
                    Progress::Partial => return Ok(None),
                }
            }
            let Some((header, bytes)) = Header::parse(self.input.rest())? else { return Ok(None) };
            self.check(&header)?;
            if header.opcode.is_control() {
                return self.control(header, bytes);
            }
            self.input.take(bytes);
            self.begin(header)?;
        }
    }

    /// Whether the frame may come now. What it says of its length is believed only here.
    fn check(&self, header: &Header) -> Result<(), Violation> {
        match (self.reads_masked, header.masking_key) {
            (true, None) => return Err(Violation::Unmasked),
            (false, Some(_)) => return Err(Violation::Masked),
            (true, Some(_)) | (false, None) => {}
        }
        match (header.opcode, &self.message) {
            (OpCode::Continuation, None) => Err(Violation::NothingToContinue),
            (OpCode::Text | OpCode::Binary, Some(_)) => Err(Violation::MessageInsideMessage),
            (OpCode::Close | OpCode::Ping | OpCode::Pong, _) => Ok(()),
            (OpCode::Continuation | OpCode::Text | OpCode::Binary, message) => {
                let so_far = message.as_ref().map_or(0, Assembly::len) as u64;
                let bytes = so_far.saturating_add(header.length);
                let limit = self.bytes_max;
                let fits = usize::try_from(bytes).is_ok_and(|bytes| bytes <= limit);
                if fits { Ok(()) } else { Err(Violation::TooLarge { bytes, limit }) }
            }
        }
    }

    /// A control frame, once all of it is here.
    fn control(&mut self, header: Header, bytes: usize) -> Result<Option<Message>, Violation> {
        let length = usize::try_from(header.length).map_err(|_| Violation::LongControl)?;
        let Some(payload) = self.input.rest().get(bytes..bytes + length) else { return Ok(None) };
        let mut payload = payload.to_vec();
        self.input.take(bytes + length);
        if let Some(key) = header.masking_key {
            apply_mask(&mut payload, key);
        }
        Ok(Some(match header.opcode {
            OpCode::Ping => Message::Ping(payload.into()),
            OpCode::Pong => Message::Pong(payload.into()),
            OpCode::Close | OpCode::Continuation | OpCode::Text | OpCode::Binary => {
                Message::Close(CloseFrame::decode(&payload)?)
            }
        }))
    }

    fn begin(&mut self, header: Header) -> Result<(), Violation> {
        let limit = self.bytes_max;
        let too_large = |_| Violation::TooLarge { bytes: header.length, limit };
        let left = usize::try_from(header.length).map_err(too_large)?;
        let (is_final, masking_key) = (header.is_final, header.masking_key);
        if self.message.is_none() {
            self.message = Some(Assembly::new(header.opcode == OpCode::Text, is_final));
        }
        self.frame = Some(Payload { left, is_final, masking_key });
        Ok(())
    }

    /// Takes what came of a data frame's payload.
    fn payload(&mut self, mut frame: Payload) -> Result<Progress, Violation> {
        let Some(message) = &mut self.message else { return Err(Violation::NothingToContinue) };
        let left = frame.left - message.fresh();
        let fed = &self.input.rest()[..left.min(self.input.rest().len())];
        let count = fed.len();
        message.append(fed, left);
        self.input.take(count);
        let fresh = message.settle(frame.masking_key)?;
        frame.left -= fresh;
        if let Some(key) = &mut frame.masking_key {
            key.rotate_left(fresh % 4);
        }
        if frame.left > 0 {
            self.frame = Some(frame);
            return Ok(Progress::Partial);
        }
        if !frame.is_final {
            return Ok(Progress::Frame);
        }
        let message = mem::take(&mut self.message).map(Assembly::finish).transpose()?;
        Ok(message.map_or(Progress::Frame, Progress::Message))
    }
}

enum Progress {
    /// More is to come of the frame.
    Partial,
    /// The frame is complete, its message is not.
    Frame,
    Message(Message),
}

#[cfg(test)]
mod tests;
