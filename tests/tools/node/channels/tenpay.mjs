// The simulated WeChat Pay, used by npm `wechatpay-axios-plugin`.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import plugin from 'wechatpay-axios-plugin';
import { merchant, receiver } from './merchant.mjs';

const { Aes, Formatter, Rsa, Wechatpay } = plugin;
let shop;
let shelf;
let console_;

before(async () => {
  [shop, shelf] = [await merchant(), await receiver()];
  console_ = await (await fetch(`${shop.url}/sim/tenpay/credentials`)).json();
});

after(async () => {
  shelf?.stop();
  await shop?.stop();
});

/** A client with these changes to what the console shows. */
function client(changes = {}) {
  const { mchid, serial_no: serial, private_key: privateKey, certificates } = console_;
  return new Wechatpay({
    baseURL: `${shop.url}/sim/tenpay/`,
    mchid,
    serial,
    privateKey,
    certs: Object.fromEntries(certificates.map((c) => [c.serial_no, c.certificate])),
    ...changes,
  });
}

const order = (number, more = {}) => ({
  appid: console_.appid,
  mchid: console_.mchid,
  description: '洗衣机的配送',
  out_trade_no: number,
  notify_url: shelf.url,
  amount: { total: 1000, currency: 'CNY' },
  ...more,
});

const decide = (pr, action) =>
  fetch(`${shop.url}/sim/tenpay/cashier`, { method: 'POST', body: new URLSearchParams({ pr, action }) });

/** How an order stands, by the client. */
const state = async (wxpay, number) => {
  const { data } = await wxpay.v3.pay.transactions.outTradeNo.$number$.get({
    params: { mchid: console_.mchid },
    number,
  });
  return data;
};

/** The status and the code of a request that is refused. */
const refusal = async (request) => {
  const error = await assert.rejects(request).then(() => request.catch((e) => e));
  return [error.response.status, error.response.data.code];
};

test('an order is made, paid, notified, and given back', async () => {
  const wxpay = client();
  const { data: made } = await wxpay.v3.pay.transactions.native.post(order('node-000001'));
  assert.match(made.code_url, /^weixin:\/\/wxpay\/bizpayurl\?pr=/);
  assert.equal((await state(wxpay, 'node-000001')).trade_state, 'NOTPAY');
  assert.equal((await decide(made.code_url, 'pay')).status, 200);

  const { headers, body } = await shelf.next();
  assert.equal(headers['wechatpay-signature-type'], 'WECHATPAY2-SHA256-RSA2048');
  const serial = headers['wechatpay-serial'];
  const platform = Rsa.from(console_.certificates.find((c) => c.serial_no === serial).certificate, Rsa.KEY_TYPE_PUBLIC);
  const signed = (text) => Formatter.response(headers['wechatpay-timestamp'], headers['wechatpay-nonce'], text);
  assert.ok(Rsa.verify(signed(body), headers['wechatpay-signature'], platform));
  assert.ok(!Rsa.verify(signed(`${body} `), headers['wechatpay-signature'], platform));
  const { event_type, resource } = JSON.parse(body);
  assert.equal(event_type, 'TRANSACTION.SUCCESS');
  const open = (key) => Aes.AesGcm.decrypt(resource.ciphertext, key, resource.nonce, resource.associated_data);
  const inside = JSON.parse(open(console_.api_v3_key));
  assert.equal(inside.out_trade_no, 'node-000001');
  assert.deepEqual([inside.trade_state, inside.amount.total, inside.amount.currency], ['SUCCESS', 1000, 'CNY']);
  assert.throws(() => open('0'.repeat(32)));

  const paid = await state(wxpay, 'node-000001');
  assert.deepEqual([paid.trade_state, paid.transaction_id], ['SUCCESS', inside.transaction_id]);
  const refund = { out_trade_no: 'node-000001', out_refund_no: 'node-r1', amount: { refund: 300, total: 1000, currency: 'CNY' } };
  const { data: done } = await wxpay.v3.refund.domestic.refunds.post(refund);
  assert.deepEqual([done.status, done.amount.refund], ['SUCCESS', 300]);
  const { data: asked } = await wxpay.v3.refund.domestic.refunds.$number$.get({ number: 'node-r1' });
  assert.deepEqual(asked, done);
  assert.equal((await state(wxpay, 'node-000001')).trade_state, 'REFUND');
});

test('a prepayment inside WeChat', async () => {
  const wxpay = client();
  const payer = { openid: 'oUpF8uMuAJO_M2pxb1Q9zNjWeS6o' };
  const { data } = await wxpay.v3.pay.transactions.jsapi.post(order('node-000002', { payer }));
  const parameters = {
    appId: console_.appid,
    timeStamp: `${Formatter.timestamp()}`,
    nonceStr: Formatter.nonce(),
    package: `prepay_id=${data.prepay_id}`,
    signType: 'RSA',
  };
  const { appId, timeStamp, nonceStr } = parameters;
  const message = Formatter.joinedByLineFeed(appId, timeStamp, nonceStr, parameters.package);
  const paySign = Rsa.sign(message, Rsa.from(console_.private_key, Rsa.KEY_TYPE_PRIVATE));
  const bridge = (p) => fetch(`${shop.url}/sim/tenpay/jsapi?${new URLSearchParams(p)}`);
  const page = await bridge({ ...parameters, paySign });
  assert.equal(page.status, 200);
  assert.match(await page.text(), /¥10\.00/);
  assert.equal((await bridge({ ...parameters, nonceStr: 'another', paySign })).status, 422);
});

test('what is closed is closed, and what is not known is not known', async () => {
  const wxpay = client();
  await wxpay.v3.pay.transactions.native.post(order('node-000003'));
  const closed = await wxpay.v3.pay.transactions.outTradeNo.$number$.close.post({ mchid: console_.mchid }, { number: 'node-000003' });
  assert.equal(closed.status, 204);
  assert.equal((await state(wxpay, 'node-000003')).trade_state, 'CLOSED');
  assert.deepEqual(await refusal(wxpay.v3.pay.transactions.native.post(order('node-000003'))), [400, 'ORDER_CLOSED']);
  assert.deepEqual(await refusal(state(wxpay, 'node-999999')), [404, 'ORDER_NOT_EXIST']);
  const twice = order('node-000001', { amount: { total: 1, currency: 'CNY' } });
  assert.deepEqual(await refusal(wxpay.v3.pay.transactions.native.post(twice)), [400, 'ORDERPAID']);
});

test('nobody else is answered', async () => {
  const { privateKey } = (await import('node:crypto')).generateKeyPairSync('rsa', { modulusLength: 2048 });
  const stranger = client({ privateKey: privateKey.export({ type: 'pkcs8', format: 'pem' }) });
  assert.deepEqual(await refusal(stranger.v3.certificates.get()), [401, 'SIGN_ERROR']);
});

test('certificates are listed, decrypted, and rotate', async () => {
  const wxpay = client();
  const list = async () => {
    const { data } = await wxpay.v3.certificates.get();
    return data.data.map(({ serial_no, encrypt_certificate: c }) => {
      const pem = Aes.AesGcm.decrypt(c.ciphertext, console_.api_v3_key, c.nonce, c.associated_data);
      return [serial_no, pem];
    });
  };
  const before_ = await list();
  assert.deepEqual(before_, console_.certificates.map((c) => [c.serial_no, c.certificate]));
  const rotated = await (await fetch(`${shop.url}/sim/tenpay/certificates/rotation`, { method: 'POST' })).json();
  // The client knows the old certificate only: what the new one signs is refused until it has fetched the list.
  await assert.rejects(state(wxpay, 'node-000001'));
  console_ = await (await fetch(`${shop.url}/sim/tenpay/credentials`)).json();
  assert.equal(console_.certificates[0].serial_no, rotated.serial_no);
  assert.equal((await state(client(), 'node-000001')).trade_state, 'REFUND');
});
