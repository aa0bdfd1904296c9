import { useEffect, useState } from 'preact/hooks';
import { type PairLink, PairFailure, Pairing } from '../sdk/pair';
import { type Profile, loadProfile } from '../sdk/store';
import { useNow } from './hooks';

type Step =
  | { at: 'ask'; error?: string }
  | { at: 'starting' }
  | { at: 'compare'; pairing: Pairing }
  | { at: 'failed'; code: string; text: string };

/** What to do next, where the relay's words alone leave a person alone. */
const NEXT: Record<string, string> = {
  code_expired: 'Links live for two minutes. The desktop shows a fresh link and code: open that link, or type the code here.',
  code_used: 'Each link works once. Open the one that the desktop shows now, or type its code here.',
  code_burnt: 'The desktop makes a new code by itself. Type that one.',
  rejected: 'Somebody pressed decline on the desktop. Open its new link, or type the new code, and approve there.',
  approval_expired: 'Keep the desktop in sight, open its new link or type the new code, and approve there.',
  host_offline: 'Start the desktop side: belay up, or belay host.',
};

/** After these a link leads nowhere any more. */
const SPENT = new Set(['code_expired', 'code_used', 'code_burnt', 'rejected', 'approval_expired']);

/** Faults of a typed code: it is typed again where it stands. */
const RETYPE = new Set(['code_wrong', 'code_expired', 'code_used', 'code_burnt', 'invalid_request', 'rate_limited']);

function platform(): string {
  const agent = navigator.userAgent;
  const known: [RegExp, string][] = [
    [/iPhone|iPad/, 'iOS'], [/Android/, 'Android'], [/Windows/, 'Windows'], [/Mac OS/, 'macOS'], [/Linux/, 'Linux'],
  ];
  return known.find(([pattern]) => pattern.test(agent))?.[1] ?? 'browser';
}

interface Props {
  link: PairLink | undefined;
  onPaired: (profile: Profile) => Promise<void>;
  onBack: () => Promise<void>;
}

export function PairScreen({ link: given, onPaired, onBack }: Props) {
  const [link, setLink] = useState(given);
  const [step, setStep] = useState<Step>({ at: 'ask' });
  const [name, setName] = useState(`${platform()} ${navigator.maxTouchPoints > 0 ? 'phone' : 'browser'}`);
  const [code, setCode] = useState('');
  const [paired, setPaired] = useState(false);
  useEffect(() => void loadProfile().then((profile) => setPaired(profile !== undefined)), []);

  const begin = async (event: Event) => {
    event.preventDefault();
    setStep({ at: 'starting' });
    try {
      const pairing = await Pairing.start(link ?? code, name.trim(), platform());
      setStep({ at: 'compare', pairing });
      await onPaired(await pairing.finish());
    } catch (error) {
      const failure = error instanceof PairFailure ? error : new PairFailure('unknown', String(error));
      if (!link && RETYPE.has(failure.code)) {
        return setStep({ at: 'ask', error: [sentence(failure.message), NEXT[failure.code]].filter(Boolean).join(' ') });
      }
      setStep({ at: 'failed', code: failure.code, text: failure.message });
    }
  };

  if (step.at === 'compare') return <Compare pairing={step.pairing} />;
  if (step.at === 'failed') {
    const again = () => {
      if (SPENT.has(step.code)) {
        history.replaceState(null, '', location.pathname);
        setLink(undefined);
      }
      setStep({ at: 'ask' });
    };
    return (
      <main class="center">
        <h1>Not paired</h1>
        <p role="alert">{sentence(step.text)}</p>
        {NEXT[step.code] && <p class="muted">{NEXT[step.code]}</p>}
        <button class="primary" onClick={again}>{link && SPENT.has(step.code) ? 'Type the new code' : 'Try again'}</button>
        {paired && <button onClick={() => void onBack()}>Back to the paired desktop</button>}
      </main>
    );
  }
  return (
    <main class="center">
      <Logo />
      <h1>Pair this device</h1>
      <p class="muted">
        {link ? 'The desktop will ask for your approval.' : 'Scan the code on the desktop with the camera, or type what it shows.'}
      </p>
      <form onSubmit={begin} class="stack">
        {!link && (
          <label>
            Code
            <input class="code" value={code} onInput={(e) => setCode(e.currentTarget.value)} placeholder="ABCD-EFGH"
              autocomplete="off" autocapitalize="characters" spellcheck={false} required minLength={8}
              aria-invalid={step.at === 'ask' && step.error !== undefined} aria-describedby="code-error" />
            {step.at === 'ask' && step.error && <span id="code-error" class="error small" role="alert">{step.error}</span>}
          </label>
        )}
        <label>
          Name of this device
          <input value={name} onInput={(e) => setName(e.currentTarget.value)} maxLength={60} required />
        </label>
        <button class="primary" disabled={step.at === 'starting'}>
          {step.at === 'starting' ? 'Asking the desktop…' : 'Pair'}
        </button>
      </form>
      {paired && <button onClick={() => void onBack()}>Back to the paired desktop</button>}
      {!isSecureContext && (
        <p class="muted small">
          This page came over plain http: your phone's camera app can open links, but the page itself cannot scan, and
          this device's key is kept by the page instead of the browser's key store.
        </p>
      )}
    </main>
  );
}

function Compare({ pairing }: { pairing: Pairing }) {
  const now = useNow(1000);
  const left = Math.max(0, Math.ceil((pairing.expiresAt - now) / 1000));
  return (
    <main class="center">
      <h1>Compare with the desktop</h1>
      <p>Does <strong>{pairing.hostName}</strong> show the same six digits?</p>
      <p class="digits" aria-label={`Comparison code ${[...pairing.code].join(' ')}`}>
        {pairing.code.slice(0, 3)}<span aria-hidden="true"> </span>{pairing.code.slice(3)}
      </p>
      <p class="muted">If they are equal, approve on the desktop. If not, decline there.</p>
      <p class="muted small" role="timer">{left > 0 ? `Waiting for approval, ${left} s left` : 'Waiting for the answer…'}</p>
    </main>
  );
}

export function Logo() {
  return <img class="logo" src="./icon.svg" alt="" width="56" height="56" />;
}

function sentence(text: string): string {
  const first = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(first) ? first : `${first}.`;
}
