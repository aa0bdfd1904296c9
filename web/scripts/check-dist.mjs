// Weight of the first load, and that the page loads nothing from elsewhere and runs nothing inline.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

const BUDGET = 90 * 1024;
const files = readdirSync('dist', { recursive: true }).filter((f) => statSync(join('dist', f)).isFile());
const faults = [];
let sum = 0;
for (const file of files) {
  const weight = gzipSync(readFileSync(join('dist', file)), { level: 9 }).length;
  sum += weight;
  console.log(String(weight).padStart(7), file);
  if (file.startsWith('assets/') && !/-[\w-]{8}\.\w+$/.test(file)) faults.push(`${file}: name without hash`);
}
const html = readFileSync('dist/index.html', 'utf8');
for (const match of html.matchAll(/<script(?![^>]*\ssrc=)[^>]*>|<style|\son\w+=|\sstyle=/g)) faults.push(`inline: ${match[0]}`);
for (const match of html.matchAll(/(?:src|href)="([^"]+)"/g)) if (!match[1].startsWith('./')) faults.push(`not ours: ${match[1]}`);
console.log(String(sum).padStart(7), `compressed bytes in all, of ${BUDGET}`);
if (sum > BUDGET) faults.push('over the budget');
if (files.length === 0) faults.push('nothing was built');
if (faults.length) {
  console.error(faults.join('\n'));
  process.exit(1);
}
