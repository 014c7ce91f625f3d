import { FleetListenerTls } from '$gen/bridge/admin/v1/fleet_pb';
import { expect, it } from 'vitest';
import { isOnLoopback, joiningLines } from './join';

const page = { hostname: 'control.example' };
const made = (address: string, tls: FleetListenerTls) => ({ joinToken: 'bjt-1', authorityFingerprint: 'ab12', fleetListener: { address, tls } });

it.each([
  ['0.0.0.0:8002', 'https://control.example:8002'],
  ['[::]:8002', 'https://control.example:8002'],
  ['10.0.0.7:9002', 'https://10.0.0.7:9002'],
  ['[fd00::7]:9002', 'https://[fd00::7]:9002'],
  ['127.0.0.1:8002', 'https://127.0.0.1:8002'],
])('a listener at %s is reached at %s', (address, url) => {
  expect(joiningLines(made(address, FleetListenerTls.ISSUED), '', page)).toContain(`export CONTROL_PLANE_URL=${url}\n`);
});

it('has all that a data plane is started with', () => {
  expect(joiningLines(made('0.0.0.0:8002', FleetListenerTls.ISSUED), 'eu-1', page)?.split('\n')).toEqual([
    'export CONTROL_PLANE_URL=https://control.example:8002',
    'export NODE_ID=eu-1',
    'export JOIN_TOKEN=bjt-1',
    'export AUTHORITY_FINGERPRINT=ab12',
    'bridge-data-plane',
  ]);
});

it('names the authority of a certificate from elsewhere in place of the fingerprint', () => {
  const lines = joiningLines(made('0.0.0.0:8002', FleetListenerTls.CONFIGURED), '', page);
  expect(lines).toContain('CONTROL_PLANE_CA_FILE=');
  expect(lines).not.toContain('ab12');
});

it('is not there where nobody can enrol', () => {
  expect(joiningLines(made('127.0.0.1:8002', FleetListenerTls.NONE), '', page)).toBeUndefined();
});

it.each([
  ['127.0.0.1:8002', true],
  ['[::1]:8002', true],
  ['0.0.0.0:8002', false],
  ['10.0.0.7:8002', false],
])('%s is on loopback: %s', (address, expected) => {
  expect(isOnLoopback(made(address, FleetListenerTls.ISSUED))).toBe(expected);
});
