// What applications do with ioredis; run.mjs calls each function with the server's port.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import Redis from 'ioredis';

async function connected(port, options, use) {
  const redis = new Redis({ port: Number(port), host: '127.0.0.1', ...options });
  try {
    await use(redis);
  } finally {
    redis.disconnect();
  }
}

export async function every_type_is_written_and_read(port) {
  await connected(port, {}, async (redis) => {
    await redis.flushall();
    assert.equal(await redis.set('s', 'v', 'EX', 100, 'NX'), 'OK');
    assert.equal(await redis.set('s', 'w', 'NX'), null);
    assert.equal(await redis.get('s'), 'v');
    assert.ok((await redis.pttl('s')) > 90000);
    const bytes = Buffer.from([0, 255, 13, 10, 128]);
    await redis.set(bytes, bytes);
    assert.deepEqual(await redis.getBuffer(bytes), bytes);
    assert.equal(await redis.incrbyfloat('f', 1.5), '1.5');
    await redis.mset({ a: 1, b: 2 });
    assert.deepEqual(await redis.mget('a', 'b', 'none'), ['1', '2', null]);

    assert.equal(await redis.hset('h', { name: 'anna', age: 7 }), 2);
    assert.deepEqual(await redis.hgetall('h'), { name: 'anna', age: '7' });
    assert.deepEqual(await redis.hgetall('none'), {});
    assert.equal(await redis.rpush('l', 'a', 'b', 'c'), 3);
    assert.deepEqual(await redis.lrange('l', 0, -1), ['a', 'b', 'c']);
    assert.equal(await redis.sadd('set', 'x', 'y', 'x'), 2);
    assert.deepEqual((await redis.smembers('set')).sort(), ['x', 'y']);
    assert.equal(await redis.zadd('z', 1, 'one', 2.5, 'two'), 2);
    assert.deepEqual(await redis.zrange('z', 0, -1, 'WITHSCORES'), ['one', '1', 'two', '2.5']);
    assert.equal(await redis.pfadd('hll', 'a', 'b'), 1);
    assert.equal(await redis.pfcount('hll'), 2);
    assert.equal(await redis.geoadd('g', 13.361389, 38.115556, 'Palermo'), 1);
    assert.equal(await redis.type('z'), 'zset');
    assert.equal(await redis.del('s', 'h', 'none'), 2);
    await assert.rejects(redis.incr('l'), /WRONGTYPE Operation against a key holding the wrong kind of value/);
  });
}

export async function pipelines_and_transactions(port) {
  await connected(port, {}, async (redis) => {
    await redis.flushall();
    const replies = await redis.pipeline().set('n', 1).incr('n').lpush('n', 'x').get('n').exec();
    assert.deepEqual(replies.filter((r, i) => i !== 2), [[null, 'OK'], [null, 2], [null, '2']]);
    assert.match(replies[2][0].message, /WRONGTYPE/);
    assert.deepEqual(await redis.multi().set('m', 'v').get('m').exec(), [[null, 'OK'], [null, 'v']]);
    const many = redis.pipeline();
    for (let i = 0; i < 5000; i++) many.set(`p${i}`, 'x'.repeat(i % 100));
    assert.equal((await many.exec()).filter(([error, reply]) => !error && reply === 'OK').length, 5000);
    await assert.rejects(redis.multi().set('m').exec(), /EXECABORT|wrong number of arguments/);

    const other = redis.duplicate();
    await redis.watch('m');
    await other.set('m', 'changed');
    assert.equal(await redis.multi().set('m', 'lost').exec(), null);
    await redis.watch('m');
    assert.deepEqual(await redis.multi().get('m').exec(), [[null, 'changed']]);
    other.disconnect();
  });
}

export async function auto_pipelining(port) {
  await connected(port, { enableAutoPipelining: true, keyPrefix: 'auto:' }, async (redis) => {
    await Promise.all(Array.from({ length: 1000 }, (_, i) => redis.set(`k${i}`, i)));
    const values = await Promise.all(Array.from({ length: 1000 }, (_, i) => redis.get(`k${i}`)));
    assert.deepEqual(values, Array.from({ length: 1000 }, (_, i) => String(i)));
  });
}

export async function scan_streams(port) {
  await connected(port, {}, async (redis) => {
    await redis.flushall();
    const fill = redis.pipeline();
    for (let i = 0; i < 2000; i++) fill.set(`scan:${i}`, 1).hset('big', `f${i}`, i).zadd('zbig', i, `m${i}`).sadd('sbig', i);
    await fill.exec();
    const seen = async (stream) => {
      const all = [];
      for await (const page of stream) all.push(...page);
      return all;
    };
    assert.equal(new Set(await seen(redis.scanStream({ match: 'scan:*', count: 100 }))).size, 2000);
    assert.equal(new Set(await seen(redis.scanStream({ type: 'hash' }))).size, 1);
    assert.equal((await seen(redis.hscanStream('big'))).length, 4000);
    assert.equal((await seen(redis.zscanStream('zbig'))).length, 4000);
    assert.equal(new Set(await seen(redis.sscanStream('sbig', { match: '1*' }))).size, 1111);
  });
}

export async function blocking_commands(port) {
  await connected(port, {}, async (redis) => {
    await redis.flushall();
    const waiting = redis.duplicate();
    const popped = waiting.blpop('q1', 'q2', 10);
    await redis.rpush('q2', 'job');
    assert.deepEqual(await popped, ['q2', 'job']);
    assert.equal(await waiting.brpop('q1', 0.05), null);
    const smallest = waiting.bzpopmin('z', 10);
    await redis.zadd('z', 3, 'c');
    assert.deepEqual(await smallest, ['z', 'c', '3']);
    const moved = waiting.blmove('q1', 'done', 'LEFT', 'RIGHT', 10);
    await redis.rpush('q1', 'm');
    assert.equal(await moved, 'm');
    waiting.disconnect();
  });
}

export async function channels_and_keyspace_events(port) {
  await connected(port, {}, async (redis) => {
    const listener = redis.duplicate();
    const got = [];
    listener.on('message', (channel, text) => got.push([channel, text]));
    listener.on('pmessage', (pattern, channel, text) => got.push([pattern, channel, text]));
    assert.equal(await listener.subscribe('news', 'weather'), 2);
    assert.equal(await listener.psubscribe('n*'), 3);
    assert.equal(await redis.publish('news', 'hello'), 2);
    await redis.config('SET', 'notify-keyspace-events', 'KEA');
    await listener.subscribe('__keyevent@0__:set');
    await redis.set('watched', 1);
    while (got.length < 3) await once(listener, 'message');
    assert.deepEqual(got, [['news', 'hello'], ['n*', 'news', 'hello'], ['__keyevent@0__:set', 'watched']]);
    await listener.unsubscribe('news', 'weather', '__keyevent@0__:set');
    await listener.punsubscribe('n*');
    assert.equal(await listener.get('watched'), '1');
    await redis.config('SET', 'notify-keyspace-events', '');
    listener.disconnect();
  });
}

export async function a_lost_connection_is_made_anew(port) {
  await connected(port, { retryStrategy: () => 10 }, async (redis) => {
    await redis.set('kept', 'v');
    const id = await redis.client('ID');
    const gone = once(redis, 'close');
    await connected(port, {}, (other) => other.client('KILL', 'ID', id));
    await gone;
    assert.equal(await redis.get('kept'), 'v');
    assert.notEqual(await redis.client('ID'), id);
  });
}

export async function databases_and_names(port) {
  await connected(port, { db: 3, connectionName: 'the-app' }, async (redis) => {
    await redis.flushall();
    await redis.set('in three', 1);
    assert.equal(await redis.client('GETNAME'), 'the-app');
    assert.match(await redis.info('keyspace'), /db3:keys=1,/);
    await redis.select(0);
    assert.equal(await redis.dbsize(), 0);
  });
}
