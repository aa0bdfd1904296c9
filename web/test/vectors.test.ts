// The delivery vectors, which the Rust client reads, too: both behave the same.

import { describe, expect, it } from 'vitest';
import vectors from '../../crates/wire/vectors/delivery.json';
import { verdictOf } from '../sdk/client';
import { Reader } from '../sdk/reader';
import type { Frame, NackFrame, Position } from '../sdk/wire';
import { Writer } from '../sdk/writer';

const EPOCH = '0000000000000001';
const NEXT = '0000000000000002';

const shown = (frame: Frame): string =>
  frame.k === 'msg' ? `msg ${frame.seq}${(frame.was ?? []).map((name) => ` was ${name.seq}`).join('')}` : frame.k === 'epoch' ? `epoch ${frame.base}` : frame.k === 'skip' ? `skip ${frame.to}` : 'seq' in frame ? `${frame.k} ${frame.seq}` : frame.k;

describe('delivery vectors', () => {
  it('give close codes the same verdict', () => {
    for (const [code, verdict] of vectors.verdicts) expect(verdictOf(code as number | null), String(code)).toBe(verdict);
  });

  for (const { name, steps, resume } of vectors.readers) {
    it(`reader: ${name}`, () => {
      const reader = new Reader();
      for (const [value, verdict, missing] of steps as unknown as [Frame, string, number[] | undefined][]) {
        expect(reader.judge(value), JSON.stringify(value)).toBe(verdict);
        const gap = missing && reader.giveUp(value);
        expect(gap && [gap.from, gap.to], JSON.stringify(value)).toEqual(missing);
      }
      expect(reader.resume()).toEqual(resume);
    });
  }

  for (const { name, steps } of vectors.writers) {
    it(`writer: ${name}`, () => {
      const writer = new Writer('up/x', EPOCH, () => NEXT);
      let epoch = EPOCH;
      for (const [what, value, more] of steps as unknown as [string, unknown, number | undefined][]) {
        switch (what) {
          case 'push': for (let n = 0; n < (value as number); n += 1) writer.push(n); break;
          case 'welcomed': writer.welcomed((value as Position | null) ?? undefined); break;
          case 'acked': writer.acked({ epoch, seq: value as number }); break;
          case 'stable': writer.stable({ epoch, seq: value as number }); break;
          case 'nacked':
            writer.nacked({ k: 'nack', ch: 'up/x', epoch, expect: more ?? 0, reason: value as NackFrame['reason'] });
            if (value === 'epoch_closed') epoch = NEXT;
            break;
          case 'frames': expect(writer.frames().map(shown)).toEqual(value); break;
          case 'base': expect(writer.base().seq).toBe(value); break;
          default: throw new Error(`${what} is no step`);
        }
      }
    });
  }
});
