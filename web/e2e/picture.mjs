// Makes docs/images/phone.png: the real Codex asks, on a phone in light and in dark.

import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CODEX, Desktop, Hand, phone } from './desk.mjs';
import { ROOT, cleanUp, scratch } from './lib.mjs';

/** A project whose path tells nothing of this machine; `TMPDIR` may. */
function project() {
  const folder = '/tmp/tidepool';
  mkdirSync(folder, { recursive: true });
  return folder;
}

async function shots(folder) {
  const desktop = await Desktop.start(['--codex', CODEX, '--agent', 'codex'], undefined, project());
  const { page } = await phone();
  const hand = new Hand(page);
  await hand.pair(desktop, 'Pocket');
  await hand.newThread('Tide table for Bergen');
  await page.getByText('Hello from the mock model.').waitFor();
  await hand.idle();
  await hand.say('RUN wc -l *');
  // Its buttons wait until the card has settled.
  await hand.card.locator('button:enabled').first().waitFor();
  await page.waitForTimeout(1_000);
  const taken = [];
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    const path = join(folder, `${colorScheme}.png`);
    await page.screenshot({ path });
    taken.push(readFileSync(path, 'base64'));
  }
  return taken;
}

async function together(taken) {
  const { page } = await phone();
  await page.setViewportSize({ width: 810, height: 844 });
  const images = taken.map((data) => `<img src="data:image/png;base64,${data}" width="390" height="844">`);
  await page.setContent(`<meta name="viewport" content="width=810">
    <body style="margin:0;width:810px;display:flex;gap:30px;background:transparent">${images.join('')}`);
  await page.screenshot({ path: join(ROOT, 'docs/images/phone.png'), scale: 'css', omitBackground: true });
}

try {
  await together(await shots(scratch('picture')));
} finally {
  await cleanUp();
}
