// What a person wrote outlives the page: it is sent again under its name, once, and by one tab only.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { Desktop, Hand, phone } from './desk.mjs';
import { axe, cleanUp, until, watched } from './lib.mjs';

after(cleanUp);

/** Takes part in the connections of all tabs: notes the names of messages, and swallows them on demand. */
async function tap(context) {
  const tapped = { swallows: false, sockets: 0, names: new Map() };
  await context.routeWebSocket(/\/ws$/, (socket) => {
    tapped.sockets += 1;
    const relay = socket.connectToServer();
    socket.onMessage((text) => {
      const frame = JSON.parse(text);
      const said = frame.k === 'msg' ? frame.p.b.command.command.text : undefined;
      if (said) tapped.names.set(said, [...(tapped.names.get(said) ?? []), `${frame.epoch}/${frame.seq}`]);
      if (frame.k !== 'msg' || !tapped.swallows) relay.send(text);
    });
  });
  return tapped;
}

test('what was written outlives the page, and one tab is connected', { timeout: 120_000 }, async () => {
  const desktop = await Desktop.start(['--agent', 'scripted']);
  const device = await phone();
  const { context, page } = device;
  const tapped = await tap(context);
  const hand = new Hand(page);
  const once = async (tab, text) => {
    await tab.getByText(`You said: ${text}`, { exact: true }).waitFor();
    assert.equal(await tab.getByText(`You said: ${text}`, { exact: true }).count(), 1, text);
    assert.equal(new Set(tapped.names.get(text)).size, 1, `${text} keeps its name`);
  };

  await watched(device, 'outbox', async () => {
    await hand.pair(desktop, 'Ana');
    await hand.newThread('one');
    await page.getByText('You said: one').waitFor();
    await hand.idle();

    tapped.swallows = true;
    await hand.say('two');
    await page.getByText('◷ on this phone').waitFor();
    await until('it was sent', () => tapped.names.has('two'));
    await page.reload();
    await page.getByText('◷ on this phone').waitFor();
    tapped.swallows = false;
    await page.reload();
    await once(page, 'two');
    await hand.idle();

    const host = desktop.host();
    process.kill(host, 'SIGSTOP');
    await hand.say('stored');
    await page.getByText('✓ at the relay', { exact: true }).waitFor();
    await page.reload();
    await page.getByText('✓ at the relay', { exact: true }).waitFor();
    process.kill(host, 'SIGCONT');
    await once(page, 'stored');
    assert.equal(tapped.names.get('stored').length, 1, 'what is stored is not sent again');
    await hand.idle();

    const before = tapped.sockets;
    const second = await context.newPage();
    await second.goto(page.url());
    const elsewhere = { name: 'Belay is open in another tab' };
    await second.getByRole('heading', elsewhere).waitFor();
    assert.deepEqual(await axe(second), []);
    assert.equal(tapped.sockets, before, 'the second tab does not connect');
    await second.getByRole('button', { name: 'Use it here' }).click();
    await second.getByRole('button', { name: /^one/ }).click();
    await page.getByRole('heading', elsewhere).waitFor();
    await second.locator('.chat .hop.good').nth(2).waitFor();

    tapped.swallows = true;
    await new Hand(second).say('three');
    await until('it was sent', () => tapped.names.has('three'));
    await second.close();
    tapped.swallows = false;
    await page.getByRole('button', { name: 'Use it here' }).click();
    await once(page, 'three');
  });

  assert.deepEqual(device.faults, []);
});
