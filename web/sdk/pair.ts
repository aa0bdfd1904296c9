// The phone's side of pairing.

import { random, toBase64Url } from './bytes';
import { type DeviceKey, makeKey } from './keys';
import { approvedByHost, commitment, comparisonCode, keyHash } from './proof';
import type { Profile } from './store';
import type { ApiErrorBody, PairStarted, Paired } from './wire';

export interface PairLink {
  rendezvous: string;
  /** Hash of the host's key, pinned by the QR. */
  host: string;
  secret: string;
}

/** Reads the fragment of a pairing link. */
export function readLink(fragment: string): PairLink | undefined {
  const match = /^#p=([\w-]{22})\.([\w-]{43})\.([\w-]{16,64})$/.exec(fragment);
  const [, rendezvous, host, secret] = match ?? [];
  return rendezvous && host && secret ? { rendezvous, host, secret } : undefined;
}

/** An error that the relay explained. */
export class PairFailure extends Error {
  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

async function post<T>(path: string, body: unknown): Promise<T> {
  let answer: Response;
  try {
    answer = await fetch(path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
  } catch {
    throw new PairFailure('unreachable', 'The relay cannot be reached. Check that the desktop runs and that this phone is on its network.');
  }
  const text = await answer.text();
  if (answer.ok) return JSON.parse(text) as T;
  try {
    const error = JSON.parse(text) as ApiErrorBody;
    throw new PairFailure(error.error, error.message);
  } catch (error) {
    throw error instanceof PairFailure ? error : new PairFailure('unknown', `The relay answered ${answer.status}.`);
  }
}

/** One attempt to pair. */
export class Pairing {
  private constructor(
    private readonly key: DeviceKey,
    private readonly opening: string,
    private readonly started: PairStarted,
    private readonly deviceName: string,
    /** Six digits, to be compared with the desktop's. */
    readonly code: string,
  ) {}

  get hostName(): string {
    return this.started.hostName;
  }

  get expiresAt(): number {
    return this.started.expiresAt;
  }

  /** Redeems a link or a typed code. */
  static async start(how: PairLink | string, name: string, platform: string): Promise<Pairing> {
    const key = await makeKey();
    const opening = toBase64Url(random(32));
    const device = { name, platform };
    const commit = commitment(key.public, opening);
    const lease = typeof how === 'string' ? { code: how } : { rendezvous: how.rendezvous };
    const started = await post<PairStarted>('./v1/pair', { ...lease, device, commit });
    const pinned = typeof how === 'string' || toBase64Url(keyHash(started.hostPublicKey)) === how.host;
    if (!pinned || (typeof how !== 'string' && started.rendezvous !== how.rendezvous)) {
      throw new PairFailure('key_mismatch', 'The relay offers another key than the desktop. Somebody may sit in between, so nothing was paired.');
    }
    const code = comparisonCode({
      host: started.hostPublicKey,
      phone: key.public,
      rendezvous: started.rendezvous,
      hostNonce: started.hostNonce,
      opening,
      secret: typeof how === 'string' ? '' : how.secret,
    });
    return new Pairing(key, opening, started, name, code);
  }

  /** Opens the commitment and waits for the desktop; repeats after a network failure are harmless. */
  async finish(): Promise<Profile> {
    const { key, opening, started } = this;
    const path = `./v1/pair/${started.request}`;
    const paired = await this.patiently(() => post<Paired>(path, { publicKey: key.public, opening }));
    const { signature, approvalExpiresAt } = paired;
    if (!approvedByHost(started.hostPublicKey, started.request, key.public, approvalExpiresAt, signature)) {
      throw new PairFailure('key_mismatch', 'The desktop approved another key. Somebody may sit in between, so nothing was paired.');
    }
    return {
      session: paired.session,
      member: paired.member,
      token: paired.token,
      key,
      host: started.hostPublicKey,
      hostName: started.hostName,
      deviceName: this.deviceName,
    };
  }

  private async patiently<T>(call: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await call();
      } catch (error) {
        const lost = error instanceof PairFailure && error.code === 'unreachable';
        if (!lost || Date.now() > this.started.expiresAt) throw error;
        await new Promise((resolve) => setTimeout(resolve, 1000));
      }
    }
  }
}
