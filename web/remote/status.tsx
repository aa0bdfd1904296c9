import { useState } from 'preact/hooks';
import type { App, State } from './app';
import { ago, useNow } from './hooks';

/** Nothing of the desktop for this long, while it should be there, counts as stale. */
const STALE_MS = 90_000;

export type Health = 'good' | 'trying' | 'bad';

interface Hop {
  name: string;
  health: Health;
  text: string;
}

function hops(state: State, now: number): Hop[] {
  const { link } = state;
  const relay: Hop =
    link.state === 'online'
      ? state.degraded
        ? { name: 'Relay', health: 'bad', text: 'connected, but it cannot store messages now: its disk or message server is full or does not answer. What you write waits on this phone.' }
        : state.storeAway
          ? { name: 'Relay', health: 'trying', text: 'connected, but it does not reach its store: messages pass; pairing and removing devices wait' }
          : { name: 'Relay', health: 'good', text: 'connected' }
      : link.state === 'waiting'
        ? { name: 'Relay', health: 'bad', text: `${link.reason} Last heard ${ago(state.syncedAt, now)}.` }
        : { name: 'Relay', health: 'trying', text: 'connecting' };
  const reachable = link.state === 'online';
  const desktop: Hop = !reachable
    ? { name: 'Desktop', health: 'trying', text: `last seen ${ago(state.syncedAt, now)}` }
    : state.hostConnected
      ? { name: 'Desktop', health: 'good', text: 'connected' }
      : { name: 'Desktop', health: 'bad', text: `away, last seen ${ago(state.hostSeenAt, now)}` };
  const agent = state.agents.find((a) => a.state !== 'ready') ?? state.agents[0];
  const agentHop: Hop = !agent
    ? { name: 'Agent', health: 'trying', text: 'unknown' }
    : !reachable || !state.hostConnected
      ? { name: 'Agent', health: 'trying', text: `${agent.name}, last known ${ago(Math.max(agent.seenAt ?? 0, state.syncedAt ?? 0) || undefined, now)}` }
      : agent.state === 'ready'
        ? { name: 'Agent', health: 'good', text: `${agent.name} ${agent.version}` }
        : { name: 'Agent', health: agent.state === 'starting' ? 'trying' : 'bad', text: agent.text ? `${agent.name} ${agent.state}: ${agent.text}` : `${agent.name} ${agent.state}` };
  return [relay, desktop, agentHop];
}

/** Nothing of the desktop for long, although a hop is not well. */
export function isStale(health: string[], syncedAt: number | undefined, now: number): boolean {
  return syncedAt !== undefined && health.some((h) => h !== 'good') && now - syncedAt > STALE_MS;
}

export function StatusBar({ app, state }: { app: App; state: State }) {
  const now = useNow(1000);
  const [told, setTold] = useState<string>();
  const all = hops(state, now);
  const trouble = all.find((h) => h.health === 'bad');
  const well = all.every((h) => h.health === 'good');
  const stale = isStale(all.map((h) => h.health), state.syncedAt, now);
  const next = state.link.state === 'waiting' ? Math.max(0, Math.ceil((state.link.until - now) / 1000)) : undefined;
  const shown = all.find((h) => h.name === told && h !== trouble);
  return (
    <section class="status" aria-label="Connection">
      <div class="line">
        <ul class="hops">
          {all.map((hop) => (
            <li>
              <button class={`hop ${hop.health}`} aria-expanded={told === hop.name} onClick={() => setTold(told === hop.name ? undefined : hop.name)}>
                <span class="dot" aria-hidden="true" />
                {hop.name}
                <span class="sr">: {hop.text}</span>
              </button>
            </li>
          ))}
        </ul>
        {well ? (
          <button class="small quiet" onClick={() => { app.retry(); app.resync('person', true); }}>Resync now</button>
        ) : (
          <button class="small" onClick={() => { app.retry(); app.resync('person', true); }}>Retry</button>
        )}
      </div>
      {shown && <p class="small muted told">{shown.name}: {shown.text}. {state.syncing ? 'Syncing…' : `Synced ${ago(state.syncedAt, now)}.`}</p>}
      {trouble && <p class="trouble" role="status">{trouble.name}: {trouble.text}</p>}
      {trouble && next !== undefined && <p class="small muted told">Next try in {next} s.</p>}
      {stale && <p class="stale small" role="status">What you see may be out of date: synced {ago(state.syncedAt, now)}.</p>}
    </section>
  );
}
