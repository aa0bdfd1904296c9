import { useEffect, useRef, useState } from 'preact/hooks';
import { utf8 } from '../sdk/bytes';
import type { FileChange, Item, ItemBody, Progress } from '../sdk/wire';
import type { App, Sent } from './app';
import { Markdown } from './markdown';
import { visible } from './visible';

const COLLAPSED_LINES = 8;
/** What the desktop writes where it cut a diff. */
const CUT = '[cut here; the whole diff is on the desktop]';

const PROGRESS: Record<Progress, string> = { running: 'running', completed: 'done', failed: 'failed', declined: 'declined' };

interface Props {
  app: App;
  thread: string;
  item: Item;
  sent: Sent | undefined;
  /** It waits for a person's answer. */
  asked: boolean;
}

export function ItemView({ app, thread, item, sent, asked }: Props) {
  const { body } = item;
  switch (body.kind) {
    case 'user':
      return (
        <article class="bubble user" aria-label="You">
          <p class="plain">{body.text}</p>
          <p class="mark small">{sent && sent.mark !== 'done' ? '✓ at the desktop' : '✓✓ with the agent'}</p>
        </article>
      );
    case 'message':
      return (
        <article class="bubble agent" aria-label="Agent" aria-busy={!body.done}>
          <Markdown text={body.text} />
          {!body.done && <span class="cursor" aria-hidden="true" />}
        </article>
      );
    case 'reasoning':
      return <details class="card quiet"><summary>Reasoning</summary><Markdown text={body.text} /></details>;
    case 'plan':
      return (
        <article class="card quiet" aria-label="Plan">
          <h3>Plan</h3>
          <ul class="plan">{body.steps.map((s) => <li class={s.status}>{s.text} <span class="muted small">{s.status}</span></li>)}</ul>
        </article>
      );
    case 'command':
      return <CommandItem app={app} thread={thread} id={item.id} body={body} asked={asked} />;
    case 'fileChange':
      return (
        <article class="card" aria-label="File change">
          <p class="head"><span>Files</span><Tag progress={body.progress} asked={asked} /></p>
          {body.changes.map((c, at) => (
            <Change change={c} whole={async () => {
              const whole = await app.whole(thread, item.id);
              return whole?.body.kind === 'fileChange' ? whole.body.changes[at] : undefined;
            }} />
          ))}
        </article>
      );
    case 'tool':
      return (
        <article class="card" aria-label="Tool">
          <p class="head"><span>{body.title}</span><Tag progress={body.progress} /></p>
          {body.text && <Output text={body.text} total={0} />}
        </article>
      );
    case 'notice':
      return <p class="notice small">{body.text}</p>;
    case 'other':
      return (
        <details class="card quiet">
          <summary>{body.name}</summary>
          <pre tabIndex={0}>{JSON.stringify(body.value, null, 2)}</pre>
        </details>
      );
  }
}

function CommandItem({ app, thread, id, body, asked }: { app: App; thread: string; id: string; body: ItemBody & { kind: 'command' }; asked: boolean }) {
  return (
    <article class="card" aria-label="Command">
      <p class="head"><code class="cmd">{visible(body.command)}</code><Tag progress={body.progress} code={body.exitCode} asked={asked} /></p>
      {body.output && (
        <Output text={body.output} total={body.outputBytes} whole={async () => {
          const item = await app.whole(thread, id);
          return item?.body.kind === 'command' ? item.body.output : undefined;
        }} />
      )}
    </article>
  );
}

/** The end of a long output, and all of it on demand. */
function Output({ text, total, whole }: { text: string; total: number; whole?: () => Promise<string | undefined> }) {
  const [open, setOpen] = useState(false);
  const [all, setAll] = useState<string>();
  const lines = text.split('\n');
  const cut = lines.length > COLLAPSED_LINES + 2 || total > utf8(text).length;
  const shown = open ? (all ?? text) : cut ? lines.slice(-COLLAPSED_LINES).join('\n') : text;
  const read = useRef(whole);
  read.current = whole;
  // What grows while all of it is shown is read again.
  useEffect(() => {
    if (open) void read.current?.().then(setAll);
  }, [open, text]);
  return (
    <>
      <pre class="output" tabIndex={0}>{shown}</pre>
      {cut && (
        <button class="small" onClick={() => setOpen(!open)}>{open ? 'Show less' : 'Show all'}</button>
      )}
    </>
  );
}

export function Change({ change: given, whole: fetch }: { change: FileChange; whole?: () => Promise<FileChange | undefined> }) {
  const [fetched, setFetched] = useState<FileChange>();
  const change = fetched ?? given;
  const isCut = fetch && !fetched && given.diff.includes(CUT);
  const lines = change.diff.replace(/\n$/, '').split('\n');
  const tone = (line: string) =>
    line.startsWith('@@') ? 'hunk' : line.startsWith('+') ? 'add' : line.startsWith('-') ? 'del' : '';
  const raw = !lines.some((l) => l.startsWith('@@'));
  const whole = change.change === 'add' ? 'add' : change.change === 'delete' ? 'del' : '';
  return (
    <details class="change" open={lines.length <= 40}>
      <summary><span class="tag">{change.change}</span> <code>{visible(change.path)}</code></summary>
      <pre class="diff" tabIndex={0}>
        {lines.map((line) => <span class={raw ? whole : tone(line)}>{visible(line) || ' '}{'\n'}</span>)}
      </pre>
      {isCut && <button class="small" onClick={() => void fetch().then(setFetched)}>Show all</button>}
    </details>
  );
}

function Tag({ progress, code, asked }: { progress: Progress; code?: number | undefined; asked?: boolean }) {
  if (asked && progress === 'running') return <span class="tag waiting">asks you</span>;
  const text = code !== undefined && code !== 0 ? `exit ${code}` : PROGRESS[progress];
  return <span class={`tag ${progress}`}>{text}</span>;
}
