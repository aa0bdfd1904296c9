// The whole way with a real coding agent: one command in a terminal, the link on a phone, approval
// typed at the terminal, then prompts, approvals, a reload, a killed relay, a restarted desktop.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, test } from 'node:test';
import { CLUSTERED, CODEX, Desktop, Hand, OPENCODE, commit, phone, version } from './desk.mjs';
import { axe, cleanUp, report, shoot, until, watched } from './lib.mjs';

after(cleanUp);

/** Runs a journey and reports it, also when a step fails. */
async function journey(agent, binary, desktop, device, walk) {
  const steps = [];
  const entry = { agent, version: version(binary), pid: undefined, model_requests: 0, steps, failed: [], commit: commit(), started: new Date().toISOString() };
  try {
    await watched(device, agent, () => walk(steps, entry));
    assert.deepEqual(device.faults, []);
    assert.ok(desktop.model.requests() > 0, 'the mock model was asked');
  } catch (error) {
    entry.failed.push(`after "${steps.at(-1)}": ${String(error).split('\n')[0]}`);
    throw error;
  } finally {
    entry.model_requests = desktop.model.requests();
    report(CLUSTERED ? 'journey-cluster.json' : 'journey.json', entry);
  }
}

/** A long answer is seen while it grows. */
async function streams(hand, steps) {
  await hand.idle();
  const answers = hand.page.locator('.bubble.agent');
  const before = await answers.count();
  await hand.say('SLOW please');
  const partly = await until('the answer begins', async () => {
    const text = (await answers.count()) > before ? await answers.last().textContent() : '';
    return text.includes('word5 ') && text;
  });
  assert.ok(!partly.includes('word199'), 'a part is shown before the whole is there');
  steps.push('stream');
}

const WORDS = Array.from({ length: 200 }, (_, n) => `word${n}`).join(' ');

async function declineThenAnswerAfterReload(hand, desktop, decline, accept, steps) {
  await hand.idle();
  await hand.say('RUN touch declined.txt');
  await hand.answer(decline);
  await hand.page.locator('.tag.declined').waitFor();
  assert.ok(!desktop.made('declined.txt'), 'what was declined was not run');
  steps.push('decline');

  await hand.idle();
  await hand.say('RUN touch after-reload.txt');
  await hand.card.waitFor();
  await hand.page.reload();
  await hand.card.waitFor();
  steps.push('reload');
  await hand.answer(accept);
  await until('the command ran', () => desktop.made('after-reload.txt'));
  steps.push('answer after reload');
}

test('a phone drives the real Codex through Belay', { timeout: 240_000 }, async () => {
  assert.ok(existsSync(CODEX), `${CODEX} is missing: make bootstrap fetches it`);
  const desktop = await Desktop.start(['--codex', CODEX, '--agent', 'codex', ...(CLUSTERED ? [] : ['--log-format', 'json'])]);
  const device = await phone();
  const { page } = device;
  const hand = new Hand(page);
  const look = async (name) => {
    await shoot(page, name);
    assert.deepEqual(await axe(page), [], name);
  };
  await journey('codex', CODEX, desktop, device, async (steps, entry) => {
    steps.push('up');
    await hand.pair(desktop, 'Ana’s phone', look);
    steps.push('pair');
    await hand.newThread('Hello there', look);
    await page.getByText('Hello from the mock model.').waitFor();
    await page.getByText('✓✓ with the agent').waitFor();
    steps.push('prompt');

    await hand.say('RUN echo approved-$((40+2))');
    await hand.card.waitFor();
    assert.match(await hand.card.textContent(), /echo approved/);
    await look('04-approval');
    await hand.answer('Accept');
    await page.locator('.output', { hasText: 'approved-42' }).waitFor();
    steps.push('accept');

    await declineThenAnswerAfterReload(hand, desktop, 'Decline, go on', 'Accept', steps);

    await streams(hand, steps);
    const killed = desktop.killRelays();
    await page.locator('.chat .hop.bad, .chat .hop.trying').first().waitFor();
    await shoot(page, '05-relay-gone');
    await page.getByText('word199', { exact: false }).waitFor({ timeout: 60_000 });
    const streamed = await page.locator('.bubble.agent').last().textContent();
    assert.equal(streamed.trim(), WORDS, 'the text is complete');
    await page.locator('.chat .hop.good').nth(2).waitFor();
    await shoot(page, '06-recovered');
    await killed;
    steps.push('relay killed, text complete');

    await streams(hand, steps);
    const relays = desktop.relays();
    await desktop.replaceRelays();
    await until('the text is complete', async () => (await page.locator('.bubble.agent').last().textContent()).trim() === WORDS, 60_000);
    assert.ok(desktop.relays().every((pid) => !relays.includes(pid)), 'other processes serve now');
    assert.equal((await page.locator('.bubble.agent').allTextContents()).filter((text) => text.trim() === WORDS).length, 2, 'nothing is doubled');
    await page.locator('.chat .hop.good').nth(2).waitFor();
    steps.push('relay drained and restarted, text complete');

    await hand.idle();
    await hand.say('RUN touch never.txt');
    await hand.card.waitFor();
    await desktop.kill('app-server');
    desktop.up();
    await page.getByText('Void:', { exact: false }).first().waitFor({ timeout: 60_000 });
    await look('07-void');
    assert.ok(!desktop.made('never.txt'));
    steps.push('desktop restarted, approval void');
    await hand.say('Hello again');
    await until('the thread goes on', async () => (await page.getByText('Hello from the mock model.').count()) >= 2);
    steps.push('resume');

    await hand.idle();
    process.kill(desktop.find('app-server'), 'SIGSTOP');
    await hand.say('Never begun');
    await until('the intent is kept', () => desktop.journal().some((line) => line.intent?.request.command.text === 'Never begun'));
    await desktop.kill('app-server');
    const before = await page.getByText('Hello from the mock model.').count();
    // As after a kill between effect and result: only the agent knows that this prompt reached it.
    const greeted = desktop.forget('Hello again');
    desktop.up();
    const unknown = page.locator('.card.warn');
    await unknown.getByText('Never begun').waitFor({ timeout: 60_000 });
    await look('08-unknown');
    await until('the prompt that stands in its thread counts as done',
      () => desktop.journal().some((line) => line.result?.outcome.id === greeted));
    await until('only what nobody can know is asked about', async () => (await unknown.count()) === 1);
    assert.equal(await page.getByText('Hello from the mock model.').count(), before, 'nothing ran by itself');
    await unknown.getByRole('button', { name: 'Send again' }).click();
    await until('it runs now', async () => (await page.getByText('Hello from the mock model.').count()) > before);
    await until('nothing is asked any more', async () => (await unknown.count()) === 0);
    steps.push('desktop killed between intent and result');

    await page.setViewportSize({ width: 1280, height: 800 });
    await look('09-wide');
    await page.setViewportSize({ width: 390, height: 844 });

    entry.pid = desktop.find('app-server');
    const asked = Date.now();
    desktop.belay('devices', 'revoke', 'Ana’s phone', '--yes');
    await page.getByRole('heading', { name: 'This device was removed' }).waitFor();
    entry.revoke_ms = Date.now() - asked;
    await look('10-revoked');
    // The start of a process and a browser that draws are part of it.
    assert.ok(entry.revoke_ms < 5000, `revoked at once, not after ${entry.revoke_ms} ms`);
    steps.push('revoke');
    assert.deepEqual(desktop.secretsInLogs(), [], 'no log holds a secret');
  });
});

test('a phone drives the real OpenCode by ACP through Belay', { timeout: 240_000 }, async () => {
  assert.ok(existsSync(OPENCODE), `${OPENCODE} is missing: make bootstrap fetches it`);
  const desktop = await Desktop.start(['--acp', `${OPENCODE} acp`, '--agent', 'acp', '--plain']);
  const device = await phone({ colorScheme: 'dark' });
  const { page } = device;
  const hand = new Hand(page);

  await journey('opencode', OPENCODE, desktop, device, async (steps, entry) => {
    await hand.pair(desktop, 'Ben’s phone');
    steps.push('pair');
    await hand.newThread('Hello there');
    await page.getByText('Hello from the mock model.').waitFor();
    steps.push('prompt');
    await streams(hand, steps);

    await hand.idle();
    await hand.say('RUN touch accepted.txt');
    await hand.card.waitFor();
    assert.match(await hand.card.textContent(), /touch accepted\.txt/);
    await shoot(page, '11-acp-approval');
    await hand.answer('Allow once');
    await until('the command ran', () => desktop.made('accepted.txt'));
    steps.push('accept');

    await declineThenAnswerAfterReload(hand, desktop, 'Reject', 'Allow once', steps);

    await hand.idle();
    await desktop.kill('opencode acp');
    desktop.up();
    await page.locator('.chat .hop.good').nth(2).waitFor({ timeout: 60_000 });
    const before = await page.getByText('Hello from the mock model.').count();
    await hand.say('Hello again');
    await until('the thread goes on', async () => (await page.getByText('Hello from the mock model.').count()) > before);
    steps.push('resume');
    entry.pid = desktop.find('opencode acp');
  });
});
