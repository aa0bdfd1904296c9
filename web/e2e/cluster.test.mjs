// A whole cluster behind its balancer: an answer streams to the page while relays and brokers are killed one
// after the other, and is complete.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { Cluster } from './cluster.mjs';
import { Desktop, Hand } from './desk.mjs';
import { cleanUp, phone, shoot, until, watched } from './lib.mjs';

after(cleanUp);

/** What the demo says slowly, for six seconds. */
const WORDS = Array.from({ length: 200 }, (_, n) => `word${n}`).join(' ');

test('an answer is complete though relays and brokers die while it streams', { timeout: 240_000 }, async () => {
  const cluster = await Cluster.start('--affinity');
  const desktop = await Desktop.at(cluster.url, ['--agent', 'scripted']);
  const device = await phone();
  const { page } = device;
  const hand = new Hand(page);

  await watched(device, 'cluster', async () => {
    await hand.pair(desktop, 'Ana');
    await hand.newThread('hello');
    await page.getByText('You said: hello').waitFor();
    for (const [n, name] of ['relay1', 'nats1', 'relay2', 'redis', 'relay3'].entries()) {
      await hand.idle();
      await hand.say('slow');
      const answers = page.getByText('word0 word1 ');
      await until('it answers', async () => (await answers.count()) === n + 1);
      const up = cluster.kill(name);
      await until(`the answer is complete without ${name}`, async () => (await answers.nth(n).innerText()).includes(WORDS), 40_000);
      assert.equal((await answers.nth(n).innerText()).trim(), WORDS, `${name}: nothing twice, nothing else`);
      await up;
    }
    assert.equal(await page.getByText('word0 word1 ').count(), 5);
    await shoot(page, 'cluster');
  });
});
