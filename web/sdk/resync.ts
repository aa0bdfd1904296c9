// Asks the desktop for its full state and joins it with what arrives meanwhile. Pure.
//
// What arrives while a snapshot is awaited is shown at once, and kept besides: the snapshot is a state at a
// position of `down`, and what came after that position is applied to it once more.

import type { Position } from './wire';

/** Characters of JSON that are kept while a snapshot is awaited, and their messages. */
export const KEPT_CHARS_MAX = 4 * 1024 * 1024;
export const KEPT_MAX = 10_000;
const ASK_AGAIN_MS = 10_000;
const ASK_AGAIN_MAX_MS = 60_000;

export interface Part<Body> extends Position {
  id: string;
  part: number;
  parts: number;
  body: Body;
}

interface Kept {
  at: Position;
  payload: unknown;
}

/** A state, and what came after it. */
export interface Whole<Body> {
  bodies: Body[];
  after: unknown[];
}

export class Resync<Body> {
  private asked: string | undefined;
  private reason = '';
  private pause = ASK_AGAIN_MS;
  /** Only a snapshot from here on counts. */
  private needed: Position | undefined;
  private kept: Kept[] = [];
  private chars = 0;
  private parts = new Map<number, Body>();
  private place: Position | undefined;

  get isWaiting(): boolean {
    return this.asked !== undefined;
  }

  /** Something may be missing up to `needed`, where `down` is read; also when a new epoch begins there. Gives
   *  whether a request is to be sent. One that is under way will do in the same epoch, since its answer names
   *  its place; in another epoch nobody could say whether that place is an older one. */
  begin(id: string, reason: string, needed: Position | undefined): boolean {
    const willDo = this.isWaiting && (!this.needed || this.needed.epoch === needed?.epoch);
    this.needed = needed;
    this.parts.clear();
    this.clear();
    if (willDo) return false;
    this.asked = id;
    this.reason = reason;
    this.pause = ASK_AGAIN_MS;
    return true;
  }

  /** Gives the request to be sent now, and when to send it again without an answer. A desktop or a relay that
   *  came back is asked at the first pace. */
  ask(isBack: boolean): { id: string; reason: string; again: number } | undefined {
    if (this.asked === undefined) return undefined;
    if (isBack) this.pause = ASK_AGAIN_MS;
    const again = this.pause;
    this.pause = Math.min(ASK_AGAIN_MAX_MS, again * 2);
    return { id: this.asked, reason: this.reason, again };
  }

  /** Keeps a message of `down` while a snapshot is awaited. False when there is too much: then what was kept
   *  is missing, too, and the caller begins anew. */
  keep(at: Position, payload: unknown): boolean {
    if (!this.isWaiting) return true;
    this.chars += JSON.stringify(payload).length;
    this.kept.push({ at, payload });
    return this.chars <= KEPT_CHARS_MAX && this.kept.length <= KEPT_MAX;
  }

  /** Takes a part of a snapshot; gives the whole when it is complete and late enough. */
  take({ id, part, parts, epoch, seq, body }: Part<Body>): Whole<Body> | undefined {
    if (id !== this.asked || this.isEarly({ epoch, seq })) return undefined;
    // A request that was sent again may be answered again, with a later state.
    if (this.place?.epoch !== epoch || this.place.seq !== seq) this.parts.clear();
    this.place = { epoch, seq };
    this.parts.set(part, body);
    if (this.parts.size < parts) return undefined;
    const bodies = [...this.parts].toSorted(([a], [b]) => a - b).map(([, each]) => each);
    // Of another epoch, the snapshot's is the later one: whoever hears of it begins anew.
    const after = this.kept.filter(({ at }) => at.epoch === epoch && at.seq > seq).map(({ payload }) => payload);
    this.asked = this.needed = this.place = undefined;
    this.parts.clear();
    this.clear();
    return { bodies, after };
  }

  private clear(): void {
    this.kept = [];
    this.chars = 0;
  }

  private isEarly(at: Position): boolean {
    return at.epoch === this.needed?.epoch && at.seq < this.needed.seq;
  }
}
