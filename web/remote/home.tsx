import { useEffect, useState } from 'preact/hooks';
import type { ThreadView } from '../sdk/wire';
import type { App, State } from './app';
import { Chat } from './chat';
import { ago, useApp, useNow } from './hooks';
import { NewThread } from './new-thread';
import { StatusBar } from './status';
import { UnknownCommands } from './unknown';

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
        <ThreadList state={state} current={thread} onOpen={open} />
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
          onMade={(id) => { setMaking(false); open(id); }} />
      )}
      {state.notice && (
        <div class="toast" role="status">{state.notice}<button class="small" onClick={() => app.dismiss()}>OK</button></div>
      )}
    </div>
  );
}

function ThreadList({ state, current, onOpen }: { state: State; current: string | undefined; onOpen: (id: string) => void }) {
  const now = useNow();
  const rank = (t: ThreadView) => (t.status === 'waiting' ? 1 : 0);
  const threads = [...state.threads.values()]
    .filter((t) => !t.archived)
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
                {STATUS[t.status] && <span class={`tag ${t.status}`}>{STATUS[t.status]}</span>}
                <span>{t.agent} · {folderName(t.folder)} · {ago(t.updatedAt, now)}</span>
              </span>
            </button>
          </li>
        ))}
      </ul>
    </nav>
  );
}

function Stopped({ state, onForget }: { state: State; onForget: () => Promise<void> }) {
  if (state.link.state !== 'stopped') return null;
  const { code, text } = state.link;
  const gone = code === 4403 || code === 4404 || code === 4401;
  return (
    <main class="center">
      <h1>{code === 4403 ? 'This device was removed' : 'Not connected'}</h1>
      <p role="alert">{text}</p>
      {gone ? (
        <>
          <p class="muted">On the desktop, press a in its terminal, or run <code>belay devices add</code>, then scan the code with this phone.</p>
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
