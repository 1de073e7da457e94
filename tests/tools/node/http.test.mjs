// Signed requests, verified by npm `http-message-signatures`.
import assert from 'node:assert/strict';
import { createHash, createPublicKey } from 'node:crypto';
import { test } from 'node:test';
import signatures from 'http-message-signatures';
import { keyOf, requests } from './vectors.mjs';

const ALGORITHMS = { Ed25519: 'ed25519', ES256: 'ecdsa-p256-sha256' };

/** Whether the signature holds and the digest is that of the body. */
async function accepts(request, entry) {
  const verified = await signatures.httpbis.verifyMessage(
    {
      keyLookup: async ({ keyid }) => {
        const jwk = keyOf(entry, keyid);
        const algorithm = ALGORITHMS[jwk.alg];
        const verify = signatures.createVerifier(createPublicKey({ key: jwk, format: 'jwk' }), algorithm);
        return { id: keyid, algs: [algorithm], verify };
      },
    },
    request,
  ).catch(() => false);
  const digest = request.headers['content-digest'];
  const body = createHash('sha256').update(request.body ?? '').digest('base64');
  return verified === true && (digest === undefined ? !request.body : digest.includes(`sha-256=:${body}:`));
}

test('there are requests to verify', () => {
  assert.ok(requests.length > 0);
});

for (const entry of requests) {
  const { method, url, headers, body } = entry;

  test(`${entry.name} is verified by http-message-signatures`, async () => {
    assert.ok(headers['signature-input'].includes(`keyid="${entry.keyid}"`));
    assert.equal(await accepts({ method, url, headers, body }, entry), true);
  });

  test(`${entry.name} is refused by http-message-signatures when anything is changed`, async () => {
    const elsewhere = new URL(url);
    elsewhere.pathname += 'x';
    const asked = new URL(url);
    asked.searchParams.append('x', '1');
    const changes = {
      method: { method: method === 'PUT' ? 'POST' : 'PUT', url, headers, body },
      path: { method, url: elsewhere.href, headers, body },
      query: { method, url: asked.href, headers, body },
      body: { method, url, headers, body: `${body ?? ''} ` },
      parameters: {
        method, url, body,
        headers: { ...headers, 'signature-input': headers['signature-input'].replace(/created=\d+/, 'created=1') },
      },
    };
    for (const name of ['content-type', 'content-digest', 'idempotency-key']) {
      if (headers[name] === undefined) continue;
      changes[name] = { method, url, body, headers: { ...headers, [name]: `${headers[name]}x` } };
    }
    for (const [what, request] of Object.entries(changes)) {
      assert.equal(await accepts(request, entry), false, what);
    }
  });
}
