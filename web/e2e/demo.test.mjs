// What needs no model: two phones, questions, second taps, typed codes, plain http, a lost network.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { Desktop, Hand, ofOneRelay, phone } from './desk.mjs';
import { axe, cleanUp, freePort, shoot, until, watched } from './lib.mjs';

after(cleanUp);

test('two phones: the first answer wins and the other phone is told who gave it', { timeout: 120_000 }, async () => {
  const desktop = await Desktop.start(['--agent', 'scripted']);
  const [first, second] = [await phone(), await phone({ colorScheme: 'dark' })];
  const [ana, ben] = [new Hand(first.page), new Hand(second.page)];

  await watched(first, 'two-phones', async () => {
    await ana.pair(desktop, 'Ana');
    await ben.pair(desktop, 'Ben');
    await ana.newThread('run make me a sandwich');
    await ana.card.waitFor();
    await second.page.getByRole('button', { name: /make me a sandwich/ }).click();
    await ben.card.waitFor();

    await ben.answer('Accept');
    await ana.card.waitFor({ state: 'detached' });
    await first.page.getByText('I pretended to run it.').waitFor();

    await ana.idle();
    await ana.say('run something far');
    await ana.card.getByRole('button', { name: /Always accept/ }).click();
    await ana.card.getByRole('button', { name: /Tap again: Always accept/ }).waitFor();
    assert.equal(await ana.card.count(), 1, 'one tap does not answer what reaches far');
    await ana.card.getByRole('button', { name: /Tap again: Always accept/ }).click();
    await ana.card.waitFor({ state: 'detached' });

    await ana.idle();
    await ana.say('ask me');
    await ana.card.getByLabel('Blue').check();
    await shoot(first.page, '12-question');
    assert.deepEqual(await axe(first.page), []);
    await ana.card.getByRole('button', { name: 'Answer' }).click();
    await first.page.getByText('You chose Blue.').waitFor();

    await ana.idle();
    await ana.say('edit');
    await ana.card.getByText(/hello\.txt$/).first().waitFor();
    await shoot(first.page, '13-diff');
    await ana.answer('Decline');
    await first.page.getByText('Then I leave the file as it is.').waitFor();

    desktop.pty.type('r');
    await until('the terminal asks before it removes', () => desktop.pty.text().includes('Remove Ana? y = yes'));
    desktop.pty.type('y');
    await first.page.getByRole('heading', { name: 'This device was removed' }).waitFor();
    await until('the desktop says so', () => desktop.said('Ana was removed'));
    await ben.say('still here');
    await second.page.getByText('You said: still here').waitFor();
  });

  assert.deepEqual([...first.faults, ...second.faults], []);
});

test('plain http on another name: keys, comparison code and reconnect work without the key store', { timeout: 120_000, ...ofOneRelay('its public address is a setting of the one relay') }, async () => {
  const port = await freePort();
  const desktop = await Desktop.start(['--agent', 'scripted', '--public-url', `http://relay.test:${port}`], port);
  const device = await phone({ args: ['--host-resolver-rules=MAP relay.test 127.0.0.1'] });
  const { page } = device;
  const hand = new Hand(page);

  await watched(device, 'plain-http', async () => {
    await hand.pair(desktop, 'Insecure', async (name) => {
      if (name !== '01-pair') return;
      assert.equal(await page.evaluate(() => isSecureContext), false);
      await page.getByText('This page came over plain http').waitFor();
      await shoot(page, '14-plain-http');
    });
    await hand.newThread('hello');
    await page.getByText('You said: hello').waitFor();
    await page.reload();
    await page.getByText('You said: hello').waitFor();
  });

  assert.deepEqual(device.faults, []);
});

test('a prompt given without network is kept over a reload and delivered after it', { timeout: 120_000 }, async () => {
  const desktop = await Desktop.start(['--agent', 'scripted']);
  const device = await phone();
  const { page, context } = device;
  const hand = new Hand(page);

  await watched(device, 'offline', async () => {
    await hand.pair(desktop, 'Ana');
    await hand.newThread('hello');
    await page.getByText('You said: hello').waitFor();
    desktop.signalRelays('SIGSTOP');
    await hand.say('written in a tunnel');
    await page.getByText('on this phone', { exact: false }).waitFor();
    await shoot(page, '15-outbox');
    desktop.signalRelays('SIGCONT');
    await page.getByText('You said: written in a tunnel').waitFor();
    assert.equal(await page.getByText('You said: written in a tunnel').count(), 1);

    await context.setOffline(true);
    await page.evaluate(() => dispatchEvent(new Event('pageshow')));
    await page.locator('.chat .hop.bad').first().waitFor();
    await hand.say('written offline');
    await page.getByText('on this phone', { exact: false }).waitFor();
    for (const n of [1, 2, 3, 4]) await hand.say(`order ${n}`);
    await context.setOffline(false);
    await page.getByLabel('Message the agent').fill('order 5');
    const reloaded = page.waitForEvent('load');
    const send = page.getByRole('button', { name: 'Send' });
    await until('it can be sent', () => send.isEnabled());
    await send.evaluate((button) => {
      button.click();
      location.reload();
    });
    await reloaded;
    await page.getByText('You said: written offline').waitFor();
    await until('it is there once', async () => (await page.getByText('You said: written offline').count()) === 1);
    await page.getByText('You said: order 5').waitFor();
    const given = desktop.journal().flatMap((line) => line.intent?.request.command.text ?? []).filter((t) => t.startsWith('order'));
    assert.deepEqual(given, ['order 1', 'order 2', 'order 3', 'order 4', 'order 5'], 'a reload keeps the order');
  });
});

test('a small phone without a pointer: no sideways scroll, and an approval by keyboard alone', { timeout: 120_000 }, async () => {
  const desktop = await Desktop.start(['--agent', 'scripted']);
  const device = await phone();
  const { page } = device;
  const hand = new Hand(page);

  await watched(device, 'keyboard', async () => {
    await page.setViewportSize({ width: 360, height: 640 });
    await page.emulateMedia({ reducedMotion: 'reduce' });
    await hand.pair(desktop, 'Ana');
    await hand.newThread('run make me a sandwich');
    await hand.card.waitFor();
    await shoot(page, '18-small');
    const sideways = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(sideways <= 0, `${sideways} px too wide`);
    assert.equal(await page.evaluate(() => getComputedStyle(document.querySelector('.working')).animationName), 'none');
    const focused = () => page.evaluate(() => document.activeElement?.textContent ?? '');
    await until('the option can be reached by Tab', async () => {
      await page.keyboard.press('Tab');
      return (await focused()) === 'Accept';
    });
    await page.keyboard.press('Enter');
    await page.getByText('I pretended to run it.').waitFor();
  });

  assert.deepEqual(device.faults, []);
});

test('a typed code pairs, and a wrong one says what to do', { timeout: 120_000 }, async () => {
  const desktop = await Desktop.start(['--agent', 'scripted']);
  const device = await phone();
  const { page } = device;
  const shown = desktop.belay('devices', 'add');
  const code = /or type (\S+) on/.exec(shown)[1];
  const address = /Open in a browser on this machine: ([^#]+)#/.exec(shown)[1];

  await watched(device, 'typed-code', async () => {
    await page.goto(address);
    await page.getByLabel('Code').fill('0000-0000');
    await page.getByRole('button', { name: 'Pair' }).click();
    await page.getByText('This code is wrong', { exact: false }).waitFor();
    await shoot(page, '16-wrong-code');
    assert.deepEqual(await axe(page), []);
    await page.getByLabel('Code').fill(code.toLowerCase());
    await page.getByRole('button', { name: 'Pair' }).click();
    const digits = (await page.locator('.digits').textContent()).replaceAll(' ', '');
    await until('both screens agree', () => desktop.pty.text().includes(`${digits.slice(0, 3)} ${digits.slice(3)}`));
    desktop.pty.type('n');
    await page.getByText('The desktop declined.').waitFor();

    const used = /Open in a browser on this machine: (\S+)/.exec(shown)[1];
    await page.goto('about:blank');
    await page.goto(used);
    await page.getByRole('button', { name: 'Pair' }).click();
    await page.getByRole('button', { name: 'Type the new code' }).click();
    await page.getByLabel('Code').waitFor();
    assert.equal(new URL(page.url()).hash, '', 'a reload does not bring back the link that is spent');
  });
});

test('more prompts than the outbox holds are kept, told, and delivered once and in order', { timeout: 180_000 }, async () => {
  const desktop = await Desktop.start(['--agent', 'scripted']);
  const device = await phone();
  const { page } = device;
  const hand = new Hand(page);
  const count = 230;

  await watched(device, 'full-outbox', async () => {
    await hand.pair(desktop, 'Ana');
    await hand.newThread('hello');
    await page.getByText('You said: hello').waitFor();
    desktop.signalRelays('SIGSTOP');
    await page.evaluate(async (n) => {
      const box = document.querySelector('.composer textarea');
      for (let at = 1; at <= n; at += 1) {
        box.value = `prompt ${at} of many`;
        box.dispatchEvent(new Event('input', { bubbles: true }));
        await new Promise((done) => setTimeout(done, 5));
        box.form.requestSubmit();
        await new Promise((done) => setTimeout(done, 5));
      }
    }, count);
    await page.getByText('Much waits on this phone', { exact: false }).waitFor();
    await shoot(page, '17-full-outbox');
    desktop.signalRelays('SIGCONT');
    const answer = (n) => `You said: prompt ${n} of many`;
    await page.getByText(answer(count)).waitFor({ timeout: 90_000 });
    const expected = Array.from({ length: count }, (_, n) => `prompt ${n + 1} of many`);
    const said = async () => (await page.locator('.bubble.user .plain').allTextContents()).filter((text) => text.startsWith('prompt'));
    await until('all prompts stand in the conversation', async () => (await said()).length >= count);
    assert.deepEqual(await said(), expected);
    assert.deepEqual(desktop.journal().flatMap((line) => line.intent?.request.command.text ?? []).filter((t) => t.startsWith('prompt')), expected);
  });
});
