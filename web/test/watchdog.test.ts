import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Client, type Link } from '../sdk/client';
import { makeKey } from '../sdk/keys';
import type { Frame } from '../sdk/wire';

/** A socket whose other end is the test. */
class Socket {
  static readonly OPEN = 1;
  static all: Socket[] = [];
  readyState = 1;
  sent: Frame[] = [];
  onmessage: ((event: { data: string }) => void) | undefined;
  onclose: ((event: { code: number }) => void) | undefined;

  constructor() {
    Socket.all.push(this);
  }

  send(text: string) {
    this.sent.push(JSON.parse(text) as Frame);
  }

  // A half-open socket does not tell that it is closed.
  close() {}

  hear(frame: Record<string, unknown>) {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }

  get ping(): (Frame & { k: 'ping' }) | undefined {
    return this.sent.findLast((f) => f.k === 'ping');
  }
}

const SOON = 3_100;
let page: EventTarget;
let network: EventTarget;
let links: Link['state'][];
let client: Client;

beforeEach(async () => {
  vi.useFakeTimers();
  Socket.all = [];
  links = [];
  page = new EventTarget();
  network = new EventTarget();
  vi.stubGlobal('WebSocket', Socket);
  vi.stubGlobal('location', new URL('http://localhost/'));
  vi.stubGlobal('document', Object.assign(page, { visibilityState: 'visible' }));
  vi.stubGlobal('navigator', { connection: network });
  vi.stubGlobal('addEventListener', page.addEventListener.bind(page));
  vi.stubGlobal('removeEventListener', page.removeEventListener.bind(page));
  const key = await makeKey();
  const nothing = () => {};
  client = new Client(
    { session: 's', member: 'm', token: 't', key, host: key.public, hostName: 'h', deviceName: 'd' },
    { link: (link) => links.push(link.state), welcome: nothing, message: nothing, volatile: nothing, stored: nothing,
      applied: nothing, room: nothing, lost: nothing, givenUp: nothing, frame: nothing },
  );
  client.start();
  Socket.all[0]?.hear({ k: 'welcome', accepted: {}, pending: [] });
  expect(links.at(-1)).toBe('online');
});

afterEach(() => {
  client.stop();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

it.each(['visibilitychange', 'focus', 'online', 'pageshow'])('after %s a socket that does not answer is replaced at once', async (event) => {
  page.dispatchEvent(new Event(event));
  expect(Socket.all[0]?.ping).toBeDefined();
  await vi.advanceTimersByTimeAsync(SOON);
  expect(Socket.all).toHaveLength(2);
});

it('after a change of the network it is, too', async () => {
  network.dispatchEvent(new Event('change'));
  await vi.advanceTimersByTimeAsync(SOON);
  expect(Socket.all).toHaveLength(2);
});

it('a socket that answers stays', async () => {
  page.dispatchEvent(new Event('focus'));
  Socket.all[0]?.hear({ k: 'pong', n: Socket.all[0].ping?.n, t: 0 });
  await vi.advanceTimersByTimeAsync(59_000);
  expect(Socket.all).toHaveLength(1);
});

it('what was received before the network went is no answer', async () => {
  page.dispatchEvent(new Event('focus'));
  Socket.all[0]?.hear({ k: 'presence', hostConnected: true });
  await vi.advanceTimersByTimeAsync(SOON);
  expect(Socket.all).toHaveLength(2);
});

it('a young attempt is left alone, and one that slept is replaced', async () => {
  page.dispatchEvent(new Event('focus'));
  await vi.advanceTimersByTimeAsync(SOON);
  page.dispatchEvent(new Event('focus'));
  expect(Socket.all).toHaveLength(2);
  await vi.advanceTimersByTimeAsync(SOON);
  page.dispatchEvent(new Event('focus'));
  expect(Socket.all).toHaveLength(3);
});
