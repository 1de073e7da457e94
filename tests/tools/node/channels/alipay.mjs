// The simulated Alipay, used by npm `alipay-sdk`.
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { after, before, test } from 'node:test';
import { AlipaySdk } from 'alipay-sdk';
import { merchant, receiver } from './merchant.mjs';

let shop;
let heard;
let sdk;
let console_;

before(async () => {
  [shop, heard] = [await merchant(), await receiver(200, 'success')];
  console_ = await (await fetch(`${shop.url}/sim/alipay/credentials`)).json();
  sdk = client();
});

after(async () => {
  heard?.stop();
  await shop?.stop();
});

/** A client with these changes to what the console shows. */
function client(changes = {}) {
  return new AlipaySdk({
    appId: console_.app_id,
    privateKey: console_.app_private_key,
    keyType: 'PKCS8',
    alipayPublicKey: console_.alipay_public_key,
    gateway: `${shop.url}/sim/alipay/gateway.do`,
    ...changes,
  });
}

const exec = (method, bizContent, more = {}) => sdk.exec(method, { ...more, bizContent }, { validateSign: true });
const precreate = (outTradeNo, totalAmount = '10.00') =>
  exec('alipay.trade.precreate', { outTradeNo, totalAmount, subject: 'Tee für 茶' }, { notifyUrl: heard.url });

/** The payer opens a code or page, and decides at the cashier. */
async function decide(address, action) {
  const page = await fetch(address);
  assert.equal(page.status, 200);
  const done = await fetch(page.url, { method: 'POST', body: new URLSearchParams({ action }) });
  assert.equal(done.status, 200);
}

test('a code is made, scanned, paid, notified and given back', async () => {
  const made = await precreate('node-1');
  assert.equal(made.code, '10000');
  assert.equal((await exec('alipay.trade.query', { outTradeNo: 'node-1' })).subCode, 'ACQ.TRADE_NOT_EXIST');
  await fetch(made.qrCode);
  assert.equal((await exec('alipay.trade.query', { outTradeNo: 'node-1' })).tradeStatus, 'WAIT_BUYER_PAY');
  await decide(made.qrCode, 'confirm');
  const params = Object.fromEntries(new URLSearchParams((await heard.next()).body));
  assert.equal(sdk.checkNotifySignV2(params), true);
  assert.equal(sdk.checkNotifySignV2({ ...params, total_amount: '0.01' }), false);
  assert.deepEqual([params.out_trade_no, params.trade_status, params.total_amount, params.seller_id], [
    'node-1',
    'TRADE_SUCCESS',
    '10.00',
    console_.seller_id,
  ]);
  const paid = await exec('alipay.trade.query', { outTradeNo: 'node-1' });
  assert.deepEqual([paid.tradeStatus, paid.totalAmount], ['TRADE_SUCCESS', '10.00']);
  const refund = { outTradeNo: 'node-1', outRequestNo: 'r1', refundAmount: '4.00' };
  assert.equal((await exec('alipay.trade.refund', refund)).fundChange, 'Y');
  assert.equal((await exec('alipay.trade.refund', refund)).fundChange, 'N');
  const told = Object.fromEntries(new URLSearchParams((await heard.next()).body));
  assert.deepEqual([sdk.checkNotifySignV2(told), told.refund_fee, told.out_biz_no], [true, '4.00', 'r1']);
  const asked = await exec('alipay.trade.fastpay.refund.query', { outTradeNo: 'node-1', outRequestNo: 'r1' });
  assert.deepEqual([asked.refundStatus, asked.refundAmount], ['REFUND_SUCCESS', '4.00']);
  const unknown = await exec('alipay.trade.fastpay.refund.query', { outTradeNo: 'node-1', outRequestNo: 'r2' });
  assert.deepEqual([unknown.code, unknown.refundStatus], ['10000', undefined]);
});

for (const method of ['GET', 'POST']) {
  test(`a page is opened by ${method} and paid`, async () => {
    const outTradeNo = `node-page-${method}`;
    const bizContent = { outTradeNo, totalAmount: '2.50', subject: 'Tea', productCode: 'FAST_INSTANT_TRADE_PAY' };
    const made = sdk.pageExecute('alipay.trade.page.pay', method, { notifyUrl: heard.url, bizContent });
    let page = made;
    if (method === 'POST') {
      const unescape = (text) => text.replaceAll('&quot;', '"');
      const inputs = [...made.matchAll(/name="([^"]+)" value="([^"]*)" \/>/g)];
      const body = new URLSearchParams(inputs.map(([, name, value]) => [name, unescape(value)]));
      const sent = await fetch(made.match(/action="([^"]+)"/)[1], { method: 'POST', body, redirect: 'manual' });
      page = sent.headers.get('location');
    }
    await decide(page, 'confirm');
    assert.equal((await exec('alipay.trade.query', { outTradeNo })).tradeStatus, 'TRADE_SUCCESS');
    const params = Object.fromEntries(new URLSearchParams((await heard.next()).body));
    assert.deepEqual([sdk.checkNotifySignV2(params), params.out_trade_no], [true, outTradeNo]);
  });
}

test('what is not paid is closed', async () => {
  const made = await precreate('node-2');
  assert.equal((await exec('alipay.trade.close', { outTradeNo: 'node-2' })).subCode, 'ACQ.TRADE_NOT_EXIST');
  await decide(made.qrCode, 'cancel');
  assert.equal((await exec('alipay.trade.close', { outTradeNo: 'node-2' })).code, '10000');
  assert.equal((await exec('alipay.trade.query', { outTradeNo: 'node-2' })).tradeStatus, 'TRADE_CLOSED');
});

test('neither side takes a signature of somebody else', async () => {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  });
  const stranger = await client({ privateKey }).exec('alipay.trade.query', { bizContent: { outTradeNo: 'node-1' } });
  assert.equal(stranger.subCode, 'isv.invalid-signature');
  const asked = client({ alipayPublicKey: publicKey }).exec(
    'alipay.trade.query',
    { bizContent: { outTradeNo: 'node-1' } },
    { validateSign: true },
  );
  await assert.rejects(asked);
});
