import { expect, it } from 'vitest';
import { defaultAddress, settingsFile, shellLines } from './setup';

const page = { protocol: 'https:', hostname: 'bridge.example' };

it.each([
  [[], 'https://bridge.example:8000'],
  [[''], 'https://bridge.example:8000'],
  [['', '10.0.0.7:8000'], 'http://10.0.0.7:8000'],
  [['0.0.0.0:8080'], 'http://bridge.example:8080'],
  [['https://api.example'], 'https://api.example'],
])('%j is reached at %s', (addresses, expected) => {
  expect(defaultAddress(addresses.map((publicAddress) => ({ publicAddress })), page)).toBe(expected);
});

it('says the same to a shell and to a settings file', () => {
  const { env } = JSON.parse(settingsFile('http://a:1'));
  for (const [name, value] of Object.entries(env)) expect(shellLines('http://a:1')).toContain(`export ${name}=${value}`);
});
