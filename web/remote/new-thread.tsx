import { useEffect, useRef, useState } from 'preact/hooks';
import type { App, State } from './app';

interface Props {
  app: App;
  state: State;
  onClose: () => void;
  onMade: (thread: string) => void;
}

/** What the built-in demo answers to. */
const DEMO = ['run ls', 'edit', 'ask', 'slow'];

export function NewThread({ app, state, onClose, onMade }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [agent, setAgent] = useState(state.agents[0]?.id ?? '');
  const [folder, setFolder] = useState(state.folders[0] ?? '');
  const [below, setBelow] = useState('');
  const [prompt, setPrompt] = useState('');
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string>();
  const box = useRef<HTMLTextAreaElement>(null);
  useEffect(() => {
    dialog.current?.showModal();
    box.current?.focus();
  }, []);

  const start = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    setError(undefined);
    const text = prompt.trim();
    const outcome = await app.giveAndWait({ c: 'threadStart', agent, folder: inside(folder, below), prompt: text });
    setBusy(false);
    const made = (outcome.data as { thread?: string } | undefined)?.thread;
    if (made) {
      if (outcome.state === 'failed') {
        // The thread is there, its first prompt is not: it waits in the box.
        sessionStorage.setItem(`draft:${made}`, text);
        app.tell(`The thread was made, but not its first prompt: ${outcome.text ?? ''}`);
      }
      onMade(made);
    } else setError(outcome.text ?? 'The desktop gave no thread.');
  };

  return (
    <dialog ref={dialog} onClose={onClose} aria-labelledby="new-title">
      <form onSubmit={start} class="stack">
        <h2 id="new-title">New thread</h2>
        <label hidden={state.agents.length === 1 && state.agents[0]?.state === 'ready'}>
          Agent
          <select value={agent} onChange={(e) => setAgent(e.currentTarget.value)}>
            {state.agents.map((a) => <option value={a.id}>{a.name}{a.state === 'ready' ? '' : ` (${a.state})`}</option>)}
          </select>
        </label>
        <label hidden={state.folders.length === 1}>
          Folder
          <select value={folder} onChange={(e) => setFolder(e.currentTarget.value)}>
            {state.folders.map((f) => <option value={f}>{f}</option>)}
          </select>
        </label>
        <label>
          {state.folders.length === 1 ? `Folder inside ${state.folders[0]} (optional)` : 'Folder inside it (optional)'}
          <input value={below} onInput={(e) => setBelow(e.currentTarget.value)} spellcheck={false} autocapitalize="off" placeholder="for example packages/web" />
        </label>
        <label>
          What should it do?
          <textarea ref={box} rows={4} required value={prompt} onInput={(e) => setPrompt(e.currentTarget.value)} />
        </label>
        {agent === 'scripted' && (
          <p class="muted small">
            The demo has no model. It knows {DEMO.map((word) => <button type="button" class="small" onClick={() => setPrompt(word)}>{word}</button>)}
          </p>
        )}
        {error && <p class="error" role="alert">{error}</p>}
        <div class="row">
          <button type="button" onClick={() => dialog.current?.close()}>Cancel</button>
          <button class="primary" disabled={busy || !prompt.trim()}>{busy ? 'Starting…' : 'Start'}</button>
        </div>
      </form>
    </dialog>
  );
}

const inside = (folder: string, below: string) => {
  const part = below.trim().replaceAll(/^\/+|\/+$/g, '');
  return part ? `${folder}/${part}` : folder;
};
