import { svelte } from '@sveltejs/vite-plugin-svelte';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

/** Where `npm run dev` finds a control plane; as `bed` prints it. */
const controlPlane = process.env['ADMIN_URL'] ?? 'http://127.0.0.1:8001';

export default defineConfig({
  plugins: [svelte()],
  base: './',
  resolve: { alias: { $lib: fileURLToPath(new URL('src/lib', import.meta.url)), $gen: fileURLToPath(new URL('src/gen', import.meta.url)) } },
  build: {
    target: 'es2022',
    // The page's policy allows no inline code, and a data URL of a script is some.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: { proxy: { '^/bridge\\.admin\\.v1\\.': controlPlane } },
  test: { include: ['src/**/*.test.ts'] },
});
