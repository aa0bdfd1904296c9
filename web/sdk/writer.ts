// The writer of one channel: names, outbox, and what to send again. Pure; the Rust client behaves
// the same.

import type { Frame, NackFrame, Position } from './wire';

export const OUTBOX_MAX = 200;
/** Characters of the payloads that wait, so at most four times as many bytes. */
const OUTBOX_CHARS_MAX = 4 * 1024 * 1024;

interface Entry {
  seq: number;
  payload: unknown;
  size: number;
  void?: string;
  /** Former names under which it may be stored, oldest first. */
  was?: Position[];
  /** It was sent on an earlier connection. */
  sentBefore?: boolean;
}

/** Former names of one message, as the relay takes them. */
const FORMER_NAMES_MAX = 8;

/** A message that will not be sent any more. */
export interface GivenUp {
  payload: unknown;
  /** It may be stored under a former name, or from an earlier connection; otherwise it is certainly not. */
  isUnknown: boolean;
}

/** What must be written down to send again under the same names. */
export interface Memory {
  channel: string;
  epoch: string;
  fresh: boolean;
  next: number;
  touched: number;
  outbox: Entry[];
}

const payloadsOf = (entries: Entry[]): unknown[] => entries.filter((e) => e.void === undefined).map((e) => e.payload);

export class Writer {
  private next = 1;
  private outbox: Entry[] = [];
  private stored = 0;
  private sent = 0;
  /** The highest number that was ever written to a socket in this epoch. */
  private touched = 0;
  private fresh = true;
  private announced = false;

  constructor(
    readonly channel: string,
    private epoch: string,
    private readonly draw: () => string,
  ) {}

  /** Names a message; undefined when the outbox is full. */
  push(payload: unknown): number | undefined {
    const size = JSON.stringify(payload).length;
    const held = this.outbox.reduce((sum, e) => sum + e.size, 0);
    if (this.outbox.length >= OUTBOX_MAX || held + size > OUTBOX_CHARS_MAX) return undefined;
    const seq = this.next++;
    this.outbox.push({ seq, payload, size });
    return seq;
  }

  /** Gives up messages that no relay has seen; what follows takes their numbers. */
  takeBack(pick: (payload: unknown) => unknown): unknown[] {
    const taken: unknown[] = [];
    const kept: Entry[] = [];
    for (const entry of this.outbox) {
      const back = entry.seq > this.touched && entry.void === undefined ? pick(entry.payload) : undefined;
      if (back === undefined) kept.push(entry);
      else taken.push(back);
    }
    if (taken.length > 0) {
      this.outbox = kept;
      let seq = this.touched + 1;
      for (const entry of kept) if (entry.seq > this.touched) entry.seq = seq++;
      this.next = seq;
    }
    return taken;
  }

  memory(): Memory {
    const { channel, epoch, fresh, next, touched, outbox } = this;
    return { channel, epoch, fresh, next, touched, outbox };
  }

  /** Goes on from what was written down before anything of it was sent, so the names stay. */
  restore(memory: Memory): void {
    this.next = memory.next;
    this.touched = memory.touched;
    this.outbox = memory.outbox;
    this.fresh = memory.fresh;
    // A fresh epoch may have been announced without an answer: the one drawn here was not.
    if (!memory.fresh) this.epoch = memory.epoch;
  }

  held(): unknown[] {
    return payloadsOf(this.outbox);
  }

  base(): Position {
    const seq = this.outbox[0]?.seq ?? this.next;
    return this.fresh ? { epoch: this.epoch, seq, fresh: true } : { epoch: this.epoch, seq };
  }

  /** Gives the payloads that turn out to be stored, and what is given up. */
  welcomed(accepted: Position | undefined): { stored: unknown[]; givenUp: GivenUp[] } {
    this.announced = accepted !== undefined;
    this.fresh = false;
    for (const entry of this.outbox) if (entry.seq <= this.touched) entry.sentBefore = true;
    // A head above what was ever sent means that this memory went back.
    const isOurs = accepted?.epoch === this.epoch && accepted.seq <= this.reached();
    if (accepted && !isOurs) return { stored: [], givenUp: this.renew() };
    const stored = accepted ? this.acked(accepted) : [];
    this.stored = this.sent = accepted?.seq ?? this.base().seq - 1;
    return { stored, givenUp: [] };
  }

  /** The highest number that the log may have of this epoch: what was sent, or lies before the base. */
  private reached(): number {
    return Math.max(this.touched, this.stored, this.base().seq - 1);
  }

  /** An attempt may have announced a fresh epoch without an answer. */
  unanswered(): void {
    if (this.fresh) this.epoch = this.draw();
  }

  /** Gives the payloads that are stored now. */
  acked(position: Position): unknown[] {
    if (position.epoch !== this.epoch) return [];
    const newly = this.outbox.filter((e) => e.seq > this.stored && e.seq <= position.seq);
    this.stored = position.seq;
    return payloadsOf(newly);
  }

  /** Gives the payloads that the desktop has now, and forgets them. */
  stable(position: Position): unknown[] {
    if (position.epoch !== this.epoch) return [];
    const applied = this.outbox.filter((e) => e.seq <= position.seq);
    this.outbox = this.outbox.filter((e) => e.seq > position.seq);
    return payloadsOf(applied);
  }

  /** Gives the payloads that will not arrive, and forgets them. */
  lost(epoch: string, from: number, to: number): unknown[] {
    if (epoch !== this.epoch) return [];
    const isLost = (e: Entry) => e.seq >= from && e.seq <= to;
    const gone = payloadsOf(this.outbox.filter(isLost));
    this.outbox = this.outbox.filter((e) => !isLost(e));
    return gone;
  }

  /** Gives the pause before the channel goes on, in milliseconds, and what is given up. */
  nacked(nack: NackFrame): { pause?: number; givenUp: GivenUp[] } {
    if (nack.epoch !== undefined && nack.epoch !== this.epoch) return { givenUp: [] };
    const expect = nack.expect ?? this.sent;
    switch (nack.reason) {
      case 'hole':
      case 'log_lost':
        this.stored = this.sent = expect - 1;
        return { givenUp: [] };
      case 'rate_limited':
      case 'full':
      case 'busy':
      case 'log_unavailable':
        this.sent = expect - 1;
        // It may have been the announcement that was not taken.
        if (nack.reason === 'log_unavailable') this.announced = false;
        return { pause: nack.retryMs ?? 1000, givenUp: [] };
      case 'too_large':
      case 'not_allowed':
        this.sent = expect - 1;
        return { givenUp: this.giveUp(expect, nack.reason) };
      case 'epoch_closed':
      case 'conflict':
        return { givenUp: this.renew() };
      case 'host_offline':
        return { givenUp: [] };
    }
  }

  /** The frames to write now. */
  frames(): Frame[] {
    const frames: Frame[] = [];
    const { channel: ch, epoch } = this;
    if (!this.announced) {
      this.announced = true;
      this.fresh = false;
      frames.push({ k: 'epoch', ch, new: epoch, base: this.base().seq });
    }
    const lowest = this.outbox[0]?.seq;
    if (lowest !== undefined && this.sent < lowest - 1) {
      frames.push({ k: 'skip', ch, epoch, to: lowest - 1, reason: 'evicted' });
      this.sent = lowest - 1;
    }
    for (const entry of this.outbox) {
      if (entry.seq <= this.sent) continue;
      const { seq } = entry;
      frames.push(
        entry.void === undefined
          ? { k: 'msg', ch, epoch, seq, ...(entry.was && { was: entry.was }), p: entry.payload }
          : { k: 'void', ch, epoch, seq, reason: entry.void },
      );
      this.sent = seq;
      this.touched = Math.max(this.touched, seq);
    }
    return frames;
  }

  /** A new memory: what is held gets new numbers and keeps its former names. What was acknowledged is no
   *  exception: the log may have gone back to before this epoch. */
  renew(): GivenUp[] {
    const { epoch } = this;
    const touched = Math.max(this.touched, this.stored);
    const givenUp: GivenUp[] = [];
    const kept: Entry[] = [];
    for (const entry of this.outbox) {
      // A number that was given up is gone with its epoch.
      if (entry.void !== undefined) continue;
      if (entry.seq <= touched) entry.was = [...(entry.was ?? []), { epoch, seq: entry.seq }];
      // Without one of its names it could be applied twice.
      if (entry.was && entry.was.length > FORMER_NAMES_MAX) givenUp.push({ payload: entry.payload, isUnknown: true });
      else kept.push(entry);
    }
    kept.forEach((entry, at) => (entry.seq = at + 1));
    this.outbox = kept;
    this.epoch = this.draw();
    this.next = kept.length + 1;
    this.stored = this.sent = this.touched = 0;
    this.announced = false;
    return givenUp;
  }

  private giveUp(seq: number, reason: string): GivenUp[] {
    const entry = this.outbox.find((e) => e.seq === seq);
    if (!entry || entry.void !== undefined) return [];
    const { payload, sentBefore, was } = entry;
    entry.payload = null;
    entry.size = 0;
    entry.void = reason;
    return [{ payload, isUnknown: sentBefore === true || was !== undefined }];
  }
}
