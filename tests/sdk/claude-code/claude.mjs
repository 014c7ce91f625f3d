// Claude Code without a terminal: in a home and a folder of its own, with no environment but what is said here.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { startRecorder } from './recorder.mjs';

const { CLAUDE_CODE, BRIDGE_URL, BRIDGE_KEY, UPSTREAM_URL } = process.env;
export { BRIDGE_KEY };

const TIME_LIMIT_MS = 60_000;
const TAIL_CHARS = 2_000;
const TOOLS = ['Bash', 'Read', 'Write', 'WebSearch', 'Agent'];

const QUIET = {
  DISABLE_AUTOUPDATER: '1',
  DISABLE_ERROR_REPORTING: '1',
  DISABLE_TELEMETRY: '1',
  CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
};

/**
 * Says `prompts` one after the other, each when the one before is answered.
 *
 * Answers `events` (all that Claude Code printed), `result` (its last), `exitCode`, `exchanges` and
 * `strangers` (see the recorder), and `read(name)`: a file of its folder, or null. `files` lie in that folder before.
 * A variable of `environment` that is undefined is taken away.
 */
export async function claude(t, options) {
  const { model, prompts = ['Please go on.'], environment = {}, files = {}, timeLimitMs } = options;
  const arguments_ = ['-p', '--model', model, '--allowedTools', TOOLS.join(' ')];
  arguments_.push('--verbose', '--input-format', 'stream-json', '--output-format', 'stream-json');
  const { child, folder, recorder, outcome } = await start(t, arguments_, environment, files, timeLimitMs);

  const events = [];
  const unsaid = [...prompts];
  const say = () => {
    const content = unsaid.shift();
    if (content === undefined) return child.stdin.end();
    child.stdin.write(`${JSON.stringify({ type: 'user', message: { role: 'user', content } })}\n`);
  };
  createInterface({ input: child.stdout }).on('line', (line) => {
    const event = JSON.parse(line);
    events.push(event);
    if (event.type === 'result') say();
  });
  say();
  const { exitCode } = await outcome;
  const { exchanges, strangers } = recorder;
  const read = (name) => readFile(path.join(folder, name), 'utf8').catch(() => null);
  return { events, result: events.findLast(({ type }) => type === 'result'), exitCode, exchanges, strangers, read };
}

/** One prompt and one JSON document as the answer, as a script would use it. */
export async function claudeOnce(t, { model, prompt }) {
  const { child, recorder, outcome } = await start(t, ['-p', prompt, '--model', model, '--output-format', 'json']);
  child.stdin.end();
  const output = Buffer.concat(await child.stdout.toArray());
  const { exitCode } = await outcome;
  return { result: JSON.parse(output), exitCode, exchanges: recorder.exchanges };
}

async function start(t, arguments_, environment = {}, files = {}, timeLimitMs = TIME_LIMIT_MS) {
  const home = await mkdtemp(path.join(tmpdir(), 'claude-code-'));
  const folder = path.join(home, 'work');
  await mkdir(folder);
  for (const [name, content] of Object.entries(files)) await writeFile(path.join(folder, name), content);
  const recorder = await startRecorder(BRIDGE_URL);

  const env = {
    PATH: process.env.PATH,
    HOME: home,
    TMPDIR: home,
    CLAUDE_CODE_TMPDIR: home,
    ...QUIET,
    ANTHROPIC_BASE_URL: recorder.url,
    ANTHROPIC_API_KEY: BRIDGE_KEY,
    HTTPS_PROXY: recorder.url,
    NO_PROXY: '127.0.0.1',
    ...environment,
  };
  const child = spawn(CLAUDE_CODE, arguments_, { cwd: folder, env });
  const exited = once(child, 'exit');
  t.after(async () => {
    child.kill('SIGKILL');
    await exited;
    recorder.close();
    await rm(home, { recursive: true, force: true });
  });
  return { child, folder, recorder, outcome: outcomeOf(child, timeLimitMs) };
}

/** Rejects if Claude Code could not be started or had to be ended. */
function outcomeOf(child, timeLimitMs) {
  let errors = '';
  child.stderr.on('data', (piece) => (errors += piece));
  const timer = setTimeout(() => child.kill('SIGKILL'), timeLimitMs);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (exitCode, signal) => {
      clearTimeout(timer);
      if (signal === null) resolve({ exitCode });
      else reject(new Error(`Claude Code ended by ${signal}: ${errors.slice(-TAIL_CHARS)}`));
    });
  });
}

/** Content blocks of one type, in all that Claude Code printed of one role. */
export function blocks({ events }, role, type) {
  const messages = events.filter((event) => event.type === role && Array.isArray(event.message.content));
  return messages.flatMap(({ message }) => message.content).filter((block) => block.type === type);
}

/** What Claude Code asked of the model, in order. */
export function questions({ exchanges }) {
  return exchanges.filter(({ method, path }) => method === 'POST' && path.startsWith('/v1/messages'));
}

/** The bodies of all requests for a model that came through to the upstream. */
export async function upstreamBodies(model) {
  const response = await fetch(`${UPSTREAM_URL}/requests/${model}`);
  return response.json();
}
