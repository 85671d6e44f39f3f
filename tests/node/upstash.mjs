// What applications do with @upstash/redis, which speaks HTTP; run.mjs calls each function with the URL of the server's HTTP
// port and the password, if it has one.
import assert from 'node:assert/strict';
import { Redis } from '@upstash/redis';

const client = (url, token, options) => new Redis({ url, token: token ?? 'none is asked for', enableTelemetry: false, ...options });

export async function every_type_is_written_and_read(url, token) {
  const redis = client(url, token);
  await redis.flushall();
  assert.equal(await redis.set('s', 'v', { ex: 100, nx: true }), 'OK');
  assert.equal(await redis.set('s', 'w', { nx: true }), null);
  assert.equal(await redis.get('s'), 'v');
  assert.ok((await redis.ttl('s')) > 90);
  await redis.set('object', { deep: [1, 'two', null], text: 'Grüße \u{1F600}' });
  assert.deepEqual(await redis.get('object'), { deep: [1, 'two', null], text: 'Grüße \u{1F600}' });
  await redis.mset({ a: 1, b: 'two' });
  assert.deepEqual(await redis.mget('a', 'b', 'none'), [1, 'two', null]);
  assert.equal(await redis.incrby('a', 41), 42);
  assert.equal(await redis.hset('h', { name: 'anna', age: 7 }), 2);
  assert.deepEqual(await redis.hgetall('h'), { name: 'anna', age: 7 });
  assert.equal(await redis.hgetall('none'), null);
  assert.equal(await redis.rpush('l', 'a', 'b', { c: 1 }), 3);
  assert.deepEqual(await redis.lrange('l', 0, -1), ['a', 'b', { c: 1 }]);
  assert.equal(await redis.sadd('set', 'x', 'y'), 2);
  assert.deepEqual((await redis.smembers('set')).sort(), ['x', 'y']);
  assert.equal(await redis.zadd('z', { score: 1, member: 'one' }, { score: 2.5, member: 'two' }), 2);
  assert.deepEqual(await redis.zrange('z', 0, -1, { withScores: true }), ['one', 1, 'two', 2.5]);
  assert.equal(await redis.del('s', 'none'), 1);
  assert.equal(await redis.ping(), 'PONG');
  await assert.rejects(redis.lpush('object', 'x'), /WRONGTYPE/);
}

export async function pipelines_and_transactions(url, token) {
  const redis = client(url, token);
  await redis.flushall();
  const p = redis.pipeline();
  p.set('n', 1);
  p.incr('n');
  p.get('none');
  p.hset('h', { f: 'v' });
  assert.deepEqual(await p.exec(), ['OK', 2, null, 1]);
  const m = redis.multi();
  m.set('m', 'v');
  m.get('m');
  m.lrange('none', 0, -1);
  assert.deepEqual(await m.exec(), ['OK', 'v', []]);
  const failing = redis.pipeline();
  failing.set('text', 'x');
  failing.incr('text');
  await assert.rejects(failing.exec(), /not an integer/);
}

export async function auto_pipelining(url, token) {
  const redis = client(url, token, { enableAutoPipelining: true });
  await Promise.all(Array.from({ length: 500 }, (_, i) => redis.set(`auto${i}`, i)));
  const values = await Promise.all(Array.from({ length: 500 }, (_, i) => redis.get(`auto${i}`)));
  assert.deepEqual(values, Array.from({ length: 500 }, (_, i) => i));
}

export async function scanning(url, token) {
  const redis = client(url, token);
  await redis.flushall();
  const fill = redis.pipeline();
  for (let i = 0; i < 1000; i++) fill.set(`scan:${i}`, i);
  await fill.exec();
  const seen = new Set();
  let cursor = '0';
  do {
    const [next, keys] = await redis.scan(cursor, { match: 'scan:*', count: 100 });
    keys.forEach((k) => seen.add(k));
    cursor = next;
  } while (cursor !== '0');
  assert.equal(seen.size, 1000);
}

export async function answers_without_base64(url, token) {
  const redis = client(url, token, { responseEncoding: false });
  await redis.set('plain', 'Grüße "und" \\ \n');
  assert.equal(await redis.get('plain'), 'Grüße "und" \\ \n');
}

export async function a_wrong_token_is_refused(url, token) {
  if (token === undefined) return;
  await assert.rejects(client(url, token + 'x', { retry: false }).get('k'), /NOAUTH|WRONGPASS|Unauthorized|invalid/i);
}
