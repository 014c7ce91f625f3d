/** What is pasted on the machine of a data plane that is to come. */
import { FleetListenerTls, type CreateJoinTokenResponse, type Node } from '$gen/bridge/admin/v1/fleet_pb';

/** Of a listener that takes whoever comes, on every address of its machine. */
const ANY_ADDRESS = /^(0\.0\.0\.0|\[::\])$/;
const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;
const CA_FILE = '/path/to/authority.pem';

export type Made = Pick<CreateJoinTokenResponse, 'joinToken' | 'authorityFingerprint'> & { fleetListener?: { address: string; tls: FleetListenerTls } | undefined };

/** The lines for a shell; undefined where no data plane can enrol. */
export function joiningLines(made: Made, nodeId: string, page: Pick<Location, 'hostname'>): string | undefined {
  const listener = made.fleetListener;
  if (listener === undefined || listener.tls === FleetListenerTls.NONE) return undefined;
  const { host, port } = parts(listener.address);
  const trust = listener.tls === FleetListenerTls.CONFIGURED ? ['CONTROL_PLANE_CA_FILE', CA_FILE] : ['AUTHORITY_FINGERPRINT', made.authorityFingerprint];
  const variables = [
    ['CONTROL_PLANE_URL', `https://${ANY_ADDRESS.test(host) ? page.hostname : host}:${port}`],
    ...(nodeId ? [['NODE_ID', nodeId]] : []),
    ['JOIN_TOKEN', made.joinToken],
    trust,
  ];
  return [...variables.map(([name, value]) => `export ${name}=${value}`), 'bridge-data-plane'].join('\n');
}

/** Nobody comes from another machine. */
export function isOnLoopback(made: Made): boolean {
  return made.fleetListener !== undefined && LOOPBACK.test(parts(made.fleetListener.address).host);
}

export function hasCertificate(node: Pick<Node, 'identity'>): boolean {
  return (node.identity?.certificateFingerprint ?? '') !== '';
}

function parts(address: string): { host: string; port: string } {
  const colon = address.lastIndexOf(':');
  return { host: address.slice(0, colon), port: address.slice(colon + 1) };
}
