import { describe, expect, it } from 'vitest';
import { Outbox } from '../sdk/outbox';
import type { Frame } from '../sdk/wire';
import type { GivenUp } from '../sdk/writer';

/** The disk of one browser, with one owner. */
class Disk {
  text: string | undefined;
  owner = 0;
  isBroken = false;
  /** Writes wait for this. */
  delay: Promise<void> = Promise.resolve();

  shelf() {
    let me = -1;
    return {
      claim: async () => {
        if (this.isBroken) throw new Error('no disk');
        me = this.owner += 1;
        return this.text;
      },
      save: async (text: string) => {
        await this.delay;
        if (this.isBroken) throw new Error('no disk');
        if (me === this.owner) this.text = text;
        return me === this.owner;
      },
    };
  }
}

/** A page with its outbox, and what it wrote to the relay. */
class Page {
  wire: Frame[] = [];
  isOnline = true;
  isTaken = false;
  givenUp: GivenUp[] = [];
  readonly outbox: Outbox;
  private readonly socket = { send: (text: string) => void this.wire.push(JSON.parse(text) as Frame) };

  constructor(disk: Disk, epochs: string[], channel = 'up/x') {
    const draw = () => epochs.shift() ?? 'no more';
    this.outbox = new Outbox(channel, draw, disk.shelf(), {
      socket: () => (this.isOnline ? this.socket : undefined),
      taken: () => (this.isTaken = true),
      givenUp: (messages) => this.givenUp.push(...messages),
    });
  }

  static async open(disk: Disk, epochs: string[], seq = 0): Promise<Page> {
    const page = new Page(disk, epochs);
    await page.outbox.load();
    page.outbox.writer.welcomed({ epoch: page.outbox.writer.base().epoch, seq });
    return page;
  }

  async send(payload: unknown) {
    this.outbox.writer.push(payload);
    await this.outbox.flush();
  }

  names() {
    return this.wire.flatMap((f) => (f.k === 'msg' ? [`${f.epoch}/${f.seq} ${String(f.p)}`] : []));
  }
}

describe('the outbox', () => {
  it('writes to the disk before it writes to the wire', async () => {
    const disk = new Disk();
    const page = await Page.open(disk, ['a']);
    let release = () => {};
    disk.delay = new Promise((resolve) => (release = resolve));

    const sending = page.send('one');
    expect(page.wire).toEqual([]);
    release();
    await sending;

    expect(page.names()).toEqual(['a/1 one']);
    expect(disk.text).toContain('"one"');
  });

  it('sends under the same names after the page was killed, and only what was not stored', async () => {
    const disk = new Disk();
    const killed = await Page.open(disk, ['a']);
    for (const payload of ['one', 'two', 'three']) await killed.send(payload);

    const next = await Page.open(disk, ['b'], 1);
    await next.outbox.flush();
    await next.send('four');

    expect(next.names()).toEqual(['a/2 two', 'a/3 three', 'a/4 four']);
  });

  it('takes back after a reload only what no relay has seen', async () => {
    const disk = new Disk();
    const killed = await Page.open(disk, ['a']);
    await killed.send('seen');
    killed.isOnline = false;
    await killed.send('unseen');

    const { writer } = (await Page.open(disk, ['b'])).outbox;

    expect(writer.held()).toEqual(['seen', 'unseen']);
    expect(writer.takeBack((payload) => payload)).toEqual(['unseen']);
  });

  it('draws another epoch when the page was killed before its first was welcome', async () => {
    const disk = new Disk();
    const killed = new Page(disk, ['a']);
    await killed.outbox.load();
    killed.isOnline = false;
    await killed.send('one');

    const page = new Page(disk, ['b']);

    expect(await page.outbox.load()).toEqual(['one']);
    expect(page.outbox.writer.base()).toEqual({ epoch: 'b', seq: 1, fresh: true });
  });

  it('forgets on disk what the desktop has', async () => {
    const disk = new Disk();
    const page = await Page.open(disk, ['a']);
    await page.send('one');
    page.outbox.writer.stable({ epoch: 'a', seq: 1 });
    await page.outbox.flush();

    expect(disk.text).not.toContain('one');
    expect((await Page.open(disk, ['b'], 1)).outbox.writer.base()).toEqual({ epoch: 'a', seq: 2 });
  });

  it('of a tab that lost it sends and writes nothing', async () => {
    const disk = new Disk();
    const older = await Page.open(disk, ['a']);
    const newer = await Page.open(disk, ['b']);
    await newer.send('newer');
    await older.send('older');

    expect(older.isTaken).toBe(true);
    expect(older.wire).toEqual([]);
    expect(disk.text).not.toContain('older');
  });

  it('goes on in memory, in a new epoch, where nothing can be kept', async () => {
    const disk = new Disk();
    const page = await Page.open(disk, ['a', 'b']);
    await page.send('one');
    disk.isBroken = true;
    await page.send('two');

    expect(page.wire.slice(1)).toMatchObject([
      { k: 'epoch', new: 'b' },
      { k: 'msg', epoch: 'b', seq: 1, was: [{ epoch: 'a', seq: 1 }], p: 'one' },
      { k: 'msg', epoch: 'b', seq: 2, p: 'two' },
    ]);

    const another = await Page.open(disk, ['c']);
    await another.send('three');
    expect(another.names()).toEqual(['c/1 three']);
  });

  it('of a former pairing is left', async () => {
    const disk = new Disk();
    await (await Page.open(disk, ['a'])).send('one');

    expect(await new Page(disk, ['b'], 'up/y').outbox.load()).toEqual([]);
  });
});
