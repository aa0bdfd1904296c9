import { describe, expect, it } from 'vitest';
import vectors from '../../crates/wire/vectors/frames.json';
import { holeBefore, renewed } from '../remote/app';
import { isStale } from '../remote/status';
import { visible } from '../remote/visible';
import { Reader } from '../sdk/reader';
import type { Frame, Item } from '../sdk/wire';
import { OUTBOX_MAX, Writer } from '../sdk/writer';

const EPOCH = '0000000000000001';
const NEXT = '0000000000000002';

function writerWith(count: number): Writer {
  const writer = new Writer('up/x', EPOCH, () => NEXT);
  for (let n = 0; n < count; n++) writer.push(n);
  return writer;
}

const seqs = (frames: Frame[]) => frames.flatMap((f) => (f.k === 'msg' ? [f.seq] : []));

describe('the writer', () => {
  it('sends again after a reconnect what was not stored', () => {
    const writer = writerWith(5);
    writer.welcomed({ epoch: EPOCH, seq: 0 });
    expect(seqs(writer.frames())).toEqual([1, 2, 3, 4, 5]);
    expect(writer.acked({ epoch: EPOCH, seq: 2 })).toEqual([0, 1]);

    writer.welcomed({ epoch: EPOCH, seq: 3 });

    expect(seqs(writer.frames())).toEqual([4, 5]);
  });

  it('opens a new epoch when the log holds what it never sent', () => {
    const writer = writerWith(2);

    writer.welcomed({ epoch: EPOCH, seq: 9 });

    const frames = writer.frames();
    expect(frames[0]).toMatchObject({ k: 'epoch', new: NEXT });
    expect(seqs(frames)).toEqual([1, 2]);
  });

  it('gives up what was refused and goes on', () => {
    const writer = writerWith(3);
    writer.welcomed({ epoch: EPOCH, seq: 0 });
    writer.frames();

    writer.nacked({ k: 'nack', ch: 'up/x', epoch: EPOCH, expect: 2, reason: 'too_large' });

    const frames = writer.frames();
    expect(frames[0]).toMatchObject({ k: 'void', seq: 2 });
    expect(seqs(frames)).toEqual([3]);
  });

  it('takes back only what no relay has seen, and closes the numbers', () => {
    const writer = writerWith(3);
    writer.welcomed({ epoch: EPOCH, seq: 0 });
    writer.frames();
    for (const payload of ['old', 'new', 'old']) writer.push(payload);

    expect(writer.takeBack((payload) => (payload === 1 || payload === 'old' ? payload : undefined))).toEqual(['old', 'old']);

    expect(writer.frames()).toMatchObject([{ k: 'msg', seq: 4, p: 'new' }]);
    expect(writer.push('next')).toBe(5);
  });

  it('tells what the desktop has', () => {
    const writer = writerWith(3);
    writer.welcomed({ epoch: EPOCH, seq: 0 });
    writer.frames();

    expect(writer.stable({ epoch: EPOCH, seq: 2 })).toEqual([0, 1]);
    expect(writer.stable({ epoch: NEXT, seq: 3 })).toEqual([]);
  });

  it('tells at a welcome what was stored meanwhile', () => {
    const writer = writerWith(3);
    writer.welcomed({ epoch: EPOCH, seq: 0 });
    writer.frames();

    expect(writer.welcomed({ epoch: EPOCH, seq: 2 })).toEqual({ stored: [0, 1], givenUp: [] });
  });

  it('gives up as unknown, with no name forgotten, what had more names than a message may have', () => {
    const writer = writerWith(1);
    writer.welcomed({ epoch: EPOCH, seq: 0 });
    const renewals = Array.from({ length: 9 }, () => {
      writer.frames();
      return writer.nacked({ k: 'nack', ch: 'up/x', reason: 'epoch_closed' }).givenUp;
    });

    expect(renewals.slice(0, 8)).toEqual(Array.from({ length: 8 }, () => []));
    expect(renewals[8]).toEqual([{ payload: 0, isUnknown: true }]);
    expect(writer.held()).toEqual([]);
  });

  it('tells of what the relay refuses whether an earlier connection may have stored it', () => {
    const writer = writerWith(1);
    const refuse = (seq: number) => writer.nacked({ k: 'nack', ch: 'up/x', epoch: EPOCH, expect: seq, reason: 'not_allowed' }).givenUp;
    writer.welcomed({ epoch: EPOCH, seq: 0 });
    writer.frames();
    writer.welcomed({ epoch: EPOCH, seq: 0 });
    writer.push('new');
    writer.frames();

    expect(refuse(1)).toEqual([{ payload: 0, isUnknown: true }]);
    expect(refuse(2)).toEqual([{ payload: 'new', isUnknown: false }]);
    expect(refuse(2)).toEqual([]);
    expect(writer.stable({ epoch: EPOCH, seq: 2 })).toEqual([]);
  });

  it('is bounded, and forgets what the desktop has', () => {
    const writer = writerWith(OUTBOX_MAX);
    expect(writer.push('one more')).toBeUndefined();

    writer.stable({ epoch: EPOCH, seq: 10 });

    expect(writer.push('now')).toBe(OUTBOX_MAX + 1);
  });
});

describe('the reader', () => {
  const msg = (seq: number, epoch = EPOCH): Frame => ({ k: 'msg', ch: 'down', epoch, seq, p: null });

  it('drops what it has, and reconnects when one is missing', () => {
    const reader = new Reader();
    expect(reader.judge(msg(4))).toBe('next');
    expect(reader.judge(msg(4))).toBe('known');
    expect(reader.judge(msg(6))).toBe('hole');
    expect(reader.resume()).toEqual({ down: { epoch: EPOCH, seq: 4 } });
  });

  it('asks three times a minute for what is missing without a word, in each channel, and then takes it as gone', () => {
    const reader = new Reader();
    const other: Frame = { k: 'msg', ch: 'down/x', epoch: EPOCH, seq: 9, p: null };
    reader.judge(msg(1));
    expect([1, 2, 3].map((at) => reader.missing(msg(4), at))).toEqual([undefined, undefined, undefined]);
    expect(reader.missing(other, 3)).toBeUndefined();

    expect(reader.missing(msg(4), 4)).toMatchObject({ k: 'gap', from: 2, to: 3 });

    expect(reader.judge(msg(4))).toBe('next');
    expect(reader.missing(msg(6), 60_005)).toBeUndefined();
  });

  it('follows gaps and new epochs', () => {
    const reader = new Reader();
    reader.judge(msg(1));
    expect(reader.judge({ k: 'gap', ch: 'down', epoch: EPOCH, from: 2, to: 8, reason: 'evicted' })).toBe('next');
    expect(reader.judge(msg(9))).toBe('next');
    expect(reader.judge({ k: 'epoch', ch: 'down', new: NEXT, base: 1 })).toBe('next');
    expect(reader.judge(msg(1, NEXT))).toBe('next');
  });

  it('takes a volatile message only in its place and only once', () => {
    const reader = new Reader();
    reader.judge(msg(3));
    const vol = (after: number, vseq: number): Frame => ({ k: 'vol', ch: 'down', epoch: EPOCH, after, vseq, key: 'k', p: 0 });
    expect(reader.judge(vol(4, 1))).toBe('known');
    expect(reader.judge(vol(3, 1))).toBe('next');
    expect(reader.judge(vol(3, 1))).toBe('known');
    expect(reader.judge(vol(2, 2))).toBe('next');
  });
});

it('frames of the vectors are frames of the types', () => {
  const kinds = new Set(vectors.valid.map((text) => (JSON.parse(text) as Frame).k));
  expect(kinds.size).toBeGreaterThan(30);
});

describe('a conversation with a hole', () => {
  const of = (...places: number[]) =>
    new Map(places.map((ord) => [`${ord}`, { id: `${ord}`, ord, rev: 1, at: 0, body: { kind: 'notice', text: '' } } as Item]));

  it.each([
    [[], undefined],
    [[4], undefined],
    [[4, 5, 6], undefined],
    [[9, 4, 5, 8], 8],
    [[1, 3, 5], 5],
  ])('%j is filled before %j', (places, before) => expect(holeBefore(of(...places))).toBe(before));
});

it('a full outbox takes nothing more, and what is given up leaves it', () => {
  const writer = new Writer('up/m', 'e', () => 'f');
  for (let n = 1; n <= 200; n += 1) expect(writer.push(n)).toBe(n);
  expect(writer.push(201)).toBeUndefined();
  expect(writer.lost('other', 1, 200)).toEqual([]);
  expect(writer.lost('e', 1, 2)).toEqual([1, 2]);
  expect(writer.push(201)).toBe(201);

  const large = new Writer('up/m', 'e', () => 'f');
  const half = 'x'.repeat(2 * 1024 * 1024);
  expect([large.push(half), large.push(half), large.push('small')]).toEqual([1, undefined, 2]);
});

describe('what a page shows', () => {
  it('keeps from before a snapshot only what is newer than it or beyond it', () => {
    const thing = (id: string, rev: number) => ({ id, rev });
    const before = new Map([['gone', thing('gone', 3)], ['newer', thing('newer', 12)], ['far', thing('far', 1)], ['a', thing('a', 9)]]);

    const after = renewed(before, [thing('a', 8), thing('b', 10)], (v) => v.id === 'far');

    expect([...after.values()].map((v) => `${v.id}${v.rev}`).toSorted()).toEqual(['a9', 'b10', 'far1', 'newer12']);
  });

  it('is called stale when a hop is not well and nothing came for long', () => {
    expect(isStale(['good', 'bad', 'good'], 0, 91_000)).toBe(true);
    expect(isStale(['good', 'good', 'good'], 0, 91_000)).toBe(false);
    expect(isStale(['good', 'trying', 'good'], 60_000, 91_000)).toBe(false);
    expect(isStale(['bad'], undefined, 91_000)).toBe(false);
  });

  it('hides nothing in a command', () => {
    expect(visible('rm -rf ./build \u202e#  toor/')).toBe('rm -rf ./build ⟨U+202E⟩#  toor/');
    expect(visible('a\u200bb\u001b[2J\u{e0041}')).toBe('a⟨U+200B⟩b⟨U+001B⟩[2J⟨U+E0041⟩');
    expect(visible('tab\tline\nümlaut 漢字 עברית')).toBe('tab\tline\nümlaut 漢字 עברית');
  });
});
