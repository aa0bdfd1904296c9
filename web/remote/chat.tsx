import { Fragment } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { Item, RequestView } from '../sdk/wire';
import type { App, Sent, State } from './app';
import { Composer } from './composer';
import { folderName } from './home';
import { ItemView } from './item';
import { RequestCard } from './request';
import { StatusBar } from './status';
import { UnknownCommands } from './unknown';

interface Props {
  app: App;
  state: State;
  thread: string;
  onBack: () => void;
}

/** Prompts of this phone that the desktop has not put into the thread yet. */
function pendingPrompts(state: State, thread: string, items: Item[]): Sent[] {
  const shown = new Set(items.map((i) => (i.body.kind === 'user' ? i.body.command : undefined)));
  return [...state.sent.values()].filter(
    (s) => s.command.c === 'turnStart' && s.command.thread === thread && !shown.has(s.id) && s.mark !== 'done' && !state.unknown.has(s.id),
  );
}

export function Chat({ app, state, thread, onBack }: Props) {
  const view = state.threads.get(thread);
  const conversation = state.conversations.get(thread);
  const items = [...(conversation?.items.values() ?? [])].toSorted((a, b) => a.ord - b.ord);
  const requests = [...state.requests.values()].filter((r) => r.thread === thread);
  const open = requests.filter((r) => r.state === 'open' || r.state === 'answered').toSorted((a, b) => a.askedAt - b.askedAt);
  const over = requests.filter((r) => r.state === 'void' || (r.state === 'resolved' && r.answer));
  const scroller = useRef<HTMLDivElement>(null);
  const [atEnd, setAtEnd] = useState(true);
  const last = items.at(-1);
  const lastLength = JSON.stringify(last?.body)?.length;

  const heading = useRef<HTMLHeadingElement>(null);
  const agentName = state.agents.find((a) => a.id === view?.agent)?.name ?? view?.agent;

  useEffect(() => void app.open(thread), [app, thread]);
  useEffect(() => heading.current?.focus(), [thread]);
  // Follow the end while the person is there.
  useLayoutEffect(() => {
    const box = scroller.current;
    if (box && atEnd) box.scrollTop = box.scrollHeight;
  }, [items.length, last?.rev, lastLength, open.length, atEnd, state.sent.size]);

  // A smaller window, or a line of trouble above, takes rows away below: the end stays in sight.
  const following = useRef(true);
  following.current = atEnd;
  useEffect(() => {
    const box = scroller.current;
    if (!box) return undefined;
    const watcher = new ResizeObserver(() => {
      if (following.current) box.scrollTop = box.scrollHeight;
    });
    watcher.observe(box);
    return () => watcher.disconnect();
  }, []);

  const lastTop = useRef(0);
  const onScroll = () => {
    const box = scroller.current;
    if (!box) return;
    const isUp = box.scrollTop < lastTop.current;
    lastTop.current = box.scrollTop;
    if (box.scrollHeight - box.scrollTop - box.clientHeight < 48) setAtEnd(true);
    // Only a person scrolls up; growth and a smaller box leave the place as it is.
    else if (isUp) setAtEnd(false);
  };
  const older = async () => {
    const box = scroller.current;
    const before = box ? box.scrollHeight - box.scrollTop : 0;
    setAtEnd(false);
    await app.older(thread);
    requestAnimationFrame(() => box && (box.scrollTop = box.scrollHeight - before));
  };
  const working = view?.status === 'running' || view?.status === 'waiting';

  return (
    <main class="chat">
      <header class="bar">
        <button class="back" onClick={onBack} aria-label="Back to the threads">‹</button>
        <div class="heading">
          <h1 ref={heading} tabIndex={-1}>{view?.title || 'Thread'}</h1>
          <p class="muted small">{view ? `${agentName} · ${folderName(view.folder)}` : ''}</p>
        </div>
        <ThreadMenu app={app} thread={thread} title={view?.title ?? ''} onArchived={onBack} />
      </header>
      <div class="narrow-only"><StatusBar app={app} state={state} /></div>
      <div class="items" ref={scroller} onScroll={onScroll} tabIndex={0} role="log" aria-label="Conversation" aria-busy={conversation?.loading}>
        {conversation?.more && <button class="small older" onClick={() => void older()} disabled={conversation.loading}>Older</button>}
        {!conversation?.loaded && items.length === 0 && <p class="muted empty">{conversation?.loading === false ? 'Not loaded: the desktop did not answer. Resync to try again.' : 'Loading from the desktop…'}</p>}
        {items.map((item) => (
          <Fragment key={item.id}>
            <ItemView app={app} thread={thread} item={item} sent={sentOf(state, item)} asked={open.some((r) => r.item === item.id)} />
            {over.filter((r) => placeOf(r, items) === item).map((r) => <RequestCard key={r.id} app={app} state={state} request={r} />)}
          </Fragment>
        ))}
        {pendingPrompts(state, thread, items).map((sent) => <Waiting key={sent.id} app={app} sent={sent} />)}
        <UnknownCommands app={app} state={state} thread={thread} />
        {open.map((request) => <RequestCard key={request.id} app={app} state={state} request={request} />)}
        {view?.status === 'failed' && <p class="error" role="alert">The turn failed: {view.error}</p>}
        {working && <p class="working" role="status">{view?.status === 'waiting' ? 'Waiting for your answer' : 'Working…'}</p>}
      </div>
      {!atEnd && <button class="to-end small" onClick={() => setAtEnd(true)}>↓ Newest</button>}
      <Composer app={app} thread={thread} working={working} onSend={() => setAtEnd(true)} />
    </main>
  );
}

/** After which item a request stands that is over: its own, or the last one before it was asked. */
function placeOf(request: RequestView, items: Item[]): Item | undefined {
  return items.find((i) => i.id === request.item) ?? items.findLast((i) => i.at <= request.askedAt);
}

function sentOf(state: State, item: Item): Sent | undefined {
  return item.body.kind === 'user' && item.body.command ? state.sent.get(item.body.command) : undefined;
}

const MARKS: Record<Sent['mark'], string> = {
  waiting: '◷ on this phone', asking: '', sent: '✓ at the relay', desktop: '✓✓ at the desktop', done: '✓✓ with the agent', failed: '✕ not done', unknown: '? unknown', dropped: '✕ given up',
};

function Waiting({ app, sent }: { app: App; sent: Sent }) {
  const text = sent.command.c === 'turnStart' ? sent.command.text : '';
  return (
    <article class="bubble user">
      <p class="plain">{text}</p>
      {sent.mark === 'asking' ? (
        <div class="row">
          <span class="small">Written {new Date(sent.at).toLocaleString()}. Send it now?</span>
          <button class="small" onClick={() => void app.sendLate(sent.id, false)}>Drop</button>
          <button class="small primary" onClick={() => void app.sendLate(sent.id, true)}>Send</button>
        </div>
      ) : (
        <p class="mark small">{MARKS[sent.mark]}{sent.text ? `: ${sent.text}` : ''}</p>
      )}
      {sent.mark === 'unknown' && (
        <div class="row">
          <button class="small" onClick={() => void app.sendLate(sent.id, false)}>Drop</button>
          <button class="small primary" onClick={() => void app.sendLate(sent.id, true)}>Send again</button>
        </div>
      )}
      {sent.mark === 'failed' && (
        <div class="row">
          <button class="small" onClick={() => void app.forget(sent.id)}>Remove</button>
          <button class="small primary" onClick={() => void app.again(sent.id)}>Send again</button>
        </div>
      )}
    </article>
  );
}

function ThreadMenu({ app, thread, title, onArchived }: { app: App; thread: string; title: string; onArchived: () => void }) {
  const rename = () => {
    const next = prompt('New title', title)?.trim();
    if (next) void app.give({ c: 'threadRename', thread, title: next });
  };
  const archive = () => {
    if (!confirm('Archive this thread?')) return;
    void app.give({ c: 'threadArchive', thread });
    onArchived();
  };
  const menu = useRef<HTMLDetailsElement>(null);
  const close = () => menu.current?.removeAttribute('open');
  const choose = (act: () => void) => {
    close();
    act();
  };
  useEffect(() => {
    const outside = (event: Event) => menu.current?.contains(event.target as Node) || close();
    const escape = (event: KeyboardEvent) => event.key === 'Escape' && close();
    addEventListener('pointerdown', outside);
    addEventListener('keydown', escape);
    return () => {
      removeEventListener('pointerdown', outside);
      removeEventListener('keydown', escape);
    };
  }, []);
  return (
    <details class="menu" ref={menu}>
      <summary aria-label="More about this thread">⋯</summary>
      <div>
        <button onClick={() => choose(rename)}>Rename</button>
        <button onClick={() => choose(() => void app.give({ c: 'threadResume', thread }))}>Load in the agent</button>
        <button onClick={() => choose(archive)}>Archive</button>
      </div>
    </details>
  );
}
