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

/** One tab uses the device's key and outbox. Where the browser has no locks (plain http), the newest tab
 *  is the owner: the outbox and the relay turn the older one away. */
async function takeDevice(isTakeOver: boolean, lost: () => void): Promise<boolean> {
  if (!navigator.locks) return true;
  return new Promise((resolve) => {
    const options: LockOptions = isTakeOver ? { steal: true } : { ifAvailable: true };
    const held = navigator.locks.request('belay-device', options, (lock) => {
      resolve(lock !== null);
      // Held until the tab goes, or another one takes it.
      return lock ? new Promise<never>(() => {}) : undefined;
    });
    held.catch(() => {
      resolve(false);
      lost();
    });
  });
}

export function Root() {
  const [where, setWhere] = useState<Where>({ at: 'loading' });
  const holds = useRef(false);
  const running = useRef<App | undefined>(undefined);

  const lost = () => {
    holds.current = false;
    running.current?.stop();
    setWhere({ at: 'busy' });
  };
  const enter = async (isTakeOver = false) => {
    try {
      const link = readLink(location.hash);
      const profile = await store.loadProfile();
      if (link || !profile) return setWhere({ at: 'pair', link });
      holds.current ||= await takeDevice(isTakeOver, lost);
      if (!holds.current) return setWhere({ at: 'busy' });
      // The tab that had the device may have renewed its token meanwhile.
      const app = new App((await store.loadProfile()) ?? profile);
      running.current = app;
      await app.start();
      if (holds.current) setWhere({ at: 'home', app });
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
          <h1>Belay is open in another tab</h1>
          <p>One tab of this browser is connected at a time. Go on in the other one, or use it here; the other then disconnects.</p>
          <button class="primary" onClick={() => void enter(true)}>Use it here</button>
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
