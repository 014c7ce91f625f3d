// What a browser has to load before somebody sees the home page.
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { openSignedIn, openPage, settled, startBrowser, stopBrowser } from './support.mjs';

const FIRST_LOAD_BYTES_MAX = 100_000;
const dist = new URL('../dist/', import.meta.url);

before(startBrowser);
after(stopBrowser);

async function loaded(bed) {
  const paths = await bed.page.evaluate(() => performance.getEntriesByType('resource').filter((it) => /\.(js|css)$/.test(it.name)).map((it) => new URL(it.name).pathname.slice(1)));
  // What does not shrink has no compressed neighbour.
  const sent = (path) => [new URL(`${path}.gz`, dist), new URL(path, dist)].find((it) => existsSync(it));
  const sizes = [...new Set(paths), 'index.html'].map((path) => statSync(sent(path)).size);
  return sizes.reduce((sum, it) => sum + it, 0);
}

test('the first load has at most 100 kB', async () => {
  const bed = await openPage();
  await bed.test('email').waitFor();
  const bytes = await loaded(bed);
  console.log(`# first load: ${bytes} bytes, gzip`);
  assert.ok(bytes <= FIRST_LOAD_BYTES_MAX, `${bytes} bytes`);
  await bed.close();
});

test('charts are loaded with the first chart', async () => {
  const bed = await openSignedIn();
  await settled(bed);
  console.log(`# with the home page: ${await loaded(bed)} bytes, gzip`);
  const names = await bed.page.evaluate(() => performance.getEntriesByType('resource').map((it) => it.name));
  assert.ok(!names.some((name) => name.includes('Chart')), names.join('\n'));
  await bed.close();
});

test('nothing in the page is inline', () => {
  const html = readFileSync(new URL('index.html', dist), 'utf8');
  assert.doesNotMatch(html, /<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=/);
});
