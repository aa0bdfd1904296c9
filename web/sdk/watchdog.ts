// Finds sockets that are dead and do not say so: after sleep or a change of network they look open for
// minutes and carry nothing.

import type { Frame } from './wire';

/** The relay pings at least every 25 s. */
export const SILENCE_MS = 60_000;
/** After the page comes back, an answer must come in this time. */
export const PROBE_MS = 3_000;

export class Watchdog {
  private timer: ReturnType<typeof setTimeout> | undefined;
  private probes = 0;
  private awaited: number | undefined;

  constructor(private readonly dead: () => void) {}

  /** An answer to a probe is awaited. */
  get isProbing(): boolean {
    return this.awaited !== undefined;
  }

  /** The socket is dead if nothing is heard for so long. */
  expect(withinMs: number): void {
    this.stop();
    this.timer = setTimeout(this.dead, withinMs);
  }

  /** Only its answer ends a probe: what was received before the network went is read after it, too. */
  heard(frame: Frame): void {
    if (frame.k === 'pong' && frame.n === this.awaited) this.awaited = undefined;
    clearTimeout(this.timer);
    this.timer = setTimeout(this.dead, this.isProbing ? PROBE_MS : SILENCE_MS);
  }

  /** The ping to write now. */
  probe(): Frame {
    this.expect(PROBE_MS);
    this.awaited = this.probes += 1;
    return { k: 'ping', n: this.awaited, t: Date.now() };
  }

  stop(): void {
    clearTimeout(this.timer);
    this.awaited = undefined;
  }
}

/** Calls when the page may have slept or the network may be another one; gives what ends that. */
export function onReturn(call: () => void): () => void {
  const visible = () => document.visibilityState === 'visible' && call();
  // Chromium only.
  const { connection } = navigator as { connection?: EventTarget };
  const events = ['online', 'pageshow', 'focus'];
  for (const event of events) addEventListener(event, call);
  document.addEventListener('visibilitychange', visible);
  connection?.addEventListener('change', call);
  return () => {
    for (const event of events) removeEventListener(event, call);
    document.removeEventListener('visibilitychange', visible);
    connection?.removeEventListener('change', call);
  };
}
