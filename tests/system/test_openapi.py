#!/usr/bin/python3
"""/openapi.json against the running server: everything it describes is asked, and every answer is one that it describes."""
import json
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import node  # noqa: E402
import server  # noqa: E402
import tap  # noqa: E402
import web  # noqa: E402

S = server.Varved('--appendfsync', 'no', '--http-max-body', '64kb', http=True)
DOC = json.loads(web.ask(S.http_port, 'GET', '/openapi.json').body)
METHODS = ('get', 'put', 'post', 'delete')


def resolve(part):
    """What a $ref stands for."""
    while '$ref' in part:
        at = DOC
        for name in part['$ref'].lstrip('#/').split('/'):
            at = at[name]
        part = at
    return part


TYPES = {'string': str, 'array': list, 'object': dict, 'boolean': bool, 'null': type(None), 'integer': int, 'number': (int, float)}


def fits(value, schema):
    """Whether a value is what a schema says: the words of JSON Schema that the description uses."""
    schema = resolve(schema)
    kinds = schema.get('type', [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(isinstance(value, TYPES[k]) and not (isinstance(value, bool) and k != 'boolean') for k in kinds):
        return False
    if 'anyOf' in schema and not any(fits(value, s) for s in schema['anyOf']):
        return False
    if isinstance(value, str) and not re.search(schema.get('pattern', ''), value):
        return False
    if isinstance(value, list):
        return all(fits(v, schema.get('items', {})) for v in value)
    if isinstance(value, dict):
        known = schema.get('properties', {})
        return (all(k in value for k in schema.get('required', [])) and
                (schema.get('additionalProperties', True) or all(k in known for k in value)) and
                all(fits(v, known.get(k, {})) for k, v in value.items()))
    return True


def operations():
    for path, item in DOC['paths'].items():
        for method in METHODS:
            if method in item:
                yield path, method, item[method], [resolve(p) for p in item.get('parameters', []) + item[method].get('parameters', [])]


def example(path, operation, parameters):
    """(target, body, headers) of a request with the examples of the description."""
    query, headers = [], {}
    for p in parameters:
        if p['in'] == 'path':
            path = path.replace('{' + p['name'] + '}', str(p['example']))
        elif 'example' in p:
            query.append(f'{p["name"]}={p["example"]}')
    body = None
    if 'requestBody' in operation:
        kind, content = next(iter(operation['requestBody']['content'].items()))
        body = content['example'].encode() if isinstance(content['example'], str) else json.dumps(content['example']).encode()
        tap.check(isinstance(content['example'], str) or fits(content['example'], content['schema']), 'an example that is none')
        headers['Content-Type'] = kind if kind != '*/*' else 'text/x-example'
    return path + ('?' + '&'.join(query) if query else ''), body, headers


def check(answer, operation, what):
    """The answer is one that the operation describes."""
    responses = {int(k): resolve(v) for k, v in operation['responses'].items()}
    tap.check(answer.status in responses, f'{what}: {answer.status} is not described')
    described = responses[answer.status]
    content = described.get('content', {})
    kind = answer.headers.get('content-type')
    if not content:
        tap.check(not answer.body, f'{what}: a body that is not described: {answer.body[:100]}')
    elif '*/*' not in content:
        tap.check(kind and kind.split(';')[0] in content, f'{what}: {kind} is not described')
        schema = content[kind.split(';')[0]]['schema']
        value = json.loads(answer.body) if 'json' in kind else answer.body.decode()
        tap.check(fits(value, schema), f'{what}: {value!r} is not as described')
    for name, header in described.get('headers', {}).items():
        if name.lower() in answer.headers:
            value = answer.headers[name.lower()]
            schema = resolve(header)['schema']
            tap.check(fits(int(value) if schema['type'] == 'integer' else value, schema), f'{what}: {name}: {value}')
        else:
            tap.check(name != 'ETag', f'{what}: no ETag')


@tap.test
def a_published_validator_finds_it_valid():
    path = os.path.join(S.dir, 'openapi.json')
    with open(path, 'w', encoding='utf-8') as f:
        json.dump(DOC, f)
    node.run('openapi.mjs', 'valid', path)
    broken = json.loads(json.dumps(DOC))
    del next(iter(next(iter(broken['paths'].values())).values()))['responses']
    broken['info'].pop('title')
    with open(path, 'w', encoding='utf-8') as f:
        json.dump(broken, f)
    node.run('openapi.mjs', 'invalid', path)


@tap.test
def every_reference_leads_somewhere_and_every_name_is_used():
    text = json.dumps(DOC)
    used = set(re.findall(r'"#/components/(\w+/\w+)"', text))
    there = {f'{group}/{name}' for group, names in DOC['components'].items() for name in names if group != 'securitySchemes'}
    tap.eq(used, there)
    ids = [o['operationId'] for _, _, o, _ in operations()]
    tap.eq(len(set(ids)), len(ids))


@tap.test
def every_operation_answers_as_described():
    with web.Connection(S.http_port) as c:
        for path, method, operation, parameters in operations():
            target, body, headers = example(path, operation, parameters)
            for _ in range(2):  # on a key that is not there, and on one that is, more or less
                check(c.request(method.upper(), target, body, headers), operation, f'{method} {target}')
        for path, method, operation, parameters in operations():  # and once all of them are
            target, body, headers = example(path, operation, parameters)
            if method == 'get':
                web.ask(S.http_port, 'PUT', '/v1/kv/' + target.rsplit('/', 1)[1], b'x')
                answer = c.request('GET', target, body, headers)
                check(answer, operation, f'{method} {target}')
                tap.eq(answer.status, 200, target)
                if path not in ('/kv/{key}',):
                    tap.eq(c.request('HEAD', target).status, 200, target)


@tap.test
def errors_are_as_described():
    S.call('DEL', 'example')
    with web.Connection(S.http_port) as c:
        for path, method, operation, parameters in operations():
            target, body, headers = example(path, operation, parameters)
            if body is not None:
                check(c.request(method.upper(), target, b'', headers), operation, f'{method} {target}, no body')
                if 'json' in headers['Content-Type']:
                    a = c.request(method.upper(), target, b'{', headers)
                    tap.eq(a.status, 400, f'{method} {target}')
                    check(a, operation, f'{method} {target}, bad JSON')
                a = web.ask(S.http_port, method.upper(), target, b'x' * 65537, headers)
                tap.eq(a.status, 413, target)
                check(a, operation, f'{method} {target}, too large')
            if '{key}' in path:
                a = c.request(method.upper(), target.replace('example', '%zz'), body, headers)
                tap.eq(a.status, 400, target)
                check(a, operation, f'{method} {target}, bad key')
            for name in ('If-Match', 'If-None-Match'):
                if any(p['name'] == name for p in parameters):
                    for tag in ('"0123456789abcdef"', '*'):
                        check(c.request(method.upper(), target, body, {**headers, name: tag}), operation, f'{method} {name} {tag}')


@tap.test
def methods_that_are_not_described_are_refused():
    with web.Connection(S.http_port) as c:
        for path, item in DOC['paths'].items():
            target = path.replace('{key}', 'example')
            described = {m.upper() for m in METHODS if m in item}
            if 'GET' in described and path != '/kv/{key}':
                described.add('HEAD')
            for method in ('GET', 'HEAD', 'PUT', 'POST', 'DELETE', 'PATCH', 'OPTIONS'):
                if method not in described:
                    a = c.request(method, target, b'x' if method in ('PUT', 'POST', 'PATCH') else None)
                    tap.eq(a.status, 405, f'{method} {target}')
                    tap.eq(set(a.headers['allow'].split(', ')), described, f'{method} {target}')


@tap.test
def a_password_is_asked_for_as_described():
    S.call('CONFIG', 'SET', 'requirepass', 'secret')
    tap.until(lambda: web.ask(S.http_port, 'GET', '/kv/a').status == 401, what='the password')
    with web.Connection(S.http_port) as c:
        for path, method, operation, parameters in operations():
            target, body, headers = example(path, operation, parameters)
            a = c.request(method.upper(), target, body, headers)
            check(a, operation, f'{method} {target}')
            tap.eq(a.status, 200 if operation.get('security') == [] else 401, target)
    S.close()


tap.main()
