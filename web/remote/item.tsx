import { useState } from 'preact/hooks';
import type { FileChange, Item, ItemBody, Progress } from '../sdk/wire';
import type { App, Sent } from './app';
import { Markdown } from './markdown';

const COLLAPSED_LINES = 8;

const PROGRESS: Record<Progress, string> = { running: 'running', completed: 'done', failed: 'failed', declined: 'declined' };

interface Props {
  app: App;
  thread: string;
  item: Item;
  sent: Sent | undefined;
}

export function ItemView({ app, thread, item, sent }: Props) {
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
      return <CommandItem app={app} thread={thread} id={item.id} body={body} />;
    case 'fileChange':
      return (
        <article class="card" aria-label="File change">
          <p class="head"><span>Files</span><Tag progress={body.progress} /></p>
          {body.changes.map((c) => <Change change={c} />)}
        </article>
      );
    case 'tool':
      return (
        <article class="card" aria-label="Tool">
          <p class="head"><span>{body.title}</span><Tag progress={body.progress} /></p>
          {body.text && <Output text={body.text} total={body.text.length} />}
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

function CommandItem({ app, thread, id, body }: { app: App; thread: string; id: string; body: ItemBody & { kind: 'command' } }) {
  return (
    <article class="card" aria-label="Command">
      <p class="head"><code class="cmd">{body.command}</code><Tag progress={body.progress} code={body.exitCode} /></p>
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
  const [all, setAll] = useState<string>();
  const lines = text.split('\n');
  const cut = lines.length > COLLAPSED_LINES + 2 || total > text.length + 4;
  if (all !== undefined) return <pre class="output" tabIndex={0}>{all}</pre>;
  const shown = cut ? lines.slice(-COLLAPSED_LINES).join('\n') : text;
  return (
    <>
      <pre class="output" tabIndex={0}>{shown}</pre>
      {cut && (
        <button class="small" onClick={() => void (whole?.() ?? Promise.resolve(text)).then((t) => setAll(t ?? text))}>Show all</button>
      )}
    </>
  );
}

export function Change({ change }: { change: FileChange }) {
  const lines = change.diff.replace(/\n$/, '').split('\n');
  const tone = (line: string) =>
    line.startsWith('@@') ? 'hunk' : line.startsWith('+') ? 'add' : line.startsWith('-') ? 'del' : '';
  const raw = !lines.some((l) => l.startsWith('@@'));
  const whole = change.change === 'add' ? 'add' : change.change === 'delete' ? 'del' : '';
  return (
    <details class="change" open={lines.length <= 40}>
      <summary><span class="tag">{change.change}</span> <code>{change.path}</code></summary>
      <pre class="diff" tabIndex={0}>
        {lines.map((line) => <span class={raw ? whole : tone(line)}>{line || ' '}{'\n'}</span>)}
      </pre>
    </details>
  );
}

function Tag({ progress, code }: { progress: Progress; code?: number | undefined }) {
  const text = code !== undefined && code !== 0 ? `exit ${code}` : PROGRESS[progress];
  return <span class={`tag ${progress}`}>{text}</span>;
}
