import { describe, expect, it } from 'vitest';
import { KEPT_MAX, type Part, Resync } from '../sdk/resync';

const EPOCH = '0000000000000001';
const NEXT = '0000000000000002';
const at = (seq: number, epoch = EPOCH) => ({ epoch, seq });

/** A desktop whose state is the number of the last message of each key. */
const part = (id: string, seq: number, more: Partial<Part<string>> = {}): Part<string> => ({ id, part: 1, parts: 1, ...at(seq), body: `state ${seq}`, ...more });

function waiting(needed = 4): Resync<string> {
  const resync = new Resync<string>();
  resync.begin('a', 'gap:evicted', at(needed), false);
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

    expect(resync.take(part('a', 9))).toMatchObject({ after: [] });
  });

  it('of a later epoch is followed by nothing of the former one', () => {
    const resync = waiting();
    resync.keep(at(5), 5);

    expect(resync.take(part('a', 1, { epoch: NEXT }))).toMatchObject({ after: [] });
  });

  it('does not count when it is older than what is missing, or was not asked for', () => {
    const resync = waiting();
    expect(resync.take(part('a', 3))).toBe('early');
    expect(resync.take(part('b', 9))).toBeUndefined();

    expect(resync.begin('c', 'gap:evicted', at(8), false)).toBe(false);

    expect(resync.take(part('a', 7))).toBe('early');
    expect(resync.take(part('a', 8))).toBeDefined();
    expect(resync.take(part('a', 8))).toBeUndefined();
  });

  it('is asked for anew when an epoch begins meanwhile, since nobody knows whether another is an older one', () => {
    const resync = waiting();

    expect(resync.begin('c', 'desktop_restarted', at(0, NEXT), false)).toBe(true);

    expect(resync.take(part('a', 9))).toBeUndefined();
    expect(resync.take(part('c', 1, { epoch: NEXT }))).toBeDefined();
  });

  it('that was asked for before anything is known will do for the first gap', () => {
    const resync = new Resync<string>();
    expect(resync.begin('a', 'connect', undefined, true)).toBe(true);

    expect(resync.begin('b', 'gap:unknown_cursor', at(4), false)).toBe(false);

    expect(resync.take(part('a', 4))).toBeDefined();
  });

  it('is asked for anew where an epoch begins before anything else is known', () => {
    const resync = new Resync<string>();
    resync.begin('a', 'connect', undefined, true);

    expect(resync.begin('b', 'desktop_restarted', at(0, NEXT), true)).toBe(true);

    expect(resync.take(part('a', 9))).toBeUndefined();
  });

  it('keeps its parts over a gap that it is late enough for', () => {
    const resync = waiting();
    resync.take(part('a', 9, { parts: 2, body: 'first' }));
    resync.begin('b', 'gap:evicted', at(8), false);

    expect(resync.take(part('a', 9, { part: 2, parts: 2, body: 'second' }))).toMatchObject({ bodies: ['first', 'second'] });
  });

  it('is not joined from two answers, though they name one place', () => {
    const resync = waiting();
    resync.take(part('a', 9, { part: 3, parts: 4, body: 'C' }));
    resync.take(part('a', 9, { part: 4, parts: 4, body: 'D' }));
    resync.take(part('a', 9, { part: 1, parts: 4, body: 'X' }));
    expect(resync.take(part('a', 9, { part: 3, parts: 4, body: 'C' }))).toBeUndefined();

    const whole = [1, 2, 3, 4].map((n) => resync.take(part('a', 9, { part: n, parts: 4, body: `${n}` }))).at(-1);

    expect(whole).toMatchObject({ bodies: ['1', '2', '3', '4'] });
  });

  it('counts when all its parts came, of one state', () => {
    const resync = waiting();
    expect(resync.take(part('a', 5, { part: 1, parts: 2, body: 'of 5' }))).toBe('more');
    expect(resync.take(part('a', 6, { part: 2, parts: 2, body: 'second' }))).toBeUndefined();
    expect(resync.take(part('a', 6, { part: 1, parts: 2, body: 'first' }))).toBe('more');

    expect(resync.take(part('a', 6, { part: 2, parts: 2, body: 'second' }))).toMatchObject({ bodies: ['first', 'second'] });
  });

  it('forgets what was kept before another gap', () => {
    const resync = waiting();
    resync.keep(at(5), 5);
    resync.begin('b', 'gap:evicted', at(9), false);
    resync.keep(at(10), 10);

    expect(resync.take(part('a', 9))).toMatchObject({ after: [10] });
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
