import { useEffect, useRef, useState } from 'preact/hooks';
import { type PairLink, readLink } from '../sdk/pair';
import * as store from '../sdk/store';
import { App } from './app';
import { Home } from './home';
import { PairScreen } from './pair';

type Where =
  | { at: 'loading' }
  | { at: 'busy' }
  | { at: 'broken'; text: string }
  | { at: 'pair'; link: PairLink | undefined }
  | { at: 'home'; app: App };

/** One tab holds the device's key; where the browser has no locks, the relay closes the older one. */
async function takeDevice(): Promise<boolean> {
  if (!navigator.locks) return true;
  return new Promise((resolve) => {
    void navigator.locks.request('belay-device', { ifAvailable: true }, (lock) => {
      resolve(lock !== null);
      // Held until the tab goes.
      return lock ? new Promise(() => {}) : undefined;
    });
  });
}

export function Root() {
  const [where, setWhere] = useState<Where>({ at: 'loading' });
  const holds = useRef(false);

  const enter = async () => {
    try {
      const link = readLink(location.hash);
      const profile = await store.loadProfile();
      if (link || !profile) return setWhere({ at: 'pair', link });
      holds.current ||= await takeDevice();
      if (!holds.current) return setWhere({ at: 'busy' });
      const app = new App(profile);
      await app.start();
      setWhere({ at: 'home', app });
    } catch (error) {
      setWhere({ at: 'broken', text: String(error) });
    }
  };

  useEffect(() => {
    void enter();
    const onHash = () => readLink(location.hash) && location.reload();
    addEventListener('hashchange', onHash);
    return () => removeEventListener('hashchange', onHash);
  }, []);

  switch (where.at) {
    case 'loading':
      return <main class="center" aria-busy="true"><p class="muted">Opening…</p></main>;
    case 'busy':
      return (
        <main class="center">
          <h1>Open in another tab</h1>
          <p>This device is in use in another tab or window of this browser.</p>
          <button class="primary" onClick={() => location.reload()}>Use it here once the other is closed</button>
        </main>
      );
    case 'broken':
      return (
        <main class="center">
          <h1>This browser keeps no data for the page</h1>
          <p>Belay must remember this device's key. Leave private browsing, or allow site data, and reload.</p>
          <p class="muted small">{where.text}</p>
        </main>
      );
    case 'pair':
      return (
        <PairScreen
          link={where.link}
          onPaired={async (profile) => {
            await store.saveProfile(profile);
            await store.forgetCommands();
            history.replaceState(null, '', location.pathname);
            await enter();
          }}
          onBack={async () => {
            history.replaceState(null, '', location.pathname);
            await enter();
          }}
        />
      );
    case 'home':
      return (
        <Home
          app={where.app}
          onForget={async () => {
            where.app.stop();
            await store.forgetProfile();
            await store.forgetCommands();
            setWhere({ at: 'pair', link: undefined });
          }}
        />
      );
  }
}
