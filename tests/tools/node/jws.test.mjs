// Signed documents, verified by npm `jose`.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { base64url, calculateJwkThumbprint, compactVerify, importJWK } from 'jose';
import { documents, keyOf, refused } from './vectors.mjs';

const verify = async (jws, jwk) => compactVerify(jws, await importJWK(jwk, jwk.alg), { algorithms: [jwk.alg] });

test('there are documents to verify', () => {
  assert.ok(documents.length > 0);
});

for (const document of documents) {
  test(`${document.name} is verified by jose`, async () => {
    const jwk = keyOf(document, document.kid);
    assert.equal(await calculateJwkThumbprint(jwk, 'sha256'), document.kid, 'kid is the thumbprint of RFC 7638');
    const { payload, protectedHeader } = await verify(document.jws, jwk);
    assert.deepEqual({ ...protectedHeader }, { alg: jwk.alg, kid: document.kid, typ: document.typ });
    assert.deepEqual(JSON.parse(new TextDecoder().decode(payload)), document.payload);
  });

  test(`${document.name} is refused by jose when anything is changed`, async () => {
    const jwk = keyOf(document, document.kid);
    const parts = document.jws.split('.');
    assert.equal(parts.length, 3);
    for (const changed of [0, 1, 2]) {
      const bytes = base64url.decode(parts[changed]);
      bytes[Math.floor(bytes.length / 2)] ^= 1;
      const forged = parts.with(changed, base64url.encode(bytes)).join('.');
      await assert.rejects(verify(forged, jwk), `part ${changed}`);
    }
    const header = JSON.parse(new TextDecoder().decode(base64url.decode(parts[0])));
    const unsigned = base64url.encode(JSON.stringify({ ...header, alg: 'none' }));
    await assert.rejects(verify(`${unsigned}.${parts[1]}.`, jwk), 'alg none');
    for (const other of document.keys.filter((key) => key.kid !== document.kid)) {
      await assert.rejects(verify(document.jws, other), `key ${other.kid}`);
    }
  });
}

for (const forged of refused.filter((entry) => entry.check === 'signature')) {
  test(`${forged.name} is refused by jose`, async () => {
    await assert.rejects(verify(forged.jws, keyOf(forged, forged.kid)));
  });
}
