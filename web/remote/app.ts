// The state of the page and everything that changes it. Views subscribe and read.

import { hex, random } from '../sdk/bytes';
import { Client, type Link } from '../sdk/client';
import { type Part, Resync } from '../sdk/resync';
import * as store from '../sdk/store';
import type { GivenUp } from '../sdk/writer';
import type {
  AgentView,
  Command,
  CommandRequest,
  CommandOutcome,
  CommandView,
  Envelope,
  Frame,
  FromHost,
  Item,
  Position,
  RequestView,
  SnapshotBody,
  ThreadView,
} from '../sdk/wire';

/** A command older than this is not sent without asking. */
const STALE_COMMAND_MS = 60 * 60 * 1000;
const PAGE = 40;
/** Pages read to close a hole in a conversation. */
const FILL_PAGES_MAX = 25;
/** The next part of a snapshot comes within this time, or it is asked for once more. */
const PART_MS = 60_000;
const UNKNOWN = 'it may have reached the desktop, or not';

/** Where a command stands: on this phone, at the relay, at the desktop, done, refused, or unknown. */
export type Mark = 'waiting' | 'asking' | 'sent' | 'desktop' | 'done' | 'failed' | 'unknown' | 'dropped';

export interface Sent {
  id: string;
  command: Command;
  at: number;
  mark: Mark;
  text?: string;
}

export interface Conversation {
  items: Map<string, Item>;
  /** Older items are on the desktop. */
  more: boolean;
  loaded: boolean;
  loading: boolean;
}

export interface State {
  link: Link;
  /** The relay stores nothing now. */
  degraded: boolean;
  /** It does not reach what it keeps sessions in: messages pass, and nothing else changes. */
  storeAway: boolean;
  hostConnected: boolean;
  hostSeenAt: number | undefined;
  /** When something of the desktop last arrived. */
  syncedAt: number | undefined;
  /** A snapshot is awaited. */
  syncing: boolean;
  host: string;
  agents: AgentView[];
  folders: string[];
  threads: Map<string, ThreadView>;
  requests: Map<string, RequestView>;
  unknown: Map<string, CommandView>;
  conversations: Map<string, Conversation>;
  sent: Map<string, Sent>;
  notice: string | undefined;
}

type Resolve = (outcome: CommandOutcome) => void;

export class App {
  state: State;
  private readonly client: Client;
  private readonly listeners = new Set<() => void>();
  private readonly results = new Map<string, Resolve>();
  /** Commands for which the outbox has no room yet, oldest first. */
  private held: CommandRequest[] = [];
  private readonly snapshots = new Resync<SnapshotBody>();
  private snapshotTimer: ReturnType<typeof setTimeout> | undefined;
  /** All that was stored before this connection is here. */
  private isLive = false;
  private scheduled = false;
  private count = 0;
  /** Items of which more is asked for already. */
  private readonly fetching = new Set<string>();

  constructor(readonly profile: store.Profile) {
    this.state = {
      link: { state: 'connecting' },
      degraded: false,
      storeAway: false,
      hostConnected: false,
      hostSeenAt: undefined,
      syncedAt: undefined,
      syncing: true,
      host: profile.hostName,
      agents: [],
      folders: [],
      threads: new Map(),
      requests: new Map(),
      unknown: new Map(),
      conversations: new Map(),
      sent: new Map(),
      notice: undefined,
    };
    this.client = new Client(profile, {
      link: (link) => this.change({ link }),
      welcome: (welcome) => {
        this.change({ hostConnected: welcome.hostConnected, degraded: false, storeAway: false });
        this.askAboutOld();
        this.isLive = false;
        if (this.client.position('down') === undefined) this.resync('connect', true);
        else this.askSnapshot(true);
      },
      message: (channel, at, payload) => this.message(channel, at, payload),
      volatile: (_, payload) => this.hear(payload),
      stored: (payloads) => payloads.forEach((payload) => this.reached(payload, 'sent')),
      applied: (payloads) => payloads.forEach((payload) => this.reached(payload, 'desktop')),
      room: () => this.pushHeld(),
      lost: (payloads) => payloads.forEach((payload) => this.lost(payload)),
      givenUp: (messages) => messages.forEach((message) => this.givenUp(message)),
      frame: (frame) => this.frame(frame),
    });
  }

  async start(): Promise<void> {
    const inOutbox = new Set((await this.client.load()).map(commandOf));
    for (const kept of await store.keptCommands()) this.resume(kept, inOutbox.has(kept.request.id));
    // Nobody waits any more for what the page before this one asked.
    this.client.takeBack((payload) => (isQuestion(commandOf(payload)) ? payload : undefined));
    this.client.start();
  }

  stop(): void {
    this.client.stop();
    clearTimeout(this.snapshotTimer);
  }

  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Tries the connection at once. */
  retry(): void {
    this.client.probe();
  }

  /** Asks the desktop for its full state. */
  resync(reason: string, isNew: boolean): void {
    const asks = this.snapshots.begin(hex(random(8)), reason, this.client.position('down'), isNew);
    this.change({ syncing: true });
    if (asks) this.askSnapshot(true);
  }

  private askSnapshot(isBack: boolean): void {
    clearTimeout(this.snapshotTimer);
    const request = this.snapshots.ask(isBack);
    if (!request) return;
    const { id, reason, again } = request;
    this.client.control({ k: 'snapshot', id, reason });
    this.snapshotTimer = setTimeout(() => this.askSnapshot(false), again);
  }

  /** Opens a conversation: its last page, and the thread loaded in its agent. */
  async open(thread: string): Promise<void> {
    const known = this.state.conversations.get(thread);
    if (known?.loading) return;
    this.conversation(thread, (c) => ({ ...c, loading: true }));
    // Whoever asks again after a gap goes on with it.
    if (!(await this.readPage(thread))) return;
    const view = this.state.threads.get(thread);
    if (view?.status === 'stored' && this.state.conversations.get(thread)?.items.size === 0) {
      // Only its agent has it: the desktop reads it from there.
      const outcome = await this.giveAndWait({ c: 'threadResume', thread });
      if (outcome.state === 'done' && !(await this.readPage(thread))) return;
    }
    await this.fill(thread);
  }

  /** False when it was given up because of a gap. */
  private async readPage(thread: string, before?: number): Promise<boolean> {
    const outcome = await this.ask({ c: 'itemPage', thread, ...(before !== undefined && { before }), limit: PAGE });
    if (outcome.state === 'unknown') return false;
    if (outcome.state === 'failed') this.change({ notice: outcome.text });
    this.takePage(thread, outcome);
    return true;
  }

  /** Reads threads that are older than those that are here; false when there are no more. */
  async olderThreads(): Promise<boolean> {
    const before = Math.min(...Array.from(this.state.threads.values(), (t) => t.updatedAt));
    const outcome = await this.ask({ c: 'threadList', before, limit: PAGE });
    const page = outcome.data as { threads?: ThreadView[]; more?: boolean } | undefined;
    let threads = this.state.threads;
    for (const thread of page?.threads ?? []) threads = newer(threads, thread);
    this.change({ threads });
    return page?.more ?? false;
  }

  /** Reads what is missing between items that are here: places follow each other without a break. */
  private async fill(thread: string): Promise<void> {
    for (let pages = 0; pages < FILL_PAGES_MAX; pages += 1) {
      const items = this.state.conversations.get(thread)?.items ?? new Map<string, Item>();
      const before = holeBefore(items);
      if (before === undefined) return;
      if (!(await this.readPage(thread, before))) return;
    }
    // Too much is missing: what lies before it is read again when the person goes there.
    this.conversation(thread, (c) => {
      const from = holeBefore(c.items);
      if (from === undefined) return c;
      return { ...c, items: new Map([...c.items].filter(([, i]) => i.ord >= from)), more: true };
    });
  }

  async older(thread: string): Promise<void> {
    const known = this.state.conversations.get(thread);
    if (!known || known.loading || !known.more) return;
    const first = Math.min(...Array.from(known.items.values(), (i) => i.ord));
    this.conversation(thread, (c) => ({ ...c, loading: true }));
    await this.readPage(thread, first);
  }

  private takePage(thread: string, outcome: CommandOutcome): void {
    const page = outcome.data as { items?: Item[]; more?: boolean } | undefined;
    this.conversation(thread, (c) => {
      const items = new Map(c.items);
      for (const item of page?.items ?? []) put(items, item);
      const first = Math.min(...Array.from(items.values(), (i) => i.ord));
      const reachesFirst = page?.items?.some((i) => i.ord === first);
      return { items, more: reachesFirst ? (page?.more ?? false) : c.more, loaded: c.loaded || outcome.state === 'done', loading: false };
    });
  }

  /** Fetches an item whole. */
  async whole(thread: string, item: string): Promise<Item | undefined> {
    const outcome = await this.ask({ c: 'itemGet', thread, item });
    return (outcome.data as { item?: Item } | undefined)?.item;
  }

  /** Gives a command that changes something; it survives a reload until its result is here. */
  async give(command: Command): Promise<string> {
    const request = { id: `c-${hex(random(12))}`, command, at: Date.now() };
    this.mark({ ...request, mark: 'waiting' });
    try {
      await store.keepCommand({ request, n: (this.count += 1) });
    } catch {
      this.change({ notice: 'This browser could not keep what you wrote: do not close the page before it is sent.' });
    }
    this.push(request);
    return request.id;
  }

  /** Gives a command and waits for its result. */
  async giveAndWait(command: Command): Promise<CommandOutcome> {
    const id = await this.give(command);
    return new Promise((resolve) => this.results.set(id, resolve));
  }

  private ask(command: Command): Promise<CommandOutcome> {
    const request = { id: `r-${hex(random(12))}`, command, at: Date.now() };
    return new Promise((resolve) => {
      this.results.set(request.id, resolve);
      this.push(request);
    });
  }

  private push(request: CommandRequest): void {
    if (this.held.length === 0 && this.client.send(enveloped(request))) return;
    this.held.push(request);
    this.change({ notice: 'Much waits on this phone. It goes out, in order, as the desktop catches up.' });
  }

  private pushHeld(): void {
    while (this.held[0] && this.client.send(enveloped(this.held[0]))) this.held.shift();
  }

  private resume(kept: store.Kept, isInOutbox: boolean): void {
    const { request, mark, failed } = kept;
    if (failed !== undefined) return this.mark({ ...request, mark: 'failed', text: failed });
    if (mark === 'unknown') return this.mark({ ...request, mark, text: UNKNOWN });
    if (isInOutbox) return this.mark({ ...request, mark: mark ?? 'waiting' });
    // The desktop has it and runs no command twice: it is given once more for its result only.
    const isThere = mark === 'desktop';
    const asks = !isThere && !kept.confirmed && Date.now() - request.at > STALE_COMMAND_MS;
    this.mark({ ...request, mark: isThere ? mark : asks ? 'asking' : 'waiting' });
    if (!asks) this.push(request);
  }

  /** What waited on this phone for longer than an hour is not sent without asking. */
  private askAboutOld(): void {
    const isOld = (request: CommandRequest) => Date.now() - request.at > STALE_COMMAND_MS;
    const asks = this.held.filter((r) => isOld(r) && this.state.sent.has(r.id));
    asks.push(...(this.client.takeBack((payload) => this.oldCommand(payload)) as CommandRequest[]));
    this.held = this.held.filter((r) => !asks.includes(r));
    for (const request of asks) this.mark({ ...request, mark: 'asking' });
  }

  private oldCommand(payload: unknown): CommandRequest | undefined {
    const sent = this.state.sent.get(commandOf(payload));
    if (sent?.mark !== 'waiting' || Date.now() - sent.at <= STALE_COMMAND_MS) return undefined;
    return { id: sent.id, command: sent.command, at: sent.at };
  }

  /** Gives a command that was refused once more. */
  async again(id: string): Promise<void> {
    const sent = this.state.sent.get(id);
    if (!sent) return;
    await this.forget(id);
    await this.give(sent.command);
  }

  /** The person has seen that it was not done. */
  async forget(id: string): Promise<void> {
    await store.dropCommand(id);
    this.change({ sent: without(this.state.sent, id) });
  }

  /** A person decided about a command that is older than an hour, or unknown; it keeps its id, so it is run
   *  at most once. */
  async sendLate(id: string, yes: boolean): Promise<void> {
    const sent = this.state.sent.get(id);
    if (!sent) return;
    const request = { id, command: sent.command, at: sent.at };
    if (yes) {
      await store.keepCommand({ request, confirmed: true });
      this.mark({ ...sent, mark: 'waiting' });
      this.push(request);
    } else {
      await this.forget(id);
    }
  }

  private reached(payload: unknown, mark: 'sent' | 'desktop'): void {
    const sent = this.state.sent.get(commandOf(payload));
    if (sent?.mark !== 'waiting' && (sent?.mark !== 'sent' || mark === 'sent')) return;
    this.mark({ ...sent, mark });
    // Where it is not kept, a reload claims less than is true.
    store.markCommand(sent.id, mark).catch(() => {});
  }

  private givenUp({ payload, isUnknown }: GivenUp): void {
    const id = commandOf(payload);
    // A question without an answer has failed, whether it arrived or not.
    const asks = isUnknown && !isQuestion(id);
    this.result({ id, state: asks ? 'unknown' : 'failed', text: isUnknown ? UNKNOWN : 'the relay refused it' });
    if (asks) store.markCommand(id, 'unknown').catch(() => {});
  }

  private lost(payload: unknown): void {
    const text = 'it waited too long for the desktop and was given up';
    this.result({ id: commandOf(payload), state: 'failed', text });
  }

  private frame(frame: Frame): void {
    switch (frame.k) {
      case 'presence':
        if (frame.hostConnected && !this.state.hostConnected) this.askSnapshot(true);
        this.change({ hostConnected: frame.hostConnected, hostSeenAt: frame.hostSeenAt });
        return;
      case 'gap':
        if (frame.ch === 'down') this.resync(`gap:${frame.reason}`, false);
        // What is missing of our own channel may be the answer; one that was asked for at the welcome is yet to come.
        else if (this.isLive) this.askSnapshot(true);
        this.askAgain(frame.ch);
        return;
      case 'epoch':
        if (frame.ch === 'down') this.resync('desktop_restarted', true);
        this.askAgain(frame.ch);
        return;
      case 'live':
        this.isLive = true;
        return;
      case 'notice':
        if (frame.code === 'degraded' || frame.code === 'recovered') this.change({ degraded: frame.code === 'degraded' });
        else if (frame.code === 'store_away' || frame.code === 'store_back') this.change({ storeAway: frame.code === 'store_away' });
        else this.change({ notice: frame.text });
        return;
      default:
    }
  }

  /** After a gap, pages may miss items (`down`), or results may be gone (our own channel): they are
   *  asked for once more. The desktop runs no command twice. */
  private askAgain(channel: string): void {
    if (channel === 'down') return this.readAgain();
    for (const [id, resolve] of this.results) {
      if (!isQuestion(id)) continue;
      this.results.delete(id);
      resolve({ id, state: 'unknown' });
    }
    for (const sent of this.state.sent.values()) {
      const open = sent.mark === 'sent' || sent.mark === 'desktop';
      if (open) this.push({ id: sent.id, command: sent.command, at: sent.at });
    }
    this.readAgain();
  }

  private readAgain(): void {
    for (const id of this.state.conversations.keys()) {
      this.conversation(id, (c) => ({ ...c, loading: false }));
      void this.open(id);
    }
  }

  private message(channel: string, at: Position, payload: unknown): void {
    const isKept = channel !== 'down' || this.snapshots.keep(at, payload);
    this.hear(payload);
    if (!isKept) this.resync('too much came meanwhile', false);
  }

  private hear(payload: unknown): void {
    const envelope = payload as Envelope;
    if (envelope.v !== 1 || envelope.ke !== 0) {
      return this.change({ notice: 'The desktop runs a newer Belay. Reload this page.' });
    }
    const body = envelope.b as FromHost;
    this.state.syncedAt = Date.now();
    switch (body.t) {
      case 'agent':
        return this.change({ agents: upsert(this.state.agents, body.agent) });
      case 'thread':
        return this.change({ threads: newer(this.state.threads, body.thread) });
      case 'request':
        return this.change({ requests: newer(this.state.requests, body.request) });
      case 'item':
        return this.item(body.thread, body.item);
      case 'delta':
        return this.delta(body.thread, body.item, body.offset, body.text);
      case 'command':
        return this.commandKnown(body.command);
      case 'result':
        return this.result(body.outcome);
      case 'snapshot':
        return this.snapshot(body);
    }
  }

  private snapshot(part: Part<SnapshotBody>): void {
    const whole = this.snapshots.take(part);
    // Of an early answer the last part is enough to ask again.
    if (whole === 'early') return part.part === part.parts ? this.askSnapshot(true) : undefined;
    if (!whole) return;
    clearTimeout(this.snapshotTimer);
    // It comes, however slowly: asking again would make it begin again.
    if (whole === 'more') return void (this.snapshotTimer = setTimeout(() => this.askSnapshot(true), PART_MS));
    this.replace(joined(whole.bodies));
    whole.after.forEach((payload) => this.hear(payload));
  }

  private replace(body: SnapshotBody): void {
    // What the desktop no longer names is gone; what is newer here came after it.
    const oldest = Math.min(...body.threads.map((t) => t.updatedAt));
    const threads = renewed(this.state.threads, body.threads, (t) => t.updatedAt < oldest);
    const requests = renewed(this.state.requests, body.requests, () => false);
    this.change({
      host: body.host,
      agents: body.agents,
      folders: body.folders,
      threads,
      requests,
      unknown: new Map(body.commands.map((c) => [c.id, c])),
      syncing: false,
    });
  }

  private item(thread: string, item: Item): void {
    if (!this.state.conversations.has(thread)) return this.change({});
    this.conversation(thread, (c) => {
      // One from before what is loaded comes with its page.
      const early = c.more && !c.items.has(item.id) && [...c.items.values()].every((i) => i.ord > item.ord);
      if (early) return c;
      const items = new Map(c.items);
      put(items, item);
      return { ...c, items };
    });
  }

  private delta(thread: string, id: string, offset: number, text: string): void {
    const item = this.state.conversations.get(thread)?.items.get(id);
    const body = item?.body;
    if (!item || !body || (body.kind !== 'message' && body.kind !== 'reasoning')) return;
    // One that does not fit is ignored: the next durable upsert brings the whole text.
    if (body.text.length < offset) return this.fetch(thread, id);
    if (body.text.length >= offset + text.length) return;
    const grown = { ...item, body: { ...body, text: body.text.slice(0, offset) + text } };
    this.conversation(thread, (c) => ({ ...c, items: new Map(c.items).set(id, grown) }));
  }

  /** A text has a hole: the item is asked for whole, once at a time. */
  private fetch(thread: string, id: string): void {
    if (this.fetching.has(id)) return;
    this.fetching.add(id);
    void this.whole(thread, id).then((item) => {
      this.fetching.delete(id);
      if (item) this.item(thread, item);
    });
  }

  private commandKnown(view: CommandView): void {
    const unknown = new Map(this.state.unknown);
    if (view.unknown) unknown.set(view.id, view);
    else unknown.delete(view.id);
    this.change({ unknown });
    const sent = this.state.sent.get(view.id);
    // A person decided about it, and the desktop does what was decided.
    if (!view.unknown && sent?.mark === 'unknown') this.mark({ id: sent.id, command: sent.command, at: sent.at, mark: 'desktop' });
  }

  private result(outcome: CommandOutcome): void {
    const resolve = this.results.get(outcome.id);
    this.results.delete(outcome.id);
    resolve?.(outcome);
    const sent = this.state.sent.get(outcome.id);
    if (!sent) return;
    const mark = outcome.state;
    const prompt = sent.command.c === 'turnStart';
    if (mark === 'failed' && prompt) {
      const { id, command, at } = sent;
      void store.keepCommand({ request: { id, command, at }, failed: outcome.text ?? 'it was not done' });
    } else if (mark !== 'unknown') {
      void store.dropCommand(outcome.id);
    }
    // A prompt says so itself, and who waits for a result is told.
    if (mark === 'failed' && !prompt && !resolve) this.change({ notice: `Not done: ${outcome.text ?? 'the desktop refused'}` });
    this.mark(outcome.text === undefined ? { ...sent, mark } : { ...sent, mark, text: outcome.text });
  }

  private mark(sent: Sent): void {
    this.change({ sent: new Map(this.state.sent).set(sent.id, sent) });
  }

  /** Shows a message until it is dismissed. */
  tell(notice: string): void {
    this.change({ notice });
  }

  dismiss(): void {
    this.change({ notice: undefined });
  }

  private conversation(thread: string, change: (c: Conversation) => Conversation): void {
    const known = this.state.conversations.get(thread);
    const now = known ?? { items: new Map(), more: false, loaded: false, loading: false };
    this.change({ conversations: new Map(this.state.conversations).set(thread, change(now)) });
  }

  private change(part: Partial<State>): void {
    this.state = { ...this.state, ...part };
    if (this.scheduled) return;
    this.scheduled = true;
    // One rendering for all that arrives together.
    queueMicrotask(() => {
      this.scheduled = false;
      for (const listener of this.listeners) listener();
    });
  }
}

/** The place after the last hole, if there is one. */
export function holeBefore(items: Map<string, Item>): number | undefined {
  const places = Array.from(items.values(), (i) => i.ord).toSorted((a, b) => b - a);
  return places.find((place, at) => at + 1 < places.length && places[at + 1] !== place - 1);
}

/** It only asks, and is not kept over a reload. */
const isQuestion = (id: string) => id.startsWith('r-');

const enveloped = (request: CommandRequest): Envelope => ({ v: 1, ke: 0, b: { t: 'command', command: request } });

function commandOf(payload: unknown): string {
  const body = (payload as Envelope).b as { command?: { id: string } } | undefined;
  return body?.command?.id ?? '';
}

/** Upserts by id; the higher revision wins. */
function newer<T extends { id: string; rev: number }>(map: Map<string, T>, value: T): Map<string, T> {
  const held = map.get(value.id);
  return held && held.rev >= value.rev ? map : new Map(map).set(value.id, value);
}

/** What a snapshot names, in its newer copy (of two that are as new the one that is here, which may be longer),
 *  what came after it, and what lies beyond it. */
export function renewed<T extends { id: string; rev: number }>(map: Map<string, T>, values: T[], isBeyond: (value: T) => boolean): Map<string, T> {
  const top = Math.max(0, ...values.map((v) => v.rev));
  const named = new Map(values.map((v) => [v.id, v]));
  const kept = [...map.values()].filter((v) => {
    const other = named.get(v.id);
    return other ? v.rev >= other.rev : v.rev > top || isBeyond(v);
  });
  return new Map([...named, ...kept.map((v) => [v.id, v] as const)]);
}

/** The parts of a snapshot as one. */
function joined(bodies: SnapshotBody[]): SnapshotBody {
  return bodies.reduce((a, b) => ({
    ...a,
    agents: [...a.agents, ...b.agents],
    folders: [...a.folders, ...b.folders],
    threads: [...a.threads, ...b.threads],
    requests: [...a.requests, ...b.requests],
    commands: [...a.commands, ...b.commands],
  }));
}

function put(items: Map<string, Item>, item: Item): void {
  const held = items.get(item.id);
  if (!held || held.rev <= item.rev) items.set(item.id, item);
}

function upsert(list: AgentView[], agent: AgentView): AgentView[] {
  const rest = list.filter((a) => a.id !== agent.id);
  return [...rest, agent].toSorted((a, b) => a.id.localeCompare(b.id));
}

function without<T>(map: Map<string, T>, id: string): Map<string, T> {
  const copy = new Map(map);
  copy.delete(id);
  return copy;
}
