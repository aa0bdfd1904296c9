import { useState } from 'preact/hooks';
import { payloadBytes } from '../sdk/client';
import type { App } from './app';

/** The relay takes messages of a phone up to 256 KiB; the rest is for what goes around the text. */
const TEXT_MAX = 250 * 1024;

export function Composer({ app, thread, working, onSend }: { app: App; thread: string; working: boolean; onSend: () => void }) {
  const draftKey = `draft:${thread}`;
  const [text, setText] = useState(() => sessionStorage.getItem(draftKey) ?? '');
  const tooLong = payloadBytes(text) > TEXT_MAX;

  const change = (next: string) => {
    setText(next);
    try {
      sessionStorage.setItem(draftKey, next);
    } catch {
      // No room for a draft that long; it is still in the box.
    }
  };
  const send = async (event: Event) => {
    event.preventDefault();
    const prompt = text.trim();
    if (!prompt || tooLong) return;
    change('');
    onSend();
    await app.give({ c: 'turnStart', thread, text: prompt });
  };
  const onKey = (event: KeyboardEvent) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) void send(event);
  };

  return (
    <form class="composer" onSubmit={send}>
      {tooLong && <p class="error small" role="alert">This is longer than one message may be. Shorten it.</p>}
      <textarea rows={1} value={text} onInput={(e) => change(e.currentTarget.value)} onKeyDown={onKey}
        placeholder="Message the agent" aria-label="Message the agent" />
      {working && <button type="button" onClick={() => void app.give({ c: 'turnInterrupt', thread })}>Stop</button>}
      <button class="primary" disabled={!text.trim() || tooLong}>Send</button>
    </form>
  );
}
