// What a reader has applied, per channel. Pure; the Rust client behaves the same.

import type { Frame, Position } from './wire';

export type Verdict = 'next' | 'known' | 'hole';

export class Reader {
  private positions = new Map<string, Position>();
  private volatiles = new Map<string, { epoch: string; vseq: number }>();

  resume(): Record<string, Position> {
    return Object.fromEntries(this.positions);
  }

  judge(frame: Frame): Verdict {
    switch (frame.k) {
      case 'msg':
      case 'void':
        return this.at(frame.ch, frame.epoch, frame.seq);
      case 'skip':
      case 'gap':
        return this.moveTo(frame.ch, frame.epoch, frame.to);
      case 'epoch':
        return this.moveTo(frame.ch, frame.new, frame.base - 1);
      case 'vol': {
        const at = this.positions.get(frame.ch);
        const key = `${frame.ch} ${frame.key}`;
        const held = this.volatiles.get(key);
        const early = at !== undefined && (at.epoch !== frame.epoch || at.seq < frame.after);
        if (early || (held?.epoch === frame.epoch && held.vseq >= frame.vseq)) return 'known';
        this.volatiles.set(key, { epoch: frame.epoch, vseq: frame.vseq });
        if (this.volatiles.size > 256) this.volatiles.delete(this.volatiles.keys().next().value ?? '');
        return 'next';
      }
      default:
        return 'next';
    }
  }

  private at(ch: string, epoch: string, seq: number): Verdict {
    const at = this.positions.get(ch);
    if (at && at.epoch === epoch && seq <= at.seq) return 'known';
    if (at && (at.epoch !== epoch || seq > at.seq + 1)) return 'hole';
    this.positions.set(ch, { epoch, seq });
    return 'next';
  }

  private moveTo(ch: string, epoch: string, seq: number): Verdict {
    const at = this.positions.get(ch);
    if (at && at.epoch === epoch && seq <= at.seq) return 'known';
    this.positions.set(ch, { epoch, seq });
    return 'next';
  }
}
