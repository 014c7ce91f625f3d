// An installation of a spec's own: a control plane, and data planes beside it.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before } from 'node:test';
import { ADMIN_EMAIL, startBrowser, stopBrowser } from './support.mjs';

const { CONTROL_PLANE } = process.env;
const START_MS = 30_000;

export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

/** `environment`: what a spec says besides where everything is. */
export async function startPlane(environment = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'admin-web-'));
  const children = [];
  const tokenFile = join(folder, 'node-token');
  const [admin, fleet] = [await freePort(), await freePort()];

  async function start(program, env, args = []) {
    const ops = `127.0.0.1:${await freePort()}`;
    const child = spawn(program, args, { cwd: folder, env: { PATH: process.env.PATH, OPS_LISTEN: ops, NODE_TOKEN_FILE: tokenFile, ...env }, stdio: 'ignore' });
    children.push(child);
    const deadline = Date.now() + START_MS;
    while (!(await fetch(`http://${ops}/readyz`).then((it) => it.ok, () => false))) {
      assert.ok(Date.now() < deadline && child.exitCode === null, `${program} starts`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async function stop() {
    for (const child of children.reverse()) {
      if (child.exitCode !== null) continue;
      child.kill();
      await once(child, 'exit');
    }
    rmSync(folder, { recursive: true, force: true });
  }

  /** Answers where clients reach it. */
  async function addDataPlane(name) {
    const port = await freePort();
    const env = { HOST: '127.0.0.1', PORT: `${port}`, CONTROL_PLANE_URL: `http://127.0.0.1:${fleet}`, NODE_ID: name, SNAPSHOT_CACHE: '', DRAIN_DELAY_S: '0' };
    await start(CONTROL_PLANE.replace(/control-plane$/, 'data-plane'), env);
    return `http://127.0.0.1:${port}`;
  }

  /** What was copied from a page, pasted into a shell; it ends with the name of the program. */
  async function paste(lines) {
    const here = { PATH: `${dirname(CONTROL_PLANE)}:${process.env.PATH}`, HOST: '127.0.0.1', PORT: `${await freePort()}`, DRAIN_DELAY_S: '0' };
    // The shell becomes the program, so that ending the one ends the other.
    await start('bash', here, ['-c', lines.replace(/\n(\S+)$/, '\nexec $1')]);
  }

  const listens = { ADMIN_LISTEN: `127.0.0.1:${admin}`, FLEET_LISTEN: `127.0.0.1:${fleet}` };
  const places = { DATABASE_PATH: join(folder, 'store'), PROVIDER_CONFIG_PATH: join(folder, 'none.json') };
  try {
    await start(CONTROL_PLANE, { ...listens, ...places, ...environment });
  } catch (error) {
    await stop();
    throw error;
  }
  return { url: `http://127.0.0.1:${admin}`, fleetUrl: `http://127.0.0.1:${fleet}`, tokenFile, addDataPlane, paste, stop };
}

/** An installation for all specs of a file, and a browser. What is returned is there once they run. */
export function ownPlane(password) {
  const plane = {};
  before(async () => {
    Object.assign(plane, await startPlane({ ADMIN_EMAIL, ADMIN_PASSWORD: password }));
    await startBrowser();
  });
  after(async () => {
    await stopBrowser();
    await plane.stop?.();
  });
  return plane;
}
