// Webhooks, verified by npm `standardwebhooks`.
import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { Webhook } from 'standardwebhooks';
import { webhooks } from './vectors.mjs';

const headersOf = ({ id, timestamp, signature }) => ({
  'webhook-id': id,
  'webhook-timestamp': String(timestamp),
  'webhook-signature': signature,
});

/** Whether the message is taken `age` seconds after it was signed. */
function accepts(secret, { body, ...message }, age = 0) {
  mock.timers.enable({ apis: ['Date'], now: (message.timestamp) * 1000 + age * 1000 });
  try {
    new Webhook(secret).verify(body, headersOf(message));
    return true;
  } catch {
    return false;
  } finally {
    mock.timers.reset();
  }
}

test('there are webhooks to verify', () => {
  assert.ok(webhooks.length > 0);
});

for (const webhook of webhooks) {
  test(`${webhook.name} is verified by standardwebhooks`, () => {
    for (const secret of webhook.secrets) assert.equal(accepts(secret, webhook), true);
  });

  test(`${webhook.name} is refused by standardwebhooks when it is old or changed`, () => {
    const [secret] = webhook.secrets;
    const other = `whsec_${Buffer.alloc(32, 1).toString('base64')}`;
    assert.equal(accepts(other, webhook), false, 'secret');
    assert.equal(accepts(secret, webhook, 301), false, 'replayed later');
    assert.equal(accepts(secret, { ...webhook, body: `${webhook.body} ` }), false, 'body');
    assert.equal(accepts(secret, { ...webhook, id: `${webhook.id}x` }), false, 'id');
    const fresher = { ...webhook, timestamp: webhook.timestamp + 301 };
    assert.equal(accepts(secret, fresher), false, 'timestamp');
  });
}
