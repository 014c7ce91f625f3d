// After `vite build`: every file that shrinks gets a .br and a .gz beside it, and the sizes are shown.
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, gzipSync } from 'node:zlib';

const dist = new URL('../dist', import.meta.url).pathname;
const TEXT = /\.(html|js|css|svg)$/;

let total = 0;
for (const name of readdirSync(dist, { recursive: true }).sort()) {
  const path = join(dist, name);
  if (!statSync(path).isFile() || !TEXT.test(name)) continue;
  const plain = readFileSync(path);
  const gzip = gzipSync(plain, { level: 9 });
  const brotli = brotliCompressSync(plain);
  if (gzip.length < plain.length) writeFileSync(`${path}.gz`, gzip);
  if (brotli.length < plain.length) writeFileSync(`${path}.br`, brotli);
  total += gzip.length;
  console.log(`${name.padEnd(44)} ${kilobytes(plain.length)}  gzip ${kilobytes(gzip.length)}`);
}
console.log(`all together, gzip: ${kilobytes(total)}`);

function kilobytes(bytes) {
  return `${(bytes / 1000).toFixed(1).padStart(7)} kB`;
}
