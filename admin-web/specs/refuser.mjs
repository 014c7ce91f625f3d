// A data plane that takes the first configuration and refuses the next, by the contract as it was last released.
import { create, createFileRegistry, fromBinary, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import http2 from 'node:http2';

const contract = readFileSync(new URL('../../proto/baseline.binpb', import.meta.url));
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, contract));
const schema = (name) => registry.getMessage(`bridge.fleet.v1.${name}`);
/** A frame of gRPC: a flag, four bytes of length, the message. */
const HEADER_BYTES = 5;

export async function startRefuser({ fleetUrl, tokenFile }, { name, resource, reason }) {
  const session = http2.connect(fleetUrl);
  await once(session, 'connect');
  const stream = session.request({
    ':method': 'POST',
    ':path': '/bridge.fleet.v1.WatchService/Watch',
    'content-type': 'application/grpc',
    te: 'trailers',
    authorization: `Bearer ${readFileSync(tokenFile, 'utf8').trim()}`,
  });
  const send = (message) => {
    const body = toBinary(schema('WatchRequest'), create(schema('WatchRequest'), { message }));
    const header = Buffer.alloc(HEADER_BYTES);
    header.writeUInt32BE(body.length, 1);
    stream.write(Buffer.concat([header, body]));
  };
  let hasAcked = false;
  const answer = (version) => {
    if (hasAcked) send({ case: 'nack', value: { version, refusals: [{ resource, reason }] } });
    else send({ case: 'ack', value: { version } });
    hasAcked = true;
  };
  let rest = Buffer.alloc(0);
  stream.on('data', (piece) => {
    rest = Buffer.concat([rest, piece]);
    while (rest.length >= HEADER_BYTES && rest.length >= HEADER_BYTES + rest.readUInt32BE(1)) {
      const end = HEADER_BYTES + rest.readUInt32BE(1);
      const { message } = fromBinary(schema('WatchResponse'), rest.subarray(HEADER_BYTES, end));
      rest = rest.subarray(end);
      if (message.case === 'snapshotEnd') answer(message.value.version);
      if (message.case === 'delta') answer(message.value.to);
    }
  });
  send({ case: 'subscribe', value: { nodeId: name, bootId: 'one', build: 'spec', schemaMax: 1, capabilities: [1] } });
  return {
    stop: async () => {
      session.destroy();
      if (!session.closed) await once(session, 'close');
    },
  };
}
