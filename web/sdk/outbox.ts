// The writer of the page's channel and its copy on disk. What goes on the wire is on disk before, so a
// page that is killed sends again under the same names, and nothing is lost or doubled.

import { type GivenUp, type Memory, Writer } from './writer';

/** Where the copy is kept; rejects where nothing can be kept. */
export interface Shelf {
  /** Makes this page the owner, and gives what is there. */
  claim(): Promise<string | undefined>;
  /** Done when it is on disk; false when another page is the owner. */
  save(text: string): Promise<boolean>;
}

export interface Wire {
  /** Where frames may be written now, if anywhere. */
  socket(): { send(text: string): void } | undefined;
  /** Another page is the owner: this one must not send. */
  taken(): void;
  givenUp(messages: GivenUp[]): void;
}

export class Outbox {
  readonly writer: Writer;
  /** Undefined: only memory is left. */
  private shelf: Shelf | undefined;
  private saved = '';
  private isBusy = false;
  private isDue = false;

  constructor(
    channel: string,
    draw: () => string,
    shelf: Shelf,
    private readonly wire: Wire,
  ) {
    this.writer = new Writer(channel, draw(), draw);
    this.shelf = shelf;
  }

  /** Becomes the owner, before anything else is done; gives the payloads that are held. */
  async load(): Promise<unknown[]> {
    try {
      const text = await this.shelf?.claim();
      const memory = text === undefined ? undefined : (JSON.parse(text) as Memory);
      // That of a former pairing is of no use.
      if (memory?.channel === this.writer.channel) this.writer.restore(memory);
    } catch {
      this.shelf = undefined;
    }
    return this.writer.held();
  }

  /** Writes down what changed, then sends what may be sent. */
  async flush(): Promise<void> {
    this.isDue = true;
    if (this.isBusy) return;
    this.isBusy = true;
    while (this.isDue) {
      this.isDue = false;
      const socket = this.wire.socket();
      // Taken first: the copy says of them that they may have been sent.
      const frames = socket ? this.writer.frames() : [];
      const isOwner = await this.save();
      if (isOwner === false) this.wire.taken();
      // Frames that miss their socket come again after the next welcome.
      else if (isOwner && socket && socket === this.wire.socket()) frames.forEach((f) => socket.send(JSON.stringify(f)));
    }
    this.isBusy = false;
  }

  /** Undefined: it could not be written, and what is held goes on in memory, in a new epoch. */
  private async save(): Promise<boolean | undefined> {
    const text = JSON.stringify(this.writer.memory());
    if (!this.shelf || text === this.saved) return true;
    try {
      const isOwner = await this.shelf.save(text);
      this.saved = text;
      return isOwner;
    } catch {
      this.shelf = undefined;
      this.wire.givenUp(this.writer.renew());
      this.isDue = true;
      return undefined;
    }
  }
}
