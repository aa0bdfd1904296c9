import { useEffect, useRef, useState } from 'preact/hooks';
import type { ThreadView } from '../sdk/wire';
import type { App, Sent, State } from './app';
import { Chat } from './chat';
import { ago, useApp, useNow } from './hooks';
import { NewThread } from './new-thread';
import { StatusBar } from './status';
import { UnknownCommands, inWords } from './unknown';

const STATUS: Record<ThreadView['status'], string> = {
  stored: '', idle: '', running: 'working', waiting: 'needs you', failed: 'failed',
};

export function Home({ app, onForget }: { app: App; onForget: () => Promise<void> }) {
  const state = useApp(app);
  const [thread, setThread] = useState<string | undefined>(() => history.state?.thread as string | undefined);
  const [making, setMaking] = useState(false);

  useEffect(() => {
    const onPop = (event: PopStateEvent) => setThread((event.state as { thread?: string } | null)?.thread);
    addEventListener('popstate', onPop);
    return () => removeEventListener('popstate', onPop);
  }, []);

  const isMaking = useRef(false);
  isMaking.current = making;
  const open = (id: string) => {
    history.pushState({ thread: id }, '');
    setThread(id);
  };

  if (state.link.state === 'stopped') return <Stopped state={state} onForget={onForget} />;
  return (
    <div class={`shell${thread ? ' reading' : ''}`}>
      <div class="side">
        <header class="bar">
          <h1>{state.host}</h1>
          <button class="primary small" onClick={() => setMaking(true)} disabled={state.agents.length === 0}>New thread</button>
        </header>
        <StatusBar app={app} state={state} />
        <UnknownCommands app={app} state={state} />
        <Undone app={app} state={state} />
        <ThreadList app={app} state={state} current={thread} onOpen={open} />
      </div>
      <div class="content">
        {thread ? (
          <Chat key={thread} app={app} state={state} thread={thread} onBack={() => history.back()} />
        ) : (
          <main class="center wide-only"><p class="muted">Choose a thread, or start one.</p></main>
        )}
      </div>
      {making && (
        <NewThread app={app} state={state} onClose={() => setMaking(false)}
          onMade={(id) => { if (isMaking.current) { setMaking(false); open(id); } }} />
      )}
      {state.notice && (
        <div class="toast" role="status">{state.notice}<button class="small" onClick={() => app.dismiss()}>OK</button></div>
      )}
    </div>
  );
}

/** What was written long ago or is unknown, and is not a prompt in a thread: a person decides. */
function Undone({ app, state }: { app: App; state: State }) {
  const isOpen = (s: Sent) => s.mark === 'asking' || (s.mark === 'unknown' && !state.unknown.has(s.id));
  const asking = [...state.sent.values()].filter((s) => isOpen(s) && s.command.c !== 'turnStart');
  const starting = [...state.sent.values()].filter((s) => s.command.c === 'threadStart' && ['waiting', 'sent', 'desktop'].includes(s.mark));
  return (
    <>
      {asking.map((sent) => (
        <article key={sent.id} class="card warn">
          <p>{sent.mark === 'asking' ? `Written ${new Date(sent.at).toLocaleString()} and not sent. Send it now?` : `It is not known whether this was done: ${sent.text ?? 'the desktop ended in between'}. Send it again?`}</p>
          <p class="quote">{inWords(sent.command)}</p>
          <div class="row">
            <button class="small" onClick={() => void app.sendLate(sent.id, false)}>Drop</button>
            <button class="small primary" onClick={() => void app.sendLate(sent.id, true)}>Send</button>
          </div>
        </article>
      ))}
      {starting.map((sent) => <p key={sent.id} class="muted small starting">Starting: {inWords(sent.command)}</p>)}
    </>
  );
}

function ThreadList({ app, state, current, onOpen }: { app: App; state: State; current: string | undefined; onOpen: (id: string) => void }) {
  const now = useNow();
  const [more, setMore] = useState(true);
  const needs = needsPerson(state);
  const rank = (t: ThreadView) => (needs.has(t.id) ? 1 : 0);
  const nameOf = (id: string) => state.agents.find((a) => a.id === id)?.name ?? id;
  const threads = [...state.threads.values()]
    .filter((t) => !t.archived || needs.has(t.id))
    .toSorted((a, b) => rank(b) - rank(a) || b.updatedAt - a.updatedAt);
  if (threads.length === 0) {
    const text = state.syncing ? 'Asking the desktop for its threads…' : 'No threads yet. Start one.';
    return <p class="empty muted">{text}</p>;
  }
  return (
    <nav aria-label="Threads">
      <ul class="threads">
        {threads.map((t) => (
          <li>
            <button class={`thread ${t.status}`} aria-current={t.id === current ? 'page' : undefined} onClick={() => onOpen(t.id)}>
              <span class="title">{t.title || 'Untitled'}</span>
              <span class="meta">
                {needs.has(t.id) ? <span class="tag waiting">needs you</span> : STATUS[t.status] && <span class={`tag ${t.status}`}>{STATUS[t.status]}</span>}
                <span>{nameOf(t.agent)} · {folderName(t.folder)} · {ago(t.updatedAt, now)}{t.archived ? ' · archived' : ''}</span>
              </span>
            </button>
          </li>
        ))}
      </ul>
      {more && threads.length >= 50 && (
        <button class="small older" onClick={() => void app.olderThreads().then(setMore)}>Older threads</button>
      )}
    </nav>
  );
}

/** Threads with an open request or a command that nobody knows the end of. */
function needsPerson(state: State): Set<string> {
  const open = [...state.requests.values()].filter((r) => r.state === 'open').map((r) => r.thread);
  const unknown = [...state.unknown.values()].flatMap((c) => ('thread' in c.command ? [c.command.thread] : []));
  return new Set([...open, ...unknown]);
}

const HEADINGS: Record<number, string> = { 4403: 'This device was removed', 4409: 'Belay is open in another tab' };

function Stopped({ state, onForget }: { state: State; onForget: () => Promise<void> }) {
  if (state.link.state !== 'stopped') return null;
  const { code, text } = state.link;
  const gone = code === 4403 || code === 4404 || code === 4401;
  return (
    <main class="center">
      <h1>{HEADINGS[code] ?? 'Not connected'}</h1>
      <p role="alert">{text}</p>
      {gone ? (
        <>
          <p class="muted">On the desktop, press a in its terminal, or run <code>belay devices add</code>, then scan the code with this device.</p>
          <button class="primary" onClick={() => void onForget()}>Pair again</button>
        </>
      ) : (
        <button class="primary" onClick={() => location.reload()}>Use it here</button>
      )}
    </main>
  );
}

export function folderName(path: string): string {
  return path.split('/').findLast((part) => part !== '') ?? path;
}
