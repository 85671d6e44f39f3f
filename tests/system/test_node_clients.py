#!/usr/bin/python3
"""Clients of Node.js as applications use them: ioredis and node-redis over RESP, @upstash/redis and fetch over HTTP. What each
does stands in tests/node; the packages are pinned by the lock file there."""
import json
import os

import node
import server
import tap


@tap.test
def the_lock_file_pins_contents_and_names_no_registry():
    with open(os.path.join(node.SOURCE, 'package-lock.json'), encoding='utf-8') as f:
        text = f.read()
    packages = {name: p for name, p in json.loads(text)['packages'].items() if name}
    tap.check(len(packages) > 10, f'{len(packages)} packages')
    for name, package in packages.items():
        tap.check('resolved' not in package, f'{name} is pinned to a host')
        tap.matches(package.get('integrity'), r'^sha512-')


@tap.cases(*node.scenarios('ioredis.mjs'))
def ioredis(scenario):
    with server.Varved() as s:
        node.run('ioredis.mjs', scenario, s.port)


@tap.cases(*node.scenarios('node-redis.mjs'))
def node_redis(scenario):
    with server.Varved('--io-threads', 2) as s:
        node.run('node-redis.mjs', scenario, s.port)


@tap.cases(*node.scenarios('upstash.mjs'))
def upstash(scenario):
    with server.Varved(http=True) as s:
        node.run('upstash.mjs', scenario, f'http://127.0.0.1:{s.http_port}')


@tap.cases(*node.scenarios('upstash.mjs'))
def upstash_with_a_token(scenario):
    with server.Varved('--requirepass', 'a secret', http=True) as s:
        node.run('upstash.mjs', scenario, f'http://127.0.0.1:{s.http_port}', 'a secret')


@tap.cases(*node.scenarios('fetch.mjs'))
def fetch(scenario):
    with server.Varved(http=True) as s:
        node.run('fetch.mjs', scenario, f'http://127.0.0.1:{s.http_port}')


tap.main()
