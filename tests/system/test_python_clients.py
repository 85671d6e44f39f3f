#!/usr/bin/python3
"""Debian's python3-redis and RQ, as applications use them."""
import datetime
import multiprocessing
import threading
import time

import redis
import rq
import rq.job

import server
import tap


def client(s, **more):
    return redis.Redis(port=s.port, decode_responses=True, **more)


def raises(kind, pattern, call, *args):
    """The call raises an exception of this kind that says this."""
    try:
        answer = call(*args)
    except kind as error:
        tap.matches(str(error), pattern)
        return
    raise tap.Failed(f'{call} answered {answer!r}')


@tap.test
def strings_and_keys():
    with server.Varved() as s, client(s) as r:
        tap.eq(r.set('s', 'v', ex=100, nx=True), True)
        tap.eq(r.set('s', 'w', nx=True), None)
        tap.eq(r.set('s', 'w', get=True, keepttl=True), 'v')
        tap.check(90 < r.ttl('s') <= 100, 'ttl')
        tap.check(abs(r.expiretime('s') - r.pexpiretime('s') / 1000) <= 0.5, 'expiretime')
        tap.eq(r.getex('s', persist=True), 'w')
        tap.eq(r.ttl('s'), -1)
        tap.eq(r.mset({'a': 1, 'b': 'two'}), True)
        tap.eq(r.mget(['a', 'b', 'none']), ['1', 'two', None])
        tap.eq((r.incr('a', 41), r.decr('a'), r.incrbyfloat('a', 0.5)), (42, 41, 41.5))
        tap.eq((r.append('b', '!'), r.getrange('b', 1, -1), r.strlen('b'), r.setrange('b', 0, 'T')), (4, 'wo!', 4, 4))
        tap.eq((r.setbit('bits', 7, 1), r.getbit('bits', 7), r.bitcount('bits'), r.bitpos('bits', 1)), (0, 1, 1, 7))
        tap.eq(r.bitfield('bits').set('u8', 0, 200).incrby('u8', 0, 100).execute(), [1, 44])
        tap.eq((r.exists('a', 'b', 'none'), r.type('a'), r.rename('a', 'c'), r.delete('c', 'none')), (2, 'string', True, 1))
        tap.eq((r.copy('b', 'd'), r.get('d'), r.getdel('d'), r.get('d')), (True, 'Two!', 'Two!', None))
        tap.eq(r.expire('b', datetime.timedelta(hours=1), nx=True), True)
        tap.eq(r.lcs('b', 'b'), 'Two!')
        raises(redis.ResponseError, '^value is not an integer or out of range$', r.incr, 'b')
        raises(redis.ResponseError, '^unknown command', r.execute_command, 'NOSUCH')
        everything = bytes(range(256))
        with redis.Redis(port=s.port) as raw:
            raw.set(everything, everything * 1000)
            tap.eq(raw.get(everything), everything * 1000)


@tap.test
def hashes():
    with server.Varved() as s, client(s) as r:
        tap.eq(r.hset('h', mapping={'name': 'anna', 'age': 7}), 2)
        tap.eq(r.hgetall('h'), {'name': 'anna', 'age': '7'})
        tap.eq((r.hget('h', 'name'), r.hmget('h', 'age', 'none'), r.hexists('h', 'none')), ('anna', ['7', None], False))
        tap.eq((r.hincrby('h', 'age', 3), r.hincrbyfloat('h', 'age', 0.5), r.hstrlen('h', 'name')), (10, 10.5, 4))
        tap.eq((sorted(r.hkeys('h')), sorted(r.hvals('h')), r.hlen('h')), (['age', 'name'], ['10.5', 'anna'], 2))
        tap.eq((r.hsetnx('h', 'name', 'ben'), r.hdel('h', 'name', 'none')), (0, 1))
        tap.eq(r.hrandfield('h', 1, withvalues=True), ['age', '10.5'])
        r.hset('big', mapping={f'f{i}': i for i in range(3000)})
        tap.eq(dict(r.hscan_iter('big', count=50)), {f'f{i}': str(i) for i in range(3000)})
        raises(redis.ResponseError, 'WRONGTYPE|wrong kind', r.lpush, 'h', 'x')


@tap.test
def lists():
    with server.Varved() as s, client(s) as r:
        tap.eq((r.rpush('l', 'a', 'b', 'c'), r.lpush('l', 'z'), r.lpushx('none', 'x')), (3, 4, 0))
        tap.eq((r.lrange('l', 0, -1), r.lindex('l', 1), r.llen('l')), (['z', 'a', 'b', 'c'], 'a', 4))
        tap.eq((r.linsert('l', 'BEFORE', 'b', 'a2'), r.lset('l', 0, 'y'), r.lrem('l', 1, 'b')), (5, True, 1))
        tap.eq((r.lpos('l', 'c'), r.lpos('l', 'none'), r.lmove('l', 'm', 'LEFT', 'RIGHT'), r.rpoplpush('l', 'm')), (3, None, 'y', 'c'))
        tap.eq((r.lpop('l', 5), r.lpop('l'), r.rpop('m'), r.lmpop(2, 'none', 'm', direction='LEFT')), (['a', 'a2'], None, 'y', ['m', ['c']]))
        r.rpush('t', *range(1000))
        tap.eq((r.ltrim('t', 10, 19), r.lrange('t', 0, -1)), (True, [str(i) for i in range(10, 20)]))


@tap.test
def sets():
    with server.Varved() as s, client(s) as r:
        tap.eq((r.sadd('a', 1, 2, 3), r.sadd('b', 2, 3, 4), r.sadd('a', 1)), (3, 3, 0))
        tap.eq((r.sinter('a', 'b'), r.sunion('a', 'b'), r.sdiff('a', 'b')), ({'2', '3'}, {'1', '2', '3', '4'}, {'1'}))
        tap.eq((r.sinterstore('c', 'a', 'b'), r.smembers('c'), r.sintercard(2, ['a', 'b'], limit=1)), (2, {'2', '3'}, 1))
        tap.eq((r.sismember('a', 1), r.smismember('a', [1, 9]), r.scard('a'), r.smove('a', 'b', 1)), (True, [1, 0], 3, True))
        tap.eq((len(r.srandmember('b', -10)), r.srem('b', 1, 9), sorted(r.spop('c', 5))), (10, 1, ['2', '3']))
        r.sadd('big', *range(3000))
        tap.eq(set(r.sscan_iter('big', match='1*')), {str(i) for i in range(3000) if str(i).startswith('1')})


@tap.test
def sorted_sets():
    with server.Varved() as s, client(s) as r:
        tap.eq((r.zadd('z', {'one': 1, 'two': 2.5, 'three': 3}), r.zadd('z', {'one': 5}, gt=True, ch=True)), (3, 1))
        tap.eq((r.zrange('z', 0, -1, withscores=True)), [('two', 2.5), ('three', 3.0), ('one', 5.0)])
        tap.eq((r.zscore('z', 'two'), r.zmscore('z', ['one', 'none']), r.zrank('z', 'one'), r.zrevrank('z', 'one')), (2.5, [5.0, None], 2, 0))
        tap.eq((r.zincrby('z', 1.5, 'two'), r.zcount('z', '(3', '+inf'), r.zcard('z')), (4.0, 2, 3))
        tap.eq(r.zrangebyscore('z', '-inf', '+inf', start=1, num=1), ['two'])
        tap.eq(r.zrange('z', 4, 0, desc=True, byscore=True, offset=0, num=2), ['two', 'three'])
        tap.eq((r.zpopmin('z'), r.zpopmax('z', 5), r.zpopmin('z')), ([('three', 3.0)], [('one', 5.0), ('two', 4.0)], []))
        r.zadd('lex', {c: 0 for c in 'abcdef'})
        tap.eq((r.zrangebylex('lex', '[b', '(e'), r.zlexcount('lex', '-', '+'), r.zremrangebylex('lex', '-', '[b')), (['b', 'c', 'd'], 6, 2))
        r.zadd('x', {'a': 1, 'b': 2})
        r.zadd('y', {'b': 3, 'c': 4})
        tap.eq(r.zunion({'x': 2, 'y': 1}, aggregate='SUM', withscores=True), [('a', 2.0), ('c', 4.0), ('b', 7.0)])
        tap.eq((r.zinterstore('xy', ['x', 'y']), r.zdiff(['x', 'y']), r.zrangestore('top', 'x', -1, -1)), (1, ['a'], 1))
        r.zadd('big', {f'm{i}': i for i in range(3000)})
        tap.eq(sum(score for _, score in r.zscan_iter('big')), 3000 * 2999 / 2.0)
        r.zadd('inf', {'low': float('-inf'), 'high': float('inf')})
        tap.eq((r.zscore('inf', 'low'), r.zscore('inf', 'high')), (float('-inf'), float('inf')))


@tap.test
def counting_and_places():
    with server.Varved() as s, client(s) as r:
        tap.eq((r.pfadd('p', *range(1000)), r.pfadd('q', *range(500, 1500)), r.pfmerge('pq', 'p', 'q')), (1, 1, True))
        tap.check(abs(r.pfcount('pq') - 1500) < 50, r.pfcount('pq'))
        tap.eq(r.geoadd('Sicily', (13.361389, 38.115556, 'Palermo', 15.087269, 37.502669, 'Catania')), 2)
        tap.eq(r.geodist('Sicily', 'Palermo', 'Catania', unit='km'), 166.2742)
        tap.eq(r.geohash('Sicily', 'Palermo'), ['sqc8b49rny0'])
        tap.eq([[round(c, 4) for c in p] for p in r.geopos('Sicily', 'Palermo')], [[13.3614, 38.1156]])
        tap.eq(r.geosearch('Sicily', longitude=15, latitude=37, radius=200, unit='km', sort='ASC', withdist=True),
               [['Catania', 56.4413], ['Palermo', 190.4424]])


@tap.test
def pipelines_and_transactions():
    with server.Varved() as s, client(s) as r:
        with r.pipeline(transaction=False) as p:
            for i in range(5000):
                p.set(f'k{i}', i)
            tap.eq(p.execute(), [True] * 5000)
        with r.pipeline() as p:
            tap.eq(p.set('n', 1).incr('n').get('n').hset('h', 'f', 'v').execute(), [True, 2, '2', 1])
            p.set('n', 'text').incr('n').set('after', 1)
            tap.eq([type(x) for x in p.execute(raise_on_error=False)], [bool, redis.ResponseError, bool])
            raises(redis.ResponseError, 'wrong number of arguments', p.set('n', 2).execute_command('GET').execute)
        tap.eq((r.get('n'), r.get('after')), ('text', '1'))
        r.set('sum', 0)

        def add(times):
            with client(s) as mine:
                for _ in range(times):
                    mine.transaction(lambda p: (lambda n: (p.multi(), p.set('sum', n + 1)))(int(p.get('sum'))), 'sum')
        threads = [threading.Thread(target=add, args=(50,)) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        tap.eq(r.get('sum'), '200')
        with r.pipeline() as p:
            p.watch('sum')
            r.set('sum', 'changed')
            p.multi()
            p.set('sum', 'lost')
            raises(redis.WatchError, 'Watched variable changed', p.execute)
        tap.eq(r.get('sum'), 'changed')


@tap.test
def scan_iter_sees_every_key():
    with server.Varved() as s, client(s) as r:
        r.mset({f'scan:{i}': i for i in range(3000)})
        r.hset('a hash', 'f', 'v')
        tap.eq(set(r.scan_iter('scan:*', count=100)), {f'scan:{i}' for i in range(3000)})
        tap.eq(list(r.scan_iter(_type='HASH')), ['a hash'])
        tap.eq(len(r.keys('scan:1*')), 1111)
        tap.check(r.randomkey() is not None and r.dbsize() == 3001, 'dbsize')


@tap.test
def blocking():
    with server.Varved() as s, client(s) as r, client(s) as other:
        def later(*commands):
            t = threading.Timer(0.1, lambda: [other.execute_command(*c) for c in commands])
            t.start()
            return t
        t = later(('RPUSH', 'q2', 'job'))
        tap.eq(r.blpop(['q1', 'q2'], 10), ('q2', 'job'))
        t.join()
        t = later(('ZADD', 'z', '3', 'c'))
        tap.eq(r.bzpopmin(['z'], 10), ('z', 'c', 3.0))
        t.join()
        t = later(('RPUSH', 'q1', 'm'))
        tap.eq(r.blmove('q1', 'done', 10), 'm')
        t.join()
        t = later(('RPUSH', 'q3', 'x', 'y'))
        tap.eq(r.blmpop(10, 2, 'q1', 'q3', direction='RIGHT', count=1), ['q3', ['y']])
        t.join()
        start = time.monotonic()
        tap.eq(r.brpop('none', 1), None)
        tap.check(0.9 < time.monotonic() - start < 5, 'timeout')


@tap.test
def channels():
    with server.Varved('--notify-keyspace-events', 'KEA') as s, client(s) as r, r.pubsub(ignore_subscribe_messages=True) as p:
        got = []
        p.subscribe('news', **{'jobs': lambda m: got.append(m['data'])})
        p.psubscribe('n*', '__keyevent@0__:expired')
        tap.until(lambda: p.get_message() or r.pubsub_numsub('news') == [('news', 1)] and r.pubsub_numpat() == 2)
        tap.eq((r.publish('news', 'hello'), r.publish('jobs', 'one'), r.publish('nobody else', 'x')), (2, 1, 1))
        r.set('soon', 'v', px=50)
        messages = []
        end = time.monotonic() + 20 * tap.PATIENCE
        while len(messages) < 4 and time.monotonic() < end:
            m = p.get_message(timeout=0.2)
            if m:
                messages.append((m['type'], m['pattern'], m['channel'], m['data']))
        tap.eq(messages, [('message', None, 'news', 'hello'), ('pmessage', 'n*', 'news', 'hello'),
                          ('pmessage', 'n*', 'nobody else', 'x'),
                          ('pmessage', '__keyevent@0__:expired', '__keyevent@0__:expired', 'soon')])
        tap.eq(got, ['one'])
        p.unsubscribe()
        p.punsubscribe()


@tap.test
def the_server_and_its_clients():
    with server.Varved('--requirepass', 'secret') as s:
        raises(redis.AuthenticationError, 'Authentication required', client(s).get, 'k')
        raises(redis.ResponseError, '^WRONGPASS', client(s, password='wrong').get, 'k')
        with client(s, username='default', password='secret', db=2, client_name='the-app') as r:
            r.set('k', 'v')
            tap.eq((r.client_getname(), r.ping(), r.echo('x')), ('the-app', True, 'x'))
            mine = [c for c in r.client_list() if c['name'] == 'the-app']
            tap.eq((len(mine), mine[0]['db'], mine[0]['id'] == str(r.client_id())), (1, '2', True))
            info = r.info()
            tap.eq(info['db2'], {'keys': 1, 'expires': 0, 'avg_ttl': 0})
            tap.check(int(info['redis_version'].split('.', maxsplit=1)[0]) >= 7, 'version')
            tap.check(abs(r.time()[0] - time.time()) < 5, 'time')
            tap.eq(r.config_set('slowlog-log-slower-than', 0), True)
            tap.eq(r.config_get('slowlog-log-slower-than'), {'slowlog-log-slower-than': '0'})
            tap.check(r.slowlog_get(1)[0]['command'] != '' and r.slowlog_len() > 0, 'slowlog')
            tap.check(r.memory_usage('k') > 0 and r.object('encoding', 'k') == 'embstr', 'object')
            tap.eq(r.command_getkeys('MSET', 'a', 1, 'b', 2), ['a', 'b'])
            tap.check(len(r.command()) > 200 and r.command()['get']['flags'] == ['readonly', 'fast'], 'command')
            tap.eq((r.flushdb(), r.dbsize(), r.client_kill_filter(_id='999999999')), (True, 0, 0))
            with r.monitor() as m:
                other = client(s, password='secret')
                other.set('seen', '1')
                commands = []
                for command in m.listen():
                    commands.append(command['command'])
                    if command['command'].startswith('SET'):
                        break
                tap.eq(commands[-1], 'SET seen 1')


class Job(rq.job.Job):
    """A job whose result stands in its hash. By the version that INFO tells RQ would put it into a stream."""
    supports_redis_streams = False


@tap.test
def rq_enqueues_and_works():
    with server.Varved() as s, redis.Redis(port=s.port) as r:
        queue = rq.Queue('jobs', connection=r, job_class=Job)
        other = rq.Queue('other', connection=r, job_class=Job)
        first = queue.enqueue('operator.add', 2, 3, meta={'from': 'a test'})
        failing = queue.enqueue('operator.truediv', 1, 0)
        after = other.enqueue('operator.mul', 6, 7, depends_on=first)
        first_again = queue.enqueue('operator.concat', 'a', 'b', job_id='named', at_front=True)
        tap.eq((queue.job_ids, other.job_ids), (['named', first.id, failing.id], []))
        tap.eq((queue.get_job_position(failing), after.get_status()), (2, 'deferred'))
        worker = rq.Worker([queue, other], connection=r, job_class=Job)
        tap.eq(worker.work(burst=True, logging_level='CRITICAL'), True)
        tap.eq([j.get_status() for j in (first, failing, after, first_again)], ['finished', 'failed', 'finished', 'finished'])
        tap.eq([Job.fetch(j.id, connection=r).result for j in (first, after, first_again)], [5, 42, 'ab'])
        tap.matches(Job.fetch(failing.id, connection=r).exc_info, 'ZeroDivisionError')
        tap.eq((queue.failed_job_registry.get_job_ids(), queue.finished_job_registry.count, queue.count), ([failing.id], 2, 0))
        queue.failed_job_registry.requeue(failing.id)
        tap.eq(queue.job_ids, [failing.id])
        failing.cancel()
        failing.delete()
        tap.eq((queue.job_ids, r.exists(failing.key), {q.name for q in rq.Queue.all(connection=r)}), ([], 0, {'jobs', 'other'}))


@tap.test
def rq_schedules_and_repeats():
    with server.Varved() as s, redis.Redis(port=s.port) as r:
        queue = rq.Queue('later', connection=r, job_class=Job)
        soon = queue.enqueue_in(datetime.timedelta(seconds=1), 'operator.add', 1, 1)
        retried = queue.enqueue('operator.truediv', 1, 0, retry=rq.Retry(max=2))
        tap.eq(queue.scheduled_job_registry.get_job_ids(), [soon.id])

        def pass_of_a_worker():
            rq.Worker([queue], connection=r, job_class=Job).work(burst=True, with_scheduler=True, logging_level='CRITICAL')
            return soon.get_status() == 'finished'
        tap.until(pass_of_a_worker, 30, step=0.5, what='the scheduled job')
        tap.eq((soon.result, retried.get_status(), Job.fetch(retried.id, connection=r).retries_left), (2, 'failed', 0))


@tap.test
def rq_workers_side_by_side():
    with server.Varved('--io-threads', 2) as s, redis.Redis(port=s.port) as r:
        queue = rq.Queue(connection=r, job_class=Job)
        with r.pipeline() as p:
            jobs = queue.enqueue_many([rq.Queue.prepare_data('operator.add', (i, 1)) for i in range(40)], pipeline=p)
            p.execute()
        tap.eq(queue.count, 40)
        workers = [multiprocessing.get_context('fork').Process(target=_work, args=(s.port,)) for _ in range(3)]
        for w in workers:
            w.start()
        for w in workers:
            w.join(120 * tap.PATIENCE)
            tap.eq(w.exitcode, 0)
        tap.eq(sorted(j.result for j in jobs), list(range(1, 41)))
        tap.eq((queue.count, queue.started_job_registry.count, queue.finished_job_registry.count), (0, 0, 40))


def _work(port):
    queue = rq.Queue(connection=redis.Redis(port=port), job_class=Job)
    rq.SimpleWorker([queue], connection=queue.connection, job_class=Job).work(burst=True, logging_level='CRITICAL')


tap.main()
