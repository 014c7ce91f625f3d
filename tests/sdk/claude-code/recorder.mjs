// Stands between Claude Code and the bridge and keeps what passes, without changing a byte of it.
// It is also the proxy for everything else that Claude Code might want to reach: it lets nothing through.
import { once } from 'node:events';
import http from 'node:http';

/** `exchanges`: what was asked of the bridge and how it answered; `strangers`: hosts that it was asked to connect to. */
export async function startRecorder(bridgeUrl) {
  const exchanges = [];
  const strangers = [];
  const server = http.createServer((request, response) => forward(bridgeUrl, request, response, exchanges));
  server.on('connect', (request, socket) => {
    strangers.push(request.url);
    socket.destroy();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { url: `http://127.0.0.1:${server.address().port}`, exchanges, strangers, close };
}

async function forward(bridgeUrl, request, response, exchanges) {
  const { method, url, headers } = request;
  const exchange = { method, path: url, headers, body: null, status: null, answerHeaders: null };
  exchanges.push(exchange);
  const body = Buffer.concat(await request.toArray());
  exchange.body = body.length > 0 ? JSON.parse(body) : null;

  const onward = http.request(new URL(url, bridgeUrl), { method, headers }, (answer) => {
    exchange.status = answer.statusCode;
    exchange.answerHeaders = answer.headers;
    response.writeHead(answer.statusCode, answer.headers);
    // A connection that is lost on one side is lost on the other.
    answer.on('error', () => response.destroy());
    answer.pipe(response);
  });
  onward.on('error', () => response.destroy());
  response.on('close', () => onward.destroy());
  onward.end(body);
}
