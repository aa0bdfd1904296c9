// What the browser tests share: a pty with `belay up` in it, the mock model, a phone-sized browser.
// Everything ends with the test, also when it fails.

import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { chromium } from 'playwright-core';

export const ROOT = resolve(import.meta.dirname, '../..');
export const BELAY = join(ROOT, 'target/debug/belay');
const SCRATCH = join(ROOT, 'target', 'e2e');
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const SHOTS = join(ROOT, 'target', 'reports', 'screenshots');
const cleanups = [];

/** Runs at the end of the test file, newest first. */
export const atEnd = (work) => cleanups.unshift(work);

export async function cleanUp() {
  for (const work of cleanups.splice(0)) {
    try {
      await work();
    } catch (error) {
      console.error('cleaning up:', error);
    }
  }
}

for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => void cleanUp().finally(() => process.exit(1)));

/**
 * Outside those that connections take: one of them could take it before the server does. A UDP socket claims
 * it until this process ends, as `free_port` of crates/servers does.
 */
export async function freePort() {
  const isDone = (socket) => once(socket, 'listening').then(() => true, () => false);
  for (;;) {
    const port = randomInt(10_000, 32_000);
    const claim = createSocket('udp4').unref();
    claim.bind(port, '127.0.0.1');
    if (!(await isDone(claim))) {
      claim.close();
      continue;
    }
    const server = createServer().listen(port, '127.0.0.1');
    const isFree = await isDone(server);
    server.close();
    if (isFree) return port;
    claim.close();
  }
}

export function scratch(name) {
  mkdirSync(SCRATCH, { recursive: true });
  const folder = mkdtempSync(join(SCRATCH, `${name}-`));
  atEnd(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Waits for a condition with a deadline. */
export async function until(what, condition, timeoutMs = 20_000) {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`not in time: ${what}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

/** A model on localhost; counts the requests that it got. */
export async function mockModel() {
  const port = await freePort();
  const log = join(scratch('model'), 'requests');
  writeFileSync(log, '');
  const model = spawn('python3', [join(ROOT, 'crates/testkit/mock-model.py'), String(port), log], { stdio: 'ignore' });
  atEnd(() => model.kill('SIGKILL'));
  await until('the mock model answers', async () => {
    try {
      return (await fetch(`http://127.0.0.1:${port}/v1/models`)).ok;
    } catch {
      return false;
    }
  });
  return { port, requests: () => readFileSync(log, 'utf8').split('\n').filter(Boolean).length };
}

/** A command in a pty of 100 × 40, with what it showed and a way to type. */
export class Pty {
  constructor(command, env, cwd) {
    this.shown = '';
    // Who writes to a file that is full is told, not killed.
    const quoted = command.map((part) => `'${part.replaceAll("'", "'\\''")}'`).join(' ');
    this.process = spawn('script', ['-qfec', `stty cols 120 rows 45; trap '' XFSZ; exec ${quoted}`, '/dev/null'], { env, cwd, detached: true });
    this.process.stdout.on('data', (bytes) => (this.shown += bytes));
    this.ended = once(this.process, 'exit');
    atEnd(() => this.kill());
  }

  type(text) {
    this.process.stdin.write(text);
  }

  kill() {
    try {
      process.kill(-this.process.pid, 'SIGKILL');
    } catch {
      // It ended before.
    }
  }

  /** All that was ever shown, without control sequences; a jump of the cursor counts as a space. */
  text() {
    const escape = '\u001b';
    const plain = this.shown
      .replaceAll(new RegExp(`${escape}\\[[0-9;]*H`, 'g'), ' ')
      .replaceAll(new RegExp(`${escape}\\[[0-9;?]*[A-Za-z]`, 'g'), '')
      .replaceAll(new RegExp(`${escape}[()][A-Z0-9]`, 'g'), '');
    return plain.replaceAll(/\s+/g, ' ');
  }
}

export async function phone(options = {}) {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage', ...(options.args ?? [])],
  });
  atEnd(() => browser.close());
  const context = await browser.newContext({
    viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true,
    colorScheme: options.colorScheme ?? 'light',
  });
  context.setDefaultTimeout(20_000);
  const page = await context.newPage();
  const faults = [];
  page.on('pageerror', (error) => faults.push(String(error)));
  // A connection that is refused is no fault of the page: the tests take the relay away.
  const expected = /^WebSocket connection to .* failed/;
  page.on('console', (message) => message.type() === 'error' && !expected.test(message.text()) && faults.push(message.text()));
  return { browser, context, page, faults };
}

/** Runs steps; when one fails, keeps a picture of the page and says what it had reported. */
export async function watched({ page, faults }, name, steps) {
  try {
    return await steps();
  } catch (error) {
    mkdirSync(SHOTS, { recursive: true });
    await page.screenshot({ path: join(SHOTS, `${name}-failed.png`) }).catch(() => {});
    console.error('the page reported:', faults, '\nand shows:', (await page.locator('body').innerText().catch(() => '')).slice(0, 1500));
    throw error;
  }
}

/** Accessibility faults of the page as it is now, in both colour schemes. */
export async function axe(page) {
  await page.evaluate(`${AXE};undefined`);
  const faults = [];
  for (const colorScheme of ['dark', 'light']) {
    await page.emulateMedia({ colorScheme });
    const { violations } = await page.evaluate(() => globalThis.axe.run(document));
    faults.push(...violations.map((v) => `${colorScheme} ${v.id}: ${v.help} (${v.nodes.map((n) => n.target.join(' ')).join('; ')})`));
  }
  return faults;
}

/** A picture in both colour schemes. */
export async function shoot(page, name) {
  mkdirSync(SHOTS, { recursive: true });
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    await page.screenshot({ path: join(SHOTS, `${name}-${colorScheme}.png`) });
  }
  await page.emulateMedia({ colorScheme: 'light' });
}

/** Adds an entry to a report. */
export function report(file, entry) {
  const path = join(ROOT, 'target', 'reports', file);
  mkdirSync(join(ROOT, 'target', 'reports'), { recursive: true });
  let all = [];
  try {
    all = JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    // The first entry.
  }
  const rest = all.filter((e) => e.agent !== entry.agent);
  writeFileSync(path, `${JSON.stringify([...rest, entry], null, 2)}\n`);
}
