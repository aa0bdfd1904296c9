// A desktop in a pty with a real agent and the mock model, and a phone that pairs with it.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { Cluster } from './cluster.mjs';
import { BELAY, Pty, ROOT, freePort, mockModel, phone, scratch, until } from './lib.mjs';

const CACHE = process.env.BELAY_CACHE ?? join(homedir(), '.cache/belay');
const PINS = readFileSync(join(ROOT, 'scripts/pins.env'), 'utf8');
const pinned = (name) => new RegExp(`^${name}=(.*)$`, 'm').exec(PINS)[1];
export const CODEX = join(CACHE, `codex-${pinned('CODEX_VERSION')}/codex`);
export const OPENCODE = join(CACHE, `opencode-${pinned('OPENCODE_VERSION')}/opencode`);

/** A home of its own for an agent, with the mock as its only model. */
export function home(model) {
  const folder = scratch('home');
  mkdirSync(join(folder, '.codex'));
  writeFileSync(join(folder, '.codex/config.toml'), `
model = "mock-model"
model_provider = "mock"
approval_policy = "on-request"
sandbox_mode = "workspace-write"
[model_providers.mock]
name = "Local mock"
base_url = "http://127.0.0.1:${model.port}/v1"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0
[analytics]
enabled = false
`);
  mkdirSync(join(folder, '.config/opencode'), { recursive: true });
  const provider = {
    npm: '@ai-sdk/openai-compatible', name: 'Local mock',
    options: { baseURL: `http://127.0.0.1:${model.port}/v1`, apiKey: 'x' },
    models: { 'mock-model': { name: 'Mock', tool_call: true, limit: { context: 100000, output: 4000 } } },
  };
  writeFileSync(join(folder, '.config/opencode/opencode.json'), JSON.stringify({
    autoupdate: false, share: 'disabled', model: 'mock/mock-model', small_model: 'mock/mock-model',
    enabled_providers: ['mock'], permission: { bash: 'ask', edit: 'ask' }, provider: { mock: provider },
  }));
  return folder;
}

function parents() {
  const entries = readdirSync('/proc').filter((name) => /^\d+$/.test(name)).flatMap((name) => {
    try {
      const [, rest] = readFileSync(`/proc/${name}/stat`, 'utf8').split(') ');
      return rest.startsWith('Z') ? [] : [[Number(name), Number(rest.split(' ')[1])]];
    } catch {
      return [];
    }
  });
  return new Map(entries);
}

export function commandOf(pid) {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
  } catch {
    return '';
  }
}

/** Where a terminal prints the link. */
const LINK = /Open (?:on the phone|in a browser on this machine): (\S+)/;

/** The journeys go through a cluster. */
export const CLUSTERED = Boolean(process.env.E2E_CLUSTER);

/** Of tests that make sense with one relay only: with a cluster they are skipped, and say so. */
export const ofOneRelay = (why) => ({ skip: CLUSTERED && why });

/** `belay up` with an agent, restarted at will; with a cluster `belay host` at that. */
export class Desktop {
  static async start(agent, port, project = scratch('project')) {
    if (CLUSTERED) {
      const cluster = await Cluster.shared();
      const desktop = await Desktop.run(['host', '--relay', cluster.url], agent, project);
      desktop.cluster = cluster;
      return desktop;
    }
    const admin = `127.0.0.1:${await freePort()}`;
    return Desktop.run(['up', '--port', String(port ?? (await freePort())), '--admin-listen', admin], agent, project, admin);
  }

  /** The desktop side alone, at a relay that runs elsewhere. */
  static async at(relay, agent) {
    return Desktop.run(['host', '--relay', relay], agent, scratch('project'));
  }

  static async run(command, agent, project, admin) {
    const desktop = new Desktop();
    desktop.links = [];
    desktop.model = await mockModel();
    const place = home(desktop.model);
    desktop.project = project;
    desktop.data = scratch('data');
    desktop.admin = admin;
    desktop.env = {
      PATH: process.env.PATH, HOME: place, CODEX_HOME: join(place, '.codex'), LANG: 'C.UTF-8', SHELL: '/bin/bash',
      TERM: 'xterm-256color', OPENCODE_DISABLE_MODELS_FETCH: '1', OPENCODE_DISABLE_AUTOUPDATE: '1',
      // It would install a plugin from the network.
      npm_config_registry: 'http://127.0.0.1:9',
    };
    desktop.args = [...command, '--data-dir', desktop.data, '--folder', desktop.project, '--name', 'Workbench', ...agent];
    desktop.up();
    desktop.plain = agent.includes('--plain');
    const isUp = () => (desktop.plain ? LINK.test(desktop.pty.text()) : desktop.pty.text().includes(' link '));
    await until('the terminal shows a link', isUp).catch((error) => {
      throw new Error(`${error.message}; it shows: ${desktop.pty.text().slice(-1000)}`);
    });
    return desktop;
  }

  /** The person at the desktop says yes. */
  approve() {
    this.pty.type(this.plain ? 'y\n' : 'y');
  }

  up() {
    this.pty = new Pty([BELAY, ...this.args], this.env, this.project);
  }

  /** A process below the terminal, by a part of its command line. */
  find(part) {
    const all = parents();
    const below = (pid) => pid === this.pty.process.pid || (all.has(pid) && below(all.get(pid)));
    return [...all.keys()].find((pid) => commandOf(pid).includes(part) && below(pid));
  }

  /** The process that runs the agent. */
  host() {
    return this.find(this.cluster ? ' host ' : ' up ');
  }

  relays() {
    return this.cluster ? this.cluster.relays() : [this.find(' serve ')];
  }

  /** Sends a signal to whatever relays there are. */
  signalRelays(signal) {
    for (const pid of this.relays()) process.kill(pid, signal);
  }

  /** kill -9 of all; a cluster is waited for until it is whole again. */
  async killRelays() {
    if (this.cluster) return this.cluster.killRelays();
    this.signalRelays('SIGKILL');
  }

  /** Replaces each relay by another process, as a deploy does. */
  async replaceRelays() {
    const drain = (...args) => execFileSync(BELAY, ['drain', ...args], { encoding: 'utf8' });
    const start = ['start', '--reason', 'new version', '--window', '1'];
    if (this.cluster) return this.cluster.replace((folder) => drain(...start, '--exit', '--data-dir', folder));
    const at = ['--data-dir', this.data, '--admin', `http://${this.admin}`];
    drain(...start, '--wait', ...at);
    drain('complete', ...at);
  }

  async kill(agentPart) {
    const agent = this.find(agentPart);
    assert.ok(agent, 'the agent runs');
    this.pty.kill();
    await until('everything of the desktop has ended', () => !commandOf(agent).includes(agentPart));
  }

  belay(...args) {
    return execFileSync(BELAY, [...args, '--data-dir', this.data], { encoding: 'utf8' });
  }

  /** A link for a phone: the one on the terminal where it stands on one line, else a new one. */
  link() {
    const shown = this.plain ? this.pty.text() : this.belay('devices', 'add');
    const link = LINK.exec(shown)[1];
    this.links.push(link);
    return link;
  }

  /** Tells whether a line of activity was told; a terminal only draws the cells that change. */
  said(text) {
    return readFileSync(join(this.data, 'host.log'), 'utf8').includes(text);
  }

  /** Which planted secrets stand in a log. */
  secretsInLogs() {
    const read = (file) => readFileSync(join(this.data, file), 'utf8');
    const logs = (this.cluster ? this.cluster.logs() : read('relay.log')) + read('host.log');
    assert.ok(logs.includes('relay is up') && logs.includes('paired'), 'the logs hold the journey');
    const code = /or type (\S+) on/.exec(this.belay('devices', 'add'))[1];
    const ofRelay = () => ({
      'admin token': read('admin-token').trim(),
      'token key': read('token-keys').trim().split(':')[1],
      'store key': read('store-key').trim().split(':')[1],
    });
    const secrets = {
      'typed code': code,
      'host token': JSON.parse(read('host/session.json')).token,
      ...(this.cluster ? this.cluster.secrets() : ofRelay()),
      identity: read('host/identity').trim(),
      prompt: 'Hello there',
      ...Object.fromEntries(this.links.map((link, n) => [`link ${n}`, link.split('.').at(-1)])),
    };
    return Object.entries(secrets).filter(([, secret]) => logs.includes(secret)).map(([name]) => name);
  }

  /** The lines of the host's journal of commands. */
  journal() {
    const text = readFileSync(join(this.data, 'host/journal.jsonl'), 'utf8');
    return text.split('\n').filter(Boolean).map((line) => JSON.parse(line));
  }

  /** Takes a prompt's result out of the journal and its item out of the transcript; gives the id of its command. */
  forget(prompt) {
    const id = this.journal().find((line) => line.intent?.request.command.text === prompt).intent.request.id;
    const isResult = (line) => JSON.parse(line).result?.outcome.id === id;
    this.edit('host/journal.jsonl', (line) => !isResult(line));
    for (const file of readdirSync(join(this.data, 'host/threads'))) this.edit(`host/threads/${file}`, (line) => !line.includes(id));
    return id;
  }

  edit(file, keep) {
    const path = join(this.data, file);
    const lines = readFileSync(path, 'utf8').split('\n').filter(Boolean);
    writeFileSync(path, lines.filter(keep).map((line) => `${line}\n`).join(''));
  }

  made(file) {
    return existsSync(join(this.project, file));
  }
}

/** What a person does on the page. */
export class Hand {
  constructor(page) {
    this.page = page;
    this.card = page.locator('.card.ask');
  }

  async pair(desktop, name, between = async () => {}) {
    await this.page.goto(desktop.link());
    await this.page.getByLabel('Name of this device').fill(name);
    await between('01-pair');
    await this.page.getByRole('button', { name: 'Pair' }).click();
    const digits = (await this.page.locator('.digits').textContent()).replaceAll(' ', '');
    const shown = desktop.plain ? digits : `${digits.slice(0, 3)} ${digits.slice(3)}`;
    await until('the terminal shows the same digits', () => desktop.pty.text().includes(shown));
    await between('02-compare');
    desktop.approve();
    await this.page.getByRole('heading', { name: 'Workbench' }).waitFor();
  }

  async newThread(prompt, between = async () => {}) {
    await this.page.getByRole('button', { name: 'New thread', exact: true }).click();
    await this.page.getByLabel('What should it do?').fill(prompt);
    await between('03-new-thread');
    await this.page.getByRole('button', { name: 'Start', exact: true }).click();
  }

  async say(text) {
    await this.page.getByLabel('Message the agent').fill(text);
    await this.page.getByRole('button', { name: 'Send' }).click();
  }

  async answer(label) {
    await this.card.getByRole('button', { name: label, exact: true }).click();
  }

  async idle() {
    await this.page.locator('.working').waitFor({ state: 'detached' });
  }
}

export const version = (binary) => execFileSync(binary, ['--version'], { encoding: 'utf8' }).trim();

export const commit = () => execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8', cwd: ROOT }).trim();

export { phone };
