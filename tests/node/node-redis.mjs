// What applications do with node-redis, by RESP2 and RESP3; run.mjs calls each function with the server's port.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { BasicClientSideCache, createClient, createClientPool } from 'redis';

async function connected(port, use) {
  for (const RESP of [2, 3]) {
    const client = createClient({ url: `redis://127.0.0.1:${port}`, RESP });
    client.on('error', () => {});
    await client.connect();
    try {
      await client.flushAll();
      await use(client, RESP);
    } finally {
      client.destroy();
    }
  }
}

export async function every_type_is_written_and_read(port) {
  await connected(port, async (client) => {
    assert.equal(await client.set('s', 'v', { expiration: { type: 'EX', value: 100 }, condition: 'NX' }), 'OK');
    assert.equal(await client.set('s', 'w', { condition: 'NX' }), null);
    assert.equal(await client.get('s'), 'v');
    assert.equal(await client.getEx('s', { type: 'PX', value: 50000 }), 'v');
    assert.ok((await client.ttl('s')) > 40);
    await client.mSet({ a: '1', b: '2' });
    assert.deepEqual(await client.mGet(['a', 'b', 'none']), ['1', '2', null]);
    assert.equal(await client.incrBy('a', 41), 42);
    assert.equal(await client.hSet('h', { name: 'anna', age: '7' }), 2);
    assert.deepEqual({ ...(await client.hGetAll('h')) }, { name: 'anna', age: '7' });
    assert.equal(await client.rPush('l', ['a', 'b', 'c']), 3);
    assert.deepEqual(await client.lRange('l', 0, -1), ['a', 'b', 'c']);
    assert.equal(await client.lPos('l', 'c'), 2);
    assert.equal(await client.sAdd('set', ['x', 'y']), 2);
    assert.deepEqual([...(await client.sMembers('set'))].sort(), ['x', 'y']);
    assert.equal(await client.sIsMember('set', 'x'), 1);
    assert.equal(await client.zAdd('z', [{ score: 1, value: 'one' }, { score: 2.5, value: 'two' }]), 2);
    assert.deepEqual((await client.zRangeWithScores('z', 0, -1)).map((m) => [m.value, m.score]), [['one', 1], ['two', 2.5]]);
    assert.equal(await client.zScore('z', 'two'), 2.5);
    assert.equal(await client.zScore('z', 'none'), null);
    assert.equal(await client.pfAdd('hll', ['a', 'b']), 1);
    assert.equal(await client.geoAdd('g', { longitude: 13.361389, latitude: 38.115556, member: 'Palermo' }), 1);
    assert.equal(await client.hExpire('h', 'age', 100).then((r) => r[0]), 1);
    assert.equal(await client.type('z'), 'zset');
    assert.equal(await client.exists(['s', 'none']), 1);
    await assert.rejects(client.lPush('s', 'x'), /WRONGTYPE/);
    assert.deepEqual(await client.sendCommand(['ECHO', 'as it is']), 'as it is');
  });
}

export async function transactions(port) {
  await connected(port, async (client) => {
    assert.deepEqual(await client.multi().set('k', 'v').get('k').incr('n').exec(), ['OK', 'v', 1]);
    await assert.rejects(client.multi().set('k', 'v').lPush('k', 'x').exec(), /1 commands failed/);
    const other = await client.duplicate().connect();
    await client.watch('k');
    await other.set('k', 'changed');
    await assert.rejects(client.multi().set('k', 'lost').exec(), /watched keys/);
    assert.equal(await client.get('k'), 'changed');
    other.destroy();
  });
}

export async function what_is_sent_at_once_is_a_pipeline(port) {
  await connected(port, async (client) => {
    const replies = await Promise.all(Array.from({ length: 5000 }, (_, i) => client.set(`k${i}`, 'x'.repeat(i % 200))));
    assert.equal(replies.filter((r) => r === 'OK').length, 5000);
    assert.equal(await client.dbSize(), 5000);
    assert.deepEqual(await client.multi().get('k1').get('k3').execAsPipeline(), ['x', 'xxx']);
  });
}

export async function iterators(port) {
  await connected(port, async (client) => {
    await Promise.all(Array.from({ length: 1500 }, (_, i) => Promise.all([
      client.set(`scan:${i}`, '1'), client.hSet('big', `f${i}`, i), client.zAdd('zbig', { score: i, value: `m${i}` }),
    ])));
    const keys = new Set();
    for await (const page of client.scanIterator({ MATCH: 'scan:*', COUNT: 50 })) page.forEach((k) => keys.add(k));
    assert.equal(keys.size, 1500);
    const fields = new Map();
    for await (const page of client.hScanIterator('big')) page.forEach((e) => fields.set(e.field, e.value));
    assert.equal(fields.size, 1500);
    assert.equal(fields.get('f77'), '77');
    let sum = 0;
    for await (const page of client.zScanIterator('zbig')) page.forEach((m) => { sum += m.score; });
    assert.equal(sum, (1500 * 1499) / 2);
  });
}

export async function blocking_commands(port) {
  await connected(port, async (client) => {
    const waiting = await client.duplicate().connect();
    const popped = waiting.blPop(['q1', 'q2'], 10);
    await client.rPush('q2', 'job');
    assert.deepEqual({ ...(await popped) }, { key: 'q2', element: 'job' });
    const smallest = waiting.bzPopMin('z', 10);
    await client.zAdd('z', { score: 3, value: 'c' });
    assert.deepEqual({ ...(await smallest) }, { key: 'z', value: 'c', score: 3 });
    assert.equal(await waiting.blPop('q1', 0.05), null);
    waiting.destroy();
  });
}

export async function channels(port) {
  await connected(port, async (client, RESP) => {
    const listener = await client.duplicate().connect();
    const got = [];
    await listener.subscribe('news', (text, channel) => got.push([channel, text]));
    await listener.pSubscribe('n*', (text, channel) => got.push(['n*', channel, text]));
    await listener.sSubscribe('shard', (text, channel) => got.push([channel, text]));
    assert.equal(await client.publish('news', 'hello'), 2);
    assert.equal(await client.sPublish('shard', 'piece'), 1);
    while (got.length < 3) await sleep(5);
    assert.deepEqual(got, [['news', 'hello'], ['n*', 'news', 'hello'], ['shard', 'piece']]);
    if (RESP === 3) assert.equal(await listener.ping(), 'PONG');
    await listener.unsubscribe('news');
    await listener.pUnsubscribe('n*');
    await listener.sUnsubscribe('shard');
    assert.deepEqual(await client.pubSubChannels(), []);
    listener.destroy();
  });
}

export async function a_pool_of_connections(port) {
  const pool = await createClientPool({ url: `redis://127.0.0.1:${port}` }, { minimum: 2, maximum: 8 }).connect();
  await Promise.all(Array.from({ length: 200 }, (_, i) => pool.execute((c) => c.incr('pooled'))));
  assert.equal(await pool.get('pooled'), '200');
  await pool.close();
}

export async function clean_close(port) {
  await connected(port, async (client) => {
    const other = await client.duplicate().connect();
    const last = other.set('before the end', 'v');
    await other.close();
    assert.equal(await last, 'OK');
    assert.equal(await client.get('before the end'), 'v');
  });
}

export async function its_own_cache_is_kept_right(port) {
  const cache = new BasicClientSideCache({ ttl: 0, maxEntries: 0 });
  const client = await createClient({ url: `redis://127.0.0.1:${port}`, RESP: 3, clientSideCache: cache }).connect();
  const other = await client.duplicate({ clientSideCache: undefined }).connect();
  await other.set('cached', 'one');
  for (let i = 0; i < 10; i++) assert.equal(await client.get('cached'), 'one');
  assert.equal(cache.stats().hitCount, 9);
  await other.set('cached', 'two');
  const deadline = Date.now() + 10000;
  while ((await client.get('cached')) !== 'two' && Date.now() < deadline) await sleep(5);
  assert.equal(await client.get('cached'), 'two');
  await other.flushAll();
  while ((await client.get('cached')) !== null && Date.now() < deadline) await sleep(5);
  assert.equal(await client.get('cached'), null);
  client.destroy();
  other.destroy();
}
