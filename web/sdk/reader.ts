// What a reader has applied, per channel. Pure; the Rust client behaves the same.

import type { Frame, Position } from './wire';

export type Verdict = 'next' | 'known' | 'hole';

/** Epochs of a channel whose applied positions are kept, the open one included: eight of the channel's own
 * chain, and room for the former names of messages. */
const EPOCHS_MAX = 16;
/** Reconnects for a message that is missing without a word; then it counts as gone. */
const HOLES_PER_MINUTE = 3;

type EpochFrame = Frame & { k: 'epoch' };
type GapFrame = Frame & { k: 'gap' };
type VolFrame = Frame & { k: 'vol' };

/** Applied positions of one channel, one per epoch, the newest epoch last. */
class Chain {
  private positions: Position[] = [];

  now(): Position | undefined {
    return this.positions.at(-1);
  }

  of(epoch: string): Position | undefined {
    return this.positions.find((at) => at.epoch === epoch);
  }

  has(name: Position): boolean {
    return this.positions.some((at) => at.epoch === name.epoch && name.seq <= at.seq);
  }

  /** A message was applied under another name: this one counts, too. */
  note(name: Position): void {
    if (this.has(name)) return;
    const now = this.now();
    this.moveTo(name.epoch, name.seq);
    // The open epoch stays the newest.
    if (now && now.epoch !== name.epoch) this.moveTo(now.epoch, now.seq);
  }

  moveTo(epoch: string, seq: number): void {
    // An epoch that comes again, because the log went back, is the newest once more; what was applied
    // of it stays applied.
    const known = this.positions.find((at) => at.epoch === epoch)?.seq ?? 0;
    this.positions = this.positions.filter((at) => at.epoch !== epoch).slice(1 - EPOCHS_MAX);
    this.positions.push({ epoch, seq: Math.max(known, seq) });
  }
}

export class Reader {
  private chains = new Map<string, Chain>();
  private holes: { ch: string; at: number }[] = [];
  private volatiles = new Map<string, { epoch: string; vseq: number }>();

  resume(): Record<string, Position> {
    const positions: Record<string, Position> = {};
    for (const [ch, chain] of this.chains) {
      const at = chain.now();
      if (at) positions[ch] = at;
    }
    return positions;
  }

  position(ch: string): Position | undefined {
    return this.chains.get(ch)?.now();
  }

  judge(frame: Frame): Verdict {
    switch (frame.k) {
      case 'msg': {
        const verdict = this.at(frame.ch, frame.epoch, frame.seq);
        if (verdict !== 'next') return verdict;
        const chain = this.chain(frame.ch);
        const was = frame.was ?? [];
        const had = was.some((name) => chain.has(name));
        if (had) return 'known';
        for (const name of was) chain.note(name);
        return 'next';
      }
      case 'void':
        return this.at(frame.ch, frame.epoch, frame.seq);
      case 'skip':
      case 'gap':
        return this.moveTo(frame.ch, frame.epoch, frame.to);
      case 'epoch':
        return this.openEpoch(frame);
      case 'vol':
        return this.volatile(frame);
      default:
        return 'next';
    }
  }

  /** Something is missing without a word before a frame: gives a gap when it was asked for often enough. */
  missing(frame: Frame, now: number): GapFrame | undefined {
    const ch = 'ch' in frame ? frame.ch : '';
    this.holes = this.holes.filter((hole) => now - hole.at < 60_000);
    if (this.holes.filter((hole) => hole.ch === ch).length >= HOLES_PER_MINUTE) return this.giveUp(frame);
    this.holes.push({ ch, at: now });
    return undefined;
  }

  /** What is missing before a frame that was a hole does not come: it counts as gone, and the frame is next. */
  giveUp(frame: Frame): GapFrame | undefined {
    if (frame.k !== 'msg' && frame.k !== 'void' && frame.k !== 'epoch') return undefined;
    const { ch } = frame;
    const [epoch, to] = frame.k === 'epoch' ? [frame.prev ?? '', frame.prevLast ?? 0] : [frame.epoch, frame.seq - 1];
    const from = (this.chain(ch).of(epoch)?.seq ?? 0) + 1;
    this.moveTo(ch, epoch, to);
    return { k: 'gap', ch, epoch, from, to, reason: 'unknown_cursor' };
  }

  private chain(ch: string): Chain {
    const chain = this.chains.get(ch) ?? new Chain();
    this.chains.set(ch, chain);
    return chain;
  }

  private at(ch: string, epoch: string, seq: number): Verdict {
    const chain = this.chain(ch);
    const at = chain.now();
    if (chain.has({ epoch, seq })) return 'known';
    if (at && (at.epoch !== epoch || seq !== at.seq + 1)) return 'hole';
    chain.moveTo(epoch, seq);
    return 'next';
  }

  private moveTo(ch: string, epoch: string, seq: number): Verdict {
    const chain = this.chain(ch);
    const at = chain.now();
    if (at && at.epoch === epoch && seq <= at.seq) return 'known';
    chain.moveTo(epoch, seq);
    return 'next';
  }

  private openEpoch(frame: EpochFrame): Verdict {
    const at = this.chain(frame.ch).now();
    // The end of the former epoch did not come.
    if (at && at.epoch === frame.prev && at.seq < (frame.prevLast ?? 0)) return 'hole';
    return this.moveTo(frame.ch, frame.new, frame.base - 1);
  }

  private volatile(frame: VolFrame): Verdict {
    const at = this.chain(frame.ch).now();
    const key = `${frame.ch} ${frame.key}`;
    const held = this.volatiles.get(key);
    const early = at !== undefined && (at.epoch !== frame.epoch || at.seq < frame.after);
    if (early || (held?.epoch === frame.epoch && held.vseq >= frame.vseq)) return 'known';
    this.volatiles.set(key, { epoch: frame.epoch, vseq: frame.vseq });
    if (this.volatiles.size > 256) this.volatiles.delete(this.volatiles.keys().next().value ?? '');
    return 'next';
  }
}
