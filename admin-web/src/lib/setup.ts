/** What a client is told so that it finds the bridge. */
import type { Target } from '$gen/bridge/admin/v1/playground_pb';

/** Where a data plane listens if nothing else is said. */
const PORT = 8000;
const KEY = 'sk-bridge-…';

/** The variables by which Claude Code names its tiers, and a name that leads to each. */
export const ALIASES = [
  { variable: 'ANTHROPIC_DEFAULT_OPUS_MODEL', model: 'anthropic-opus' },
  { variable: 'ANTHROPIC_DEFAULT_SONNET_MODEL', model: 'anthropic-sonnet' },
  { variable: 'ANTHROPIC_DEFAULT_HAIKU_MODEL', model: 'anthropic-haiku' },
  { variable: 'ANTHROPIC_DEFAULT_FABLE_MODEL', model: 'anthropic-opus' },
];

/** Names of one's own machine: they lead a reader elsewhere than the control plane. */
const LOOPBACK = /^(localhost|127\.|\[?::1\]?$)/;

/** Where messages can be sent, as a reader of this page would; without such a place the usual port beside it. */
export function defaultAddress(targets: readonly Pick<Target, 'address'>[], page: Pick<Location, 'protocol' | 'hostname'>): string {
  const [first] = targets;
  if (first === undefined || !URL.canParse(first.address)) return `${page.protocol}//${page.hostname}:${PORT}`;
  const address = new URL(first.address);
  if (LOOPBACK.test(address.hostname) && !LOOPBACK.test(page.hostname)) address.hostname = page.hostname;
  return address.href.replace(/\/$/, '');
}

/** `key`: the one to use, where it is known. */
export function shellLines(address: string, key = KEY): string {
  const variables = Object.entries(variablesFor(address, key)).map(([name, value]) => `export ${name}=${value}`);
  return [...variables, 'claude'].join('\n');
}

export function settingsFile(address: string): string {
  return JSON.stringify({ env: variablesFor(address, KEY) }, null, 2);
}

export function checkLine(address: string): string {
  return `curl ${address}/v1/messages -H "x-api-key: $ANTHROPIC_API_KEY" -H 'content-type: application/json' -d '{"model":"haiku","max_tokens":50,"messages":[{"role":"user","content":"Hello"}]}'`;
}

function variablesFor(address: string, key: string): Record<string, string> {
  const aliases = ALIASES.map(({ variable, model }): [string, string] => [variable, model]);
  return { ANTHROPIC_BASE_URL: address, ANTHROPIC_API_KEY: key, ...Object.fromEntries(aliases) };
}
