// IndexedDB: what this device must not forget. Writes are done when they are on disk.

import type { DeviceKey } from './keys';
import type { CommandRequest, PublicKey } from './wire';

/** A paired device. */
export interface Profile {
  session: string;
  member: string;
  token: string;
  key: DeviceKey;
  host: PublicKey;
  hostName: string;
  deviceName: string;
}

/** A command that waits for its result. */
export interface Kept {
  request: CommandRequest;
  /** Its place among those that this device gave. */
  n?: number;
  /** It was not done, and why; kept until the person has seen to it. */
  failed?: string;
  /** How far it is known to have come; `unknown` is kept until the person has seen to it. */
  mark?: 'sent' | 'desktop' | 'unknown';
  /** The person was asked and said yes to sending it late. */
  confirmed?: boolean;
}

let opening: Promise<IDBDatabase> | undefined;

function open(): Promise<IDBDatabase> {
  opening ??= new Promise((resolve, reject) => {
    const request = indexedDB.open('belay', 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore('device');
      request.result.createObjectStore('commands');
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error('this browser keeps no data for the page'));
  });
  return opening;
}

/** A browser may close the database of a page that sleeps: it is opened once more. */
async function begin(store: 'device' | 'commands', mode: IDBTransactionMode): Promise<IDBTransaction> {
  const options: IDBTransactionOptions = { durability: 'strict' };
  try {
    return (await open()).transaction(store, mode, options);
  } catch {
    opening = undefined;
    return (await open()).transaction(store, mode, options);
  }
}

async function run<T>(
  store: 'device' | 'commands',
  mode: IDBTransactionMode,
  act: (store: IDBObjectStore) => IDBRequest<T>,
): Promise<T> {
  const transaction = await begin(store, mode);
  return new Promise((resolve, reject) => {
    const request = act(transaction.objectStore(store));
    transaction.oncomplete = () => resolve(request.result);
    const failed = () => reject(transaction.error ?? new Error('not written'));
    transaction.onabort = failed;
    transaction.onerror = failed;
  });
}

export const loadProfile = () => run<Profile | undefined>('device', 'readonly', (s) => s.get('profile'));

/** Writes durably and reads back. */
export async function saveProfile(profile: Profile): Promise<void> {
  await run('device', 'readwrite', (s) => s.put(profile, 'profile'));
  const kept = await loadProfile();
  if (kept?.token !== profile.token) throw new Error('the key of this device was not kept');
}

/** With its outbox. */
export const forgetProfile = () => run('device', 'readwrite', (s) => s.clear());

/** Takes the outbox from whichever tab has it, and gives what is written there. */
export const claimOutbox = (owner: string) =>
  run<string | undefined>('device', 'readwrite', (s) => {
    s.put(owner, 'owner');
    return s.get('outbox');
  });

/** False, and nothing is written, when another tab has taken it. */
export async function saveOutbox(owner: string, text: string): Promise<boolean> {
  const holder = await run<string | undefined>('device', 'readwrite', (s) => {
    const got = s.get('owner') as IDBRequest<string | undefined>;
    got.onsuccess = () => got.result === owner && s.put(text, 'outbox');
    return got;
  });
  return holder === owner;
}

/** Commands on their way to the disk. A page that is left aborts its writes, and finds these when it comes back. */
const WRITING = 'writing';

function writing(): Kept[] {
  try {
    return JSON.parse(localStorage.getItem(WRITING) ?? '[]') as Kept[];
  } catch {
    return [];
  }
}

function noteWriting(id: string, kept?: Kept): void {
  const others = writing().filter((k) => k.request.id !== id);
  try {
    localStorage.setItem(WRITING, JSON.stringify(kept ? [...others, kept] : others));
  } catch {
    // No room: it is safe once it is on disk.
  }
}

export async function keepCommand(kept: Kept): Promise<void> {
  noteWriting(kept.request.id, kept);
  await run('commands', 'readwrite', (s) => s.put(kept, kept.request.id));
  noteWriting(kept.request.id);
}

/** One that was dropped meanwhile stays dropped. */
export const markCommand = (id: string, mark: NonNullable<Kept['mark']>) =>
  run<Kept | undefined>('commands', 'readwrite', (s) => {
    const got = s.get(id) as IDBRequest<Kept | undefined>;
    got.onsuccess = () => got.result && s.put({ ...got.result, mark }, id);
    return got;
  });

export async function dropCommand(id: string): Promise<void> {
  noteWriting(id);
  await run('commands', 'readwrite', (s) => s.delete(id));
}

/** In the order in which they were given. */
export async function keptCommands(): Promise<Kept[]> {
  const kept = await run<Kept[]>('commands', 'readonly', (s) => s.getAll());
  const left = writing();
  for (const one of left) {
    // Where nothing can be written it stays where it is.
    await keepCommand(one).catch(() => {});
  }
  const isOlder = (k: Kept) => left.some((one) => one.request.id === k.request.id);
  const all = [...kept.filter((k) => !isOlder(k)), ...left];
  return all.toSorted((a, b) => a.request.at - b.request.at || (a.n ?? 0) - (b.n ?? 0));
}

export async function forgetCommands(): Promise<void> {
  localStorage.removeItem(WRITING);
  await run('commands', 'readwrite', (s) => s.clear());
}
