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
  private parts: Part<Body>[] = [];

  get isWaiting(): boolean {
    return this.asked !== undefined;
  }

  /** Something may be missing up to `needed`, where `down` is read. Gives whether a request is to be sent: one
   *  that is under way will do for more of the same epoch, since its answer names its place. In another epoch
   *  (`isNew`: one begins, or nothing is known) nobody could say whether that place is an older one. */
  begin(id: string, reason: string, needed: Position | undefined, isNew: boolean): boolean {
    const willDo = this.isWaiting && !isNew && (!this.needed || this.needed.epoch === needed?.epoch);
    this.needed = needed;
    this.clear();
    if (willDo) return false;
    this.parts = [];
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

  /** Takes a part of a snapshot; gives the whole when it is complete, `more` when others follow, and `early`
   *  when its place is before what is missing. The parts of one answer follow each other: after a gap none is joined with another's. */
  take(part: Part<Body>): Whole<Body> | 'early' | 'more' | undefined {
    const { id, parts, epoch, seq } = part;
    if (id !== this.asked) return undefined;
    if (this.isEarly(part)) return 'early';
    const before = this.parts.at(-1);
    const follows = before && before.part + 1 === part.part && before.epoch === epoch && before.seq === seq;
    if (!follows) this.parts = [];
    if (!follows && part.part !== 1) return undefined;
    this.parts.push(part);
    if (part.part < parts) return 'more';
    const bodies = this.parts.map(({ body }) => body);
    // Of another epoch, the snapshot's is the later one: whoever hears of it begins anew.
    const after = this.kept.filter(({ at }) => at.epoch === epoch && at.seq > seq).map(({ payload }) => payload);
    this.asked = this.needed = undefined;
    this.parts = [];
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
