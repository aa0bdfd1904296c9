// A cluster behind its balancer, with `E2E_CLUSTER` for all journeys: each connection and request of a page gets
// a relay at random.

import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { BELAY, atEnd, until } from './lib.mjs';

const RELAYS = ['relay1', 'relay2', 'relay3'];

let shared;

/** `belay cluster-dev`, and which process each part is now. */
export class Cluster {
  static async start(...args) {
    const cluster = new Cluster();
    cluster.process = spawn(BELAY, ['cluster-dev', '--exit-with-stdin', ...args]);
    cluster.said = '';
    cluster.process.stdout.on('data', (bytes) => (cluster.said += bytes));
    cluster.process.stderr.on('data', (bytes) => (cluster.said += bytes));
    atEnd(() => cluster.stop());
    await until('the cluster is up', () => cluster.said.includes('Ctrl-C ends all of it.'), 90_000).catch((error) => {
      throw new Error(`${error.message}; it said ${cluster.said}`);
    });
    cluster.url = /the cluster is up: (\S+)/.exec(cluster.said)[1];
    cluster.folder = /^ +folder +(\S+)/m.exec(cluster.said)[1];
    return cluster;
  }

  /** One for all tests of a file. */
  static shared() {
    shared ??= Cluster.start();
    return shared;
  }

  async stop() {
    const ended = new Promise((done) => this.process.once('exit', done));
    this.process.stdin.end();
    await ended;
  }

  /** The process that a part is now. */
  pid(name) {
    return Number([...this.said.matchAll(new RegExp(`\\b${name} (?:is up[^,]*, | *\\S+ +)pid (\\d+)`, 'g'))].at(-1)[1]);
  }

  relays() {
    return RELAYS.map((name) => this.pid(name));
  }

  /** Waits until a part that `ends` was started again. */
  async again(name, ends) {
    const before = this.said.length;
    await ends();
    await until(`${name} is up again`, () => this.said.slice(before).includes(`${name} is up again`), 60_000);
  }

  /** kill -9, and waits until it was started again. */
  async kill(name) {
    await this.again(name, () => process.kill(this.pid(name), 'SIGKILL'));
  }

  async killRelays() {
    await Promise.all(RELAYS.map((name) => this.kill(name)));
  }

  /** One relay after the other sends its clients away and is replaced. */
  async replace(drain) {
    for (const name of RELAYS) await this.again(name, () => drain(join(this.folder, name)));
  }

  /** By their name what must not be read in a log. */
  secrets() {
    const lines = readFileSync(join(this.folder, 'secrets.env'), 'utf8').trim().split('\n');
    const named = lines.map((line) => line.split('=')).map(([name, value]) => [name, value.split(':').at(-1)]);
    const tokens = RELAYS.map((name) => [`admin token of ${name}`, readFileSync(join(this.folder, name, 'admin-token'), 'utf8').trim()]);
    return Object.fromEntries([...named, ...tokens]);
  }

  logs() {
    return RELAYS.map((name) => readFileSync(join(this.folder, name, 'relay.log'), 'utf8')).join('');
  }
}
