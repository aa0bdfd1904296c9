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
}

/** Former names of one message, as the relay takes them. */
const FORMER_NAMES_MAX = 8;

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

  base(): Position {
    const seq = this.outbox[0]?.seq ?? this.next;
    return this.fresh ? { epoch: this.epoch, seq, fresh: true } : { epoch: this.epoch, seq };
  }

  welcomed(accepted: Position | undefined): void {
    this.announced = accepted !== undefined;
    this.fresh = false;
    if (!accepted) this.stored = this.sent = this.base().seq - 1;
    // A head above what was ever sent means that this memory went back.
    else if (accepted.epoch === this.epoch && accepted.seq <= this.reached()) this.stored = this.sent = accepted.seq;
    else this.renew();
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
    return newly.map((e) => e.payload);
  }

  /** Gives the payloads that the desktop has now, and forgets them. */
  stable(position: Position): unknown[] {
    if (position.epoch !== this.epoch) return [];
    const applied = this.outbox.filter((e) => e.seq <= position.seq && e.void === undefined);
    this.outbox = this.outbox.filter((e) => e.seq > position.seq);
    return applied.map((e) => e.payload);
  }

  /** Gives the payloads that will not arrive, and forgets them. */
  lost(epoch: string, from: number, to: number): unknown[] {
    if (epoch !== this.epoch) return [];
    const isLost = (e: Entry) => e.seq >= from && e.seq <= to;
    const gone = this.outbox.filter(isLost).map((e) => e.payload);
    this.outbox = this.outbox.filter((e) => !isLost(e));
    return gone;
  }

  /** Gives the pause before the channel goes on, in milliseconds. */
  nacked(nack: NackFrame): number | undefined {
    if (nack.epoch !== undefined && nack.epoch !== this.epoch) return undefined;
    const expect = nack.expect ?? this.sent;
    switch (nack.reason) {
      case 'hole':
      case 'log_lost':
        this.stored = this.sent = expect - 1;
        return undefined;
      case 'rate_limited':
      case 'full':
      case 'busy':
      case 'log_unavailable':
        this.sent = expect - 1;
        // It may have been the announcement that was not taken.
        if (nack.reason === 'log_unavailable') this.announced = false;
        return nack.retryMs ?? 1000;
      case 'too_large':
      case 'not_allowed': {
        const entry = this.outbox.find((e) => e.seq === expect);
        if (entry) entry.void = nack.reason;
        this.sent = expect - 1;
        return undefined;
      }
      case 'epoch_closed':
      case 'conflict':
        this.renew();
        return undefined;
      case 'host_offline':
        return undefined;
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

  private renew(): void {
    const { epoch } = this;
    const touched = Math.max(this.touched, this.stored);
    // A number that was given up is gone with its epoch. What was acknowledged is sent again: the log may
    // have gone back to before this epoch.
    this.outbox = this.outbox.filter((e) => e.void === undefined);
    this.epoch = this.draw();
    this.outbox.forEach((entry, at) => {
      if (entry.seq <= touched) entry.was = [...(entry.was ?? []), { epoch, seq: entry.seq }].slice(-FORMER_NAMES_MAX);
      entry.seq = at + 1;
    });
    this.next = this.outbox.length + 1;
    this.stored = this.sent = this.touched = 0;
    this.announced = false;
  }
}
