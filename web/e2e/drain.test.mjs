// A relay that drains: the page stays where it is while it is refused elsewhere, moves when it can, and
// comes back after it was closed; nothing that was said is lost.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { Desktop, Hand, ofOneRelay, phone } from './desk.mjs';
import { cleanUp, until, watched } from './lib.mjs';

after(cleanUp);

test('a page stays, moves and comes back while the relay drains', { timeout: 120_000, ...ofOneRelay('it drains the one relay, so that there is no other') }, async () => {
  const desktop = await Desktop.start(['--agent', 'scripted']);
  const device = await phone();
  const { page } = device;
  const hand = new Hand(page);
  const drain = (...args) => desktop.belay('drain', ...args, '--admin', `http://${desktop.admin}`);
  const numbers = async () => (await fetch(new URL('/metricsz', page.url()))).json();

  await watched(device, 'drain', async () => {
    await hand.pair(desktop, 'Ana');
    await hand.newThread('one');
    await page.getByText('You said: one').waitFor();

    drain('start', '--reason', 'test', '--window', '20');
    await until('the relay drains', async () => (await fetch(new URL('/readyz', page.url()))).status === 503);
    await hand.idle();
    await hand.say('two');
    await page.getByText('You said: two').waitFor();
    const before = await numbers();
    drain('cancel');
    // Each was told a time of its own in the first half of the window.
    await until('one moved', async () => (await numbers()).wsAuthSuccesses > before.wsAuthSuccesses, 30_000);
    await hand.idle();
    await hand.say('three');
    await page.getByText('You said: three').waitFor();

    drain('start', '--reason', 'test', '--window', '1');
    await until('all are closed', async () => (await numbers()).activeWebSockets === 0, 20_000);
    drain('complete', '--resume');
    await hand.idle();
    await hand.say('four');
    await page.getByText('You said: four').waitFor();
    for (const said of ['one', 'two', 'three', 'four']) {
      assert.equal(await page.getByText(`You said: ${said}`, { exact: true }).count(), 1, said);
    }
  });

  // The browser itself reports sockets that the relay refused.
  assert.deepEqual(device.faults.filter((fault) => !/503|WebSocket/.test(fault)), []);
});
