import { describe, expect, it } from 'vitest';
import { KEPT_MAX, type Part, Resync } from '../sdk/resync';

const EPOCH = '0000000000000001';
const NEXT = '0000000000000002';
const at = (seq: number, epoch = EPOCH) => ({ epoch, seq });

/** A desktop whose state is the number of the last message of each key. */
const part = (id: string, seq: number, more: Partial<Part<string>> = {}): Part<string> => ({ id, part: 1, parts: 1, ...at(seq), body: `state ${seq}`, ...more });

function waiting(needed = 4): Resync<string> {
  const resync = new Resync<string>();
  resync.begin('a', 'gap:evicted', at(needed));
  return resync;
}

describe('a snapshot', () => {
  it('is followed by what came after its position, and by nothing before it', () => {
    const resync = waiting();
    for (const seq of [5, 6, 7]) resync.keep(at(seq), seq);

    expect(resync.take(part('a', 6))).toEqual({ bodies: ['state 6'], after: [7] });
    expect(resync.isWaiting).toBe(false);
  });

  it('may be ahead of what arrived', () => {
    const resync = waiting();
    resync.keep(at(5), 5);

    expect(resync.take(part('a', 9))?.after).toEqual([]);
  });

  it('of a later epoch is followed by nothing of the former one', () => {
    const resync = waiting();
    resync.keep(at(5), 5);

    expect(resync.take(part('a', 1, { epoch: NEXT }))?.after).toEqual([]);
  });

  it('does not count when it is older than what is missing, or was not asked for', () => {
    const resync = waiting();
    expect(resync.take(part('a', 3))).toBeUndefined();
    expect(resync.take(part('b', 9))).toBeUndefined();

    expect(resync.begin('c', 'gap:evicted', at(8))).toBe(false);

    expect(resync.take(part('a', 7))).toBeUndefined();
    expect(resync.take(part('a', 8))).toBeDefined();
    expect(resync.take(part('a', 8))).toBeUndefined();
  });

  it('is asked for anew when an epoch begins meanwhile, since nobody knows whether another is an older one', () => {
    const resync = waiting();

    expect(resync.begin('c', 'desktop_restarted', at(0, NEXT))).toBe(true);

    expect(resync.take(part('a', 9))).toBeUndefined();
    expect(resync.take(part('c', 1, { epoch: NEXT }))).toBeDefined();
  });

  it('that was asked for before anything is known will do for the first gap', () => {
    const resync = new Resync<string>();
    expect(resync.begin('a', 'connect', undefined)).toBe(true);

    expect(resync.begin('b', 'gap:unknown_cursor', at(4))).toBe(false);

    expect(resync.take(part('a', 4))).toBeDefined();
  });

  it('counts when all its parts came, in any order, of one state', () => {
    const resync = waiting();
    expect(resync.take(part('a', 5, { part: 2, parts: 2, body: 'of 5' }))).toBeUndefined();
    expect(resync.take(part('a', 6, { part: 2, parts: 2, body: 'second' }))).toBeUndefined();

    expect(resync.take(part('a', 6, { part: 1, parts: 2, body: 'first' }))?.bodies).toEqual(['first', 'second']);
  });

  it('forgets what was kept before another gap', () => {
    const resync = waiting();
    resync.keep(at(5), 5);
    resync.begin('b', 'gap:evicted', at(9));
    resync.keep(at(10), 10);

    expect(resync.take(part('a', 9))?.after).toEqual([10]);
  });

  it('keeps a bounded number of messages, and of bytes', () => {
    const many = waiting();
    const kept = Array.from({ length: KEPT_MAX + 1 }, (_, n) => many.keep(at(5 + n), n));
    expect(kept.indexOf(false)).toBe(KEPT_MAX);

    const large = waiting();
    const text = 'x'.repeat(1024 * 1024);
    expect([1, 2, 3, 4].map((n) => large.keep(at(4 + n), text))).toEqual([true, true, true, false]);
  });

  it('is asked for again, less and less often, and at the first pace when somebody came back', () => {
    const resync = waiting();
    const pauses = [false, false, false, false, true, false].map((isBack) => resync.ask(isBack)?.again);

    expect(pauses).toEqual([10_000, 20_000, 40_000, 60_000, 10_000, 20_000]);
    expect(resync.ask(false)).toMatchObject({ id: 'a', reason: 'gap:evicted' });
    resync.take(part('a', 4));
    expect(resync.ask(false)).toBeUndefined();
  });
});
