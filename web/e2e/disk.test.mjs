// A relay whose disk is full: the page says so, what is written waits in view, and it goes on by itself.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Desktop, Hand, ofOneRelay, phone } from './desk.mjs';
import { axe, cleanUp, shoot, watched } from './lib.mjs';

after(cleanUp);

test('a page says that the relay stores nothing, and goes on by itself when it does', { timeout: 120_000, ...ofOneRelay('it fills the disk of the one relay') }, async () => {
  const desktop = await Desktop.start(['--agent', 'scripted']);
  const device = await phone();
  const { page } = device;
  const hand = new Hand(page);
  const told = page.locator('.chat .trouble', { hasText: 'cannot store messages now' });
  const limit = (bytes) => execFileSync('prlimit', [`--fsize=${bytes}:unlimited`, `--pid=${desktop.find(' serve ')}`]);

  const log = async () => {
    const authorization = `Bearer ${readFileSync(join(desktop.data, 'admin-token'), 'utf8').trim()}`;
    return (await (await fetch(`http://${desktop.admin}/healthz`, { headers: { authorization } })).json()).log;
  };

  await watched(device, 'disk', async () => {
    await hand.pair(desktop, 'Ana');
    await hand.newThread('one');
    await page.getByText('You said: one').waitFor();
    await hand.idle();

    limit(1);
    await hand.say('two');
    await told.waitFor();
    assert.equal(await page.getByText('You said: two').count(), 0);
    assert.deepEqual(await log(), { ok: false, sessionsDegraded: 1 }, 'monitoring sees it, too');
    await page.locator('.bubble', { hasText: 'two' }).getByText('on this phone').waitFor();
    await shoot(page, '19-disk-full');
    assert.deepEqual(await axe(page), []);

    limit('unlimited');
    await page.getByText('You said: two').waitFor();
    await told.waitFor({ state: 'detached' });
    await page.locator('.chat .hop.good').nth(2).waitFor();
    assert.deepEqual(await log(), { ok: true, sessionsDegraded: 0 });
    assert.equal(await page.getByText('You said: two', { exact: true }).count(), 1);
  });
  assert.deepEqual(device.faults, []);
});
