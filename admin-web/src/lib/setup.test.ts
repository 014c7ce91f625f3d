import { expect, it } from 'vitest';
import { defaultAddress, settingsFile, shellLines } from './setup';

const page = { protocol: 'https:', hostname: 'bridge.example' };

it.each([
  [[], 'https://bridge.example:8000'],
  [['http://10.0.0.7:8000', 'http://10.0.0.8:8000'], 'http://10.0.0.7:8000'],
  [['http://127.0.0.1:8080'], 'http://bridge.example:8080'],
  [['http://[::1]:8080'], 'http://bridge.example:8080'],
  [['https://api.example'], 'https://api.example'],
])('%j is reached at %s', (addresses, expected) => {
  expect(defaultAddress(addresses.map((address) => ({ address })), page)).toBe(expected);
});

it('is left as it is for whoever sits at the machine', () => {
  expect(defaultAddress([{ address: 'http://127.0.0.1:8080' }], { protocol: 'http:', hostname: 'localhost' })).toBe('http://127.0.0.1:8080');
});

it('has the key that was just made', () => {
  expect(shellLines('http://a:1', 'sk-bridge-1')).toContain('export ANTHROPIC_API_KEY=sk-bridge-1\n');
});

it('says the same to a shell and to a settings file', () => {
  const { env } = JSON.parse(settingsFile('http://a:1'));
  for (const [name, value] of Object.entries(env)) expect(shellLines('http://a:1')).toContain(`export ${name}=${value}`);
});
