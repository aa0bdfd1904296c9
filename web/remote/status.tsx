import type { App, State } from './app';
import { ago, useNow } from './hooks';

/** Nothing of the desktop for this long, while it should be there, counts as stale. */
const STALE_MS = 90_000;

type Health = 'good' | 'trying' | 'bad';

interface Hop {
  name: string;
  health: Health;
  text: string;
}

function hops(state: State, now: number): Hop[] {
  const { link } = state;
  const relay: Hop =
    link.state === 'online'
      ? { name: 'Relay', health: 'good', text: 'connected' }
      : link.state === 'waiting'
        ? { name: 'Relay', health: 'bad', text: `${link.reason} Next try in ${Math.max(0, Math.ceil((link.until - now) / 1000))} s.` }
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
      ? { name: 'Agent', health: 'trying', text: `${agent.name}, last known ${ago(agent.seenAt, now)}` }
      : agent.state === 'ready'
        ? { name: 'Agent', health: 'good', text: `${agent.name} ${agent.version}` }
        : { name: 'Agent', health: 'bad', text: `${agent.name} ${agent.state}: ${agent.text ?? ''}` };
  return [relay, desktop, agentHop];
}

export function StatusBar({ app, state }: { app: App; state: State }) {
  const now = useNow(1000);
  const all = hops(state, now);
  const trouble = all.find((h) => h.health === 'bad');
  const stale = state.syncedAt !== undefined && !trouble && all[0]?.health !== 'good' && now - state.syncedAt > STALE_MS;
  return (
    <section class="status" aria-label="Connection">
      <ol class="hops">
        {all.map((hop) => (
          <li class={hop.health} title={hop.text}>
            <span class="dot" aria-hidden="true" />
            {hop.name}
            <span class="sr">: {hop.text}</span>
          </li>
        ))}
      </ol>
      <div class="sync">
        <span class="muted small">{state.syncing ? 'Syncing…' : `Synced ${ago(state.syncedAt, now)}`}{stale ? ' (stale)' : ''}</span>
        {trouble?.name === 'Relay' ? (
          <button class="small" onClick={() => app.retry()}>Retry</button>
        ) : (
          <button class="small" onClick={() => { app.retry(); app.resync('person'); }} disabled={state.link.state !== 'online'}>Resync now</button>
        )}
      </div>
      {trouble && <p class="trouble" role="status">{trouble.name}: {trouble.text}</p>}
    </section>
  );
}
