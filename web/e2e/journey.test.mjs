// The whole way with a real coding agent: one command in a terminal, the link on a phone, approval
// typed at the terminal, then prompts, approvals, a reload, a killed relay, a restarted desktop.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Pty, ROOT, axe, cleanUp, freePort, mockModel, phone, report, scratch, shoot, until, watched } from './lib.mjs';

const BELAY = join(ROOT, 'target/debug/belay');
const CACHE = process.env.BELAY_CACHE ?? join(homedir(), '.cache/belay');
const CODEX = join(CACHE, 'codex-0.169.0/codex');

after(cleanUp);

/** A home of its own for the agent, with the mock as its only model. */
function codexHome(model) {
  const home = scratch('home');
  mkdirSync(join(home, '.codex'));
  writeFileSync(join(home, '.codex/config.toml'), `
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
  return home;
}


function descendants(pid) {
  const children = readdirSync('/proc').filter((name) => /^\d+$/.test(name)).filter((name) => {
    try {
      return readFileSync(`/proc/${name}/stat`, 'utf8').split(') ')[1].split(' ')[1] === String(pid);
    } catch {
      return false;
    }
  });
  return children.flatMap((child) => [Number(child), ...descendants(child)]);
}

function commandOf(pid) {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
  } catch {
    return '';
  }
}

test('a phone drives the real Codex through Belay', { timeout: 240_000 }, async () => {
  assert.ok(existsSync(CODEX), `${CODEX} is missing: make bootstrap fetches it`);
  const model = await mockModel();
  const home = codexHome(model);
  const project = scratch('project');
  const data = scratch('data');
  const port = await freePort();
  const adminPort = await freePort();
  const steps = [];
  let pid;
  let took;
  const done = (step) => steps.push(step);
  const env = { PATH: process.env.PATH, HOME: home, CODEX_HOME: join(home, '.codex'), LANG: 'C.UTF-8', SHELL: '/bin/bash', TERM: 'xterm-256color' };
  const args = ['up', '--data-dir', data, '--port', String(port), '--admin-listen', `127.0.0.1:${adminPort}`, '--codex', CODEX, '--agent', 'codex', '--folder', project, '--name', 'Workbench'];
  let up = new Pty([BELAY, ...args], env, project);
  const processOf = (part) => descendants(up.process.pid).find((pid) => commandOf(pid).includes(part));

  // The link is wrapped by the terminal, so it is asked for where machines read it.
  await until('the terminal shows a link', () => up.text().includes('scan with the phone'));
  done('up');
  const added = execFileSync(BELAY, ['devices', 'add', '--data-dir', data], { encoding: 'utf8' });
  const link = /Open on the phone: (\S+)/.exec(added)[1];
  const device = await phone();
  const { page, faults } = device;
  await watched(device, 'journey', async () => {
  await page.goto(link);
  await page.getByLabel('Name of this device').fill('Ana’s phone');
  await shoot(page, '01-pair');
  assert.deepEqual(await axe(page), []);
  await page.getByRole('button', { name: 'Pair' }).click();
  const digits = (await page.locator('.digits').textContent()).replaceAll(' ', '');
  await until('the terminal shows the same digits', () => up.text().includes(`${digits.slice(0, 3)} ${digits.slice(3)}`));
  await shoot(page, '02-compare');
  assert.deepEqual(await axe(page), []);
  up.type('y');
  await page.getByRole('heading', { name: 'Workbench' }).waitFor();
  done('pair');

  await page.getByRole('button', { name: 'New thread' }).click();
  await page.getByLabel('What should it do?').fill('Hello there');
  await shoot(page, '03-new-thread');
  assert.deepEqual(await axe(page), []);
  await page.getByRole('button', { name: 'Start' }).click();
  await page.getByText('Hello from the mock model.').waitFor();
  await until('the bubble says that the agent has it', () => page.getByText('✓✓ with the agent').count());
  done('prompt');
  done('stream');

  const say = async (text) => {
    await page.getByLabel('Message the agent').fill(text);
    await page.getByRole('button', { name: 'Send' }).click();
  };
  const card = page.locator('.card.ask');

  await say('RUN echo approved-$((40+2))');
  await card.waitFor();
  assert.match(await card.textContent(), /echo approved/);
  await shoot(page, '04-approval');
  assert.deepEqual(await axe(page), []);
  await card.getByRole('button', { name: 'Accept', exact: true }).click();
  await page.locator('.output', { hasText: 'approved-42' }).waitFor();
  done('accept');

  await say('RUN touch declined.txt');
  await card.waitFor();
  await card.getByRole('button', { name: 'Decline, go on' }).click();
  await page.locator('.tag.declined').waitFor();
  assert.ok(!existsSync(join(project, 'declined.txt')), 'what was declined was not run');
  done('decline');

  await page.locator('.working').waitFor({ state: 'detached' });
  await say('RUN touch after-reload.txt');
  await card.waitFor();
  await page.reload();
  await card.waitFor();
  done('reload');
  await card.getByRole('button', { name: 'Accept', exact: true }).click();
  await until('the command ran', () => existsSync(join(project, 'after-reload.txt')));
  done('answer after reload');

  await card.waitFor({ state: 'detached' });
  await page.locator('.working').waitFor({ state: 'detached' });
  await say('SLOW please');
  await page.getByText('word5', { exact: false }).waitFor();
  const relay = processOf(' serve ');
  assert.ok(relay, 'the relay is a child process');
  process.kill(relay, 'SIGKILL');
  await page.locator('.chat .hops .bad, .chat .hops .trying').first().waitFor();
  await shoot(page, '05-relay-gone');
  await page.getByText('word199', { exact: false }).waitFor({ timeout: 60_000 });
  const streamed = await page.locator('.bubble.agent').last().textContent();
  assert.equal(streamed.trim(), Array.from({ length: 200 }, (_, n) => `word${n}`).join(' '), 'the text is complete');
  await page.locator('.chat .hops .good').nth(2).waitFor();
  await shoot(page, '06-recovered');
  done('relay killed');

  await page.locator('.working').waitFor({ state: 'detached' });
  await say('RUN touch never.txt');
  await card.waitFor();
  const agent = processOf('app-server');
  up.kill();
  await until('everything of the desktop has ended', () => commandOf(agent) === '' || !commandOf(agent).includes('app-server'));
  up = new Pty([BELAY, ...args], env, project);
  await page.getByText('Void:', { exact: false }).first().waitFor({ timeout: 60_000 });
  await shoot(page, '07-void');
  assert.ok(!existsSync(join(project, 'never.txt')));
  done('desktop restarted, approval void');
  await say('Hello again');
  await until('the thread goes on', async () => (await page.getByText('Hello from the mock model.').count()) >= 2);
  done('resume');
  assert.deepEqual(await axe(page), []);
  await page.setViewportSize({ width: 1280, height: 800 });
  await shoot(page, '08-wide');
  await page.setViewportSize({ width: 390, height: 844 });

  pid = processOf('app-server');
  const started = Date.now();
  execFileSync(BELAY, ['devices', 'revoke', 'Ana’s phone', '--yes', '--data-dir', data, '--admin', `http://127.0.0.1:${adminPort}`]);
  await page.getByRole('heading', { name: 'This device was removed' }).waitFor();
  took = Date.now() - started;
  await shoot(page, '09-revoked');
  assert.deepEqual(await axe(page), []);
  assert.ok(took < 1000, `revoked within a second, not ${took} ms`);
  done('revoke');

  });
  assert.deepEqual(faults, []);
  const version = execFileSync(CODEX, ['--version'], { encoding: 'utf8' }).trim();
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8', cwd: ROOT }).trim();
  assert.ok(model.requests() > 0, 'the mock model was asked');
  report('journey.json', { agent: 'codex', version, pid, model_requests: model.requests(), steps, failed: [], revoke_ms: took, commit, started: new Date().toISOString() });
});
