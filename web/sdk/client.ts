// One connection at a time to the relay that the page came from: connect, authenticate, resume,
// reconnect. What arrives goes to a listener; what is sent waits in the outbox.

import { hex, random, utf8 } from './bytes';
import { signWith } from './keys';
import { Outbox } from './outbox';
import { authTranscript } from './proof';
import { Reader } from './reader';
import { type Profile, claimOutbox, saveOutbox, saveProfile } from './store';
import { PROBE_MS, SILENCE_MS, Watchdog, onReturn } from './watchdog';
import { CLOSE_CODES, type Frame, type HelloFrame, type Position, type WelcomeFrame } from './wire';
import type { GivenUp, Writer } from './writer';

const PROTOCOL = 'belay.v1';
/** So long after it was said that the relay restarts, a refused connection means just that. */
const RESTART_MS = 60_000;
const VERSION = '1.0';
const WELCOME_TIMEOUT_MS = 15_000;
const ACK_DELAY_MS = 200;
/** Pause after a refused move to another socket. */
const MOVE_PAUSE_MS = 1_000;

export type Link =
  | { state: 'connecting' }
  | { state: 'online' }
  | { state: 'waiting'; until: number; reason: string }
  | { state: 'stopped'; code: number; text: string };

export interface Listener {
  link(link: Link): void;
  welcome(welcome: WelcomeFrame): void;
  message(channel: string, at: Position, payload: unknown): void;
  volatile(channel: string, payload: unknown): void;
  stored(payloads: unknown[]): void;
  /** The desktop has these. */
  applied(payloads: unknown[]): void;
  /** The outbox has room again. */
  room(): void;
  /** These will not reach the desktop. */
  lost(payloads: unknown[]): void;
  /** These are not sent any more: refused, or nobody knows whether they were stored. */
  givenUp(messages: GivenUp[]): void;
  frame(frame: Frame): void;
}

export class Client {
  private socket: WebSocket | undefined;
  private reader = new Reader();
  private readonly outbox: Outbox;
  private readonly writer: Writer;
  private readonly watchdog = new Watchdog(() => this.dead());
  private readonly instance = hex(random(8));
  private attempt = 0;
  private pause = 250;
  private retry: ReturnType<typeof setTimeout> | undefined;
  private ackTimer: ReturnType<typeof setTimeout> | undefined;
  private acks: Record<string, Position> = {};
  private pausedUntil = 0;
  private online = false;
  /** When the newest attempt to connect began. */
  private began = 0;
  private unlisten = () => {};
  /** A socket that is to take over. */
  private next: WebSocket | undefined;
  private moving: ReturnType<typeof setTimeout> | undefined;
  /** The relay cannot read the log of our channel now. */
  private pending = false;
  private stopped = false;
  /** Why the relay closed the last connection, and when. */
  private told: { text: string; at: number } | undefined;
  private bye: { code: number; retryInMs: number } | undefined;

  constructor(
    private profile: Profile,
    private readonly listener: Listener,
  ) {
    const shelf = {
      claim: () => claimOutbox(this.instance),
      save: (text: string) => saveOutbox(this.instance, text),
    };
    this.outbox = new Outbox(`up/${profile.member}`, () => hex(random(8)), shelf, {
      socket: () => this.ready(),
      taken: () => this.stopped || this.halt(4409),
      givenUp: (messages) => listener.givenUp(messages),
    });
    this.writer = this.outbox.writer;
  }

  /** Becomes the one owner of the outbox; gives the payloads that an earlier page left there. */
  load(): Promise<unknown[]> {
    return this.outbox.load();
  }

  start(): void {
    this.unlisten = onReturn(this.probe);
    this.connect();
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.retry);
    this.watchdog.stop();
    this.stay();
    this.unlisten();
    this.socket?.close(1000);
  }

  /** Sends a durable message now or later; false when the outbox is full. */
  send(payload: unknown): boolean {
    const taken = this.writer.push(payload) !== undefined;
    this.flush();
    return taken;
  }

  /** Takes messages out of the outbox that were never sent; `pick` gives what to give back for each. */
  takeBack(pick: (payload: unknown) => unknown): unknown[] {
    return this.writer.takeBack(pick);
  }

  /** The last position that was applied in a channel. */
  position(channel: string): Position | undefined {
    return this.reader.position(channel);
  }

  /** Sends a control frame if there is a connection. */
  control(frame: Frame): boolean {
    if (!this.online) return false;
    this.write(frame);
    return true;
  }

  /** Finds out at once whether the connection still works, or connects. */
  probe = () => {
    if (this.stopped) return;
    if (this.online) this.write(this.watchdog.probe());
    else this.connect();
  };

  private connect(): void {
    // A young attempt is left alone; an older one may have slept with the page.
    if (this.stopped || (this.socket && Date.now() - this.began < PROBE_MS)) return;
    clearTimeout(this.retry);
    if (this.socket) this.writer.unanswered();
    this.began = Date.now();
    this.bye = undefined;
    this.listener.link({ state: 'connecting' });
    const socket = this.open();
    const old = this.socket;
    this.socket = socket;
    old?.close();
    this.watchdog.expect(WELCOME_TIMEOUT_MS);
    this.serve(socket);
  }

  private open(): WebSocket {
    const url = new URL('ws', location.href.replace(/#.*/, ''));
    url.protocol = url.protocol.replace('http', 'ws');
    return new WebSocket(url, PROTOCOL);
  }

  private serve(socket: WebSocket): void {
    socket.onmessage = (event) => {
      if (socket === this.socket && typeof event.data === 'string') void this.receive(socket, event.data);
    };
    socket.onclose = (event) => {
      if (socket === this.socket) this.closed(event.code);
    };
  }

  /** The relay drains: another socket is made welcome before this one is left. Who is refused stays. */
  private move(): void {
    if (!this.online || this.stopped || this.next) return;
    const next = this.open();
    this.next = next;
    next.onmessage = (event) => {
      if (next !== this.next || typeof event.data !== 'string') return;
      const frame = JSON.parse(event.data) as Frame;
      if (frame.k === 'hello') void this.authenticate(next, frame);
      else if (frame.k === 'welcome') this.moved(next, frame);
    };
    next.onclose = () => {
      if (next === this.next) this.moveIn(MOVE_PAUSE_MS);
    };
  }

  private moveIn(after: number): void {
    this.next = undefined;
    clearTimeout(this.moving);
    this.moving = setTimeout(() => this.move(), after);
  }

  private moved(next: WebSocket, welcome: WelcomeFrame): void {
    const old = this.socket;
    this.socket = next;
    this.next = undefined;
    this.serve(next);
    old?.close(1000, 'moved');
    this.welcomed(welcome);
  }

  private stay(): void {
    clearTimeout(this.moving);
    const next = this.next;
    this.next = undefined;
    next?.close();
  }

  /** The socket does not answer: do not wait for its close event, which may take minutes. */
  private dead(): void {
    const { isProbing } = this.watchdog;
    const socket = this.socket;
    this.socket = undefined;
    socket?.close();
    this.closed(1006);
    // The page came back or the network changed: no pause before the first try.
    if (isProbing) this.connect();
  }

  private closed(socketCode: number): void {
    this.watchdog.stop();
    this.stay();
    this.socket = undefined;
    if (this.online) this.online = false;
    else this.writer.unanswered();
    if (this.stopped) return;
    const code = this.bye?.code ?? socketCode;
    if (verdictOf(code) === 'stop') return this.halt(code);
    this.pause = Math.min(15_000, 250 + Math.random() * (this.pause * 3 - 250));
    const delay = verdictOf(code) === 'reconnect' && this.bye ? this.bye.retryInMs : this.pause;
    const known = CLOSE_CODES[code]?.text;
    if (known && code === 4503) this.told = { text: known, at: Date.now() };
    const recent = this.told && Date.now() - this.told.at < RESTART_MS ? this.told.text : undefined;
    const offline = navigator.onLine ? undefined : 'This device is offline.';
    const reason = known ?? offline ?? recent ?? 'The relay cannot be reached.';
    this.listener.link({ state: 'waiting', until: Date.now() + delay, reason });
    this.retry = setTimeout(() => this.connect(), delay);
  }

  private halt(code: number): void {
    this.stop();
    const text = CLOSE_CODES[code]?.text ?? 'The relay refused this device.';
    this.listener.link({ state: 'stopped', code, text });
  }

  private async receive(socket: WebSocket, text: string): Promise<void> {
    let frame: Frame;
    try {
      frame = JSON.parse(text) as Frame;
    } catch {
      return this.dead();
    }
    if (this.online) this.watchdog.heard(frame);
    switch (frame.k) {
      case 'hello':
        return this.authenticate(socket, frame);
      case 'welcome':
        return this.welcomed(frame);
      case 'bye':
        this.bye = frame;
        return;
      case 'ping':
        return this.write({ k: 'pong', n: frame.n, t: frame.t });
      case 'token.offer':
        return this.takeToken(frame.token);
      case 'drain':
        return this.moveIn(frame.reconnectInMs);
      default:
        return this.handle(frame);
    }
  }

  private async authenticate(socket: WebSocket, hello: HelloFrame): Promise<void> {
    const { session, member, token, key } = this.profile;
    const signed = authTranscript(location.origin, session, member, hello.nonce, token);
    const proof = await signWith(key, signed);
    this.attempt += 1;
    const client = { name: 'belay-remote', version: VERSION, instance: this.instance, attempt: this.attempt };
    const resume = this.reader.resume();
    const base = { [this.writer.channel]: this.writer.base() };
    const auth: Frame = { k: 'auth', version: VERSION, token, nonce: hello.nonce, proof, client, resume, base };
    if (socket === this.socket || socket === this.next) socket.send(JSON.stringify(auth));
  }

  private welcomed(welcome: WelcomeFrame): void {
    this.online = true;
    this.told = undefined;
    this.pause = 250;
    this.pausedUntil = 0;
    const { channel } = this.writer;
    // The relay cannot read this log now; it says when it can.
    this.pending = welcome.pending.includes(channel);
    this.watchdog.expect(SILENCE_MS);
    if (!this.pending) this.placed(welcome.accepted[channel]);
    this.listener.link({ state: 'online' });
    this.listener.welcome(welcome);
    if (welcome.nextToken) void this.takeToken(welcome.nextToken);
    this.flush();
  }

  /** Keeps an offered token durably before it is used. */
  private async takeToken(token: string): Promise<void> {
    const next = { ...this.profile, token };
    try {
      await saveProfile(next);
    } catch {
      // The token in use stays good; the relay offers another one later.
      return;
    }
    this.profile = next;
    this.write({ k: 'token.confirm', token });
  }

  private handle(frame: Frame): void {
    const verdict = this.reader.judge(frame);
    if (verdict === 'known') {
      const at = frame.k === 'msg' ? this.reader.position(frame.ch) : undefined;
      // Its acknowledgement may have been lost.
      if (at && frame.k === 'msg') this.ack(frame.ch, at.epoch, at.seq);
      return;
    }
    if (verdict === 'hole') return this.hole(frame);
    if (frame.k === 'msg') {
      this.ack(frame.ch, frame.epoch, frame.seq);
      return this.listener.message(frame.ch, { epoch: frame.epoch, seq: frame.seq }, frame.p);
    }
    if (frame.k === 'void') this.ack(frame.ch, frame.epoch, frame.seq);
    if (frame.k === 'skip' || frame.k === 'gap') this.ack(frame.ch, frame.epoch, frame.to);
    if (frame.k === 'epoch') this.ack(frame.ch, frame.new, frame.base - 1);
    if (frame.k === 'vol') return this.listener.volatile(frame.ch, frame.p);
    const own = frame.k === 'ack' || frame.k === 'stable' ? frame.pos[this.writer.channel] : undefined;
    if (frame.k === 'ack' && own) this.listener.stored(this.writer.acked(own));
    else if (frame.k === 'stable' && own) {
      this.listener.applied(this.writer.stable(own));
      this.listener.room();
      this.flush();
    } else if (frame.k === 'lost' && frame.ch === this.writer.channel) {
      this.listener.lost(this.writer.lost(frame.epoch, frame.from, frame.to));
      this.flush();
    }
    else if (frame.k === 'nack' && frame.ch === this.writer.channel) this.nacked(frame);
    else if (frame.k === 'accepted') this.opened(frame.pos[this.writer.channel]);
    else this.listener.frame(frame);
  }

  /** Something is missing without a word: the relay is asked for it by a new connection. */
  private hole(frame: Frame): void {
    const gap = this.reader.missing(frame, performance.now());
    if (!gap) return this.dead();
    this.listener.frame(gap);
    this.handle(frame);
  }

  private opened(accepted: Position | undefined): void {
    if (!accepted) return;
    this.pending = false;
    this.placed(accepted);
    this.flush();
  }

  /** The relay said where the log of our channel stands. */
  private placed(accepted: Position | undefined): void {
    const { stored, givenUp } = this.writer.welcomed(accepted);
    this.listener.stored(stored);
    this.listener.givenUp(givenUp);
  }

  private nacked(frame: Frame & { k: 'nack' }): void {
    const { pause, givenUp } = this.writer.nacked(frame);
    this.listener.givenUp(givenUp);
    if (pause !== undefined) {
      this.pausedUntil = performance.now() + pause;
      setTimeout(() => this.flush(), pause);
    } else {
      this.flush();
    }
  }

  private ack(ch: string, epoch: string, seq: number): void {
    this.acks[ch] = { epoch, seq };
    this.ackTimer ??= setTimeout(() => this.flushAcks(), ACK_DELAY_MS);
  }

  private flushAcks(): void {
    clearTimeout(this.ackTimer);
    this.ackTimer = undefined;
    const pos = this.acks;
    this.acks = {};
    if (Object.keys(pos).length > 0) this.write({ k: 'ack', pos });
  }

  private flush(): void {
    void this.outbox.flush();
  }

  /** The socket, if messages may be written now. */
  private ready(): WebSocket | undefined {
    const waits = !this.online || this.stopped || this.pending || performance.now() < this.pausedUntil;
    return waits || this.socket?.readyState !== WebSocket.OPEN ? undefined : this.socket;
  }

  private write(frame: Frame): void {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(frame));
  }
}

/** What a client does after a close: the range of the code alone says it. */
export function verdictOf(code: number | null): 'stop' | 'reconnect' | 'backoff' {
  if (code !== null && code >= 4400 && code <= 4499) return 'stop';
  return code !== null && code >= 4500 && code <= 4599 ? 'reconnect' : 'backoff';
}

/** Size of a payload on the wire, in bytes. */
export const payloadBytes = (payload: unknown): number => utf8(JSON.stringify(payload)).length;
