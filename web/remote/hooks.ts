import { useEffect, useState } from 'preact/hooks';
import type { App, State } from './app';

/** The app's state, and a new rendering when it changes. */
export function useApp(app: App): State {
  const [, again] = useState(0);
  useEffect(() => app.subscribe(() => again((n) => n + 1)), [app]);
  return app.state;
}

/** The time, moving on every few seconds, for ages on the screen. */
export function useNow(everyMs = 5_000): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}

/** `just now`, `5 min ago`, or a date. */
export function ago(at: number | undefined, now: number): string {
  if (at === undefined) return 'never';
  const seconds = Math.max(0, Math.round((now - at) / 1000));
  if (seconds < 10) return 'just now';
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ago`;
  return new Date(at).toLocaleDateString();
}
