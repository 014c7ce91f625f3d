/** What a client is told so that it finds the bridge. */
import type { Node } from '$gen/bridge/admin/v1/fleet_pb';

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

/** What a node says of itself; else the usual port beside this page. */
export function defaultAddress(nodes: readonly Pick<Node, 'publicAddress'>[], page: Pick<Location, 'protocol' | 'hostname'>): string {
  const told = nodes.find((it) => it.publicAddress !== '')?.publicAddress;
  if (told === undefined) return `${page.protocol}//${page.hostname}:${PORT}`;
  // A node that listens everywhere is reached by the name of this page.
  const address = told.replace('0.0.0.0', page.hostname);
  return /^https?:/.test(address) ? address : `http://${address}`;
}

export function shellLines(address: string): string {
  const variables = Object.entries(variablesFor(address)).map(([name, value]) => `export ${name}=${value}`);
  return [...variables, 'claude'].join('\n');
}

export function settingsFile(address: string): string {
  return JSON.stringify({ env: variablesFor(address) }, null, 2);
}

export function checkLine(address: string): string {
  return `curl ${address}/v1/messages -H "x-api-key: $ANTHROPIC_API_KEY" -H 'content-type: application/json' -d '{"model":"haiku","max_tokens":50,"messages":[{"role":"user","content":"Hello"}]}'`;
}

function variablesFor(address: string): Record<string, string> {
  const aliases = ALIASES.map(({ variable, model }): [string, string] => [variable, model]);
  return { ANTHROPIC_BASE_URL: address, ANTHROPIC_API_KEY: KEY, ...Object.fromEntries(aliases) };
}
