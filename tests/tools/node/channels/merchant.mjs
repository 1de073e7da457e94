// A merchant with its simulated gateways, and a place where they notify.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** How long anything may take, in milliseconds. */
const DEADLINE = 60_000;

/** Starts `mock-merchant serve --sim`; its URL, and how to end it. */
export async function merchant() {
  const program = process.env.WALKPAY_MERCHANT;
  if (!program) throw new Error('WALKPAY_MERCHANT names no program');
  const folder = await mkdtemp(join(tmpdir(), 'walkpay-channels-'));
  const child = spawn(program, ['--data', join(folder, 'data'), '--sim', 'serve'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout });
  const [line] = await once(lines, 'line', { signal: AbortSignal.timeout(DEADLINE) });
  const url = line.trim().replace(/^listening on /, '');
  const stop = async () => {
    child.kill('SIGTERM');
    await once(child, 'exit');
    await rm(folder, { recursive: true, force: true });
  };
  return { url, stop };
}

/** Listens for notifications; `next()` waits for one and answers it. */
export async function receiver(status = 204, answer = '') {
  const waiting = [];
  const server = createServer(async (request, response) => {
    const pieces = [];
    for await (const piece of request) pieces.push(piece);
    response.writeHead(status).end(answer);
    waiting.push({ headers: request.headers, body: Buffer.concat(pieces).toString('utf8') });
    server.emit('notified');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const next = async () => {
    while (waiting.length === 0) await once(server, 'notified', { signal: AbortSignal.timeout(DEADLINE) });
    return waiting.shift();
  };
  return { url: `http://127.0.0.1:${server.address().port}/notify`, next, stop: () => server.close() };
}
