// Node's own fetch against the HTTP dialects; run.mjs calls each function with the URL of the server's HTTP port.
import assert from 'node:assert/strict';

const text = async (answer, status) => {
  const body = await answer.text();
  assert.equal(answer.status, status, body);
  return body;
};

export async function plain_keys(url) {
  await text(await fetch(`${url}/clear`, { method: 'DELETE' }), 200);
  await text(await fetch(`${url}/kv/hello`, { method: 'PUT', body: 'world' }), 200);
  assert.equal(await text(await fetch(`${url}/kv/hello`), 200), 'world');
  await text(await fetch(`${url}/kv/hello`, { method: 'DELETE' }), 200);
  assert.equal(await text(await fetch(`${url}/kv/hello`), 404), 'key not found\n');
}

export async function json_dialects(url) {
  const json = { 'Content-Type': 'application/json' };
  await text(await fetch(`${url}/set/name`, { method: 'POST', headers: json, body: JSON.stringify({ value: 'Grüße' }) }), 201);
  assert.deepEqual(await (await fetch(`${url}/get/name`)).json(), { value: 'Grüße' });
  await text(await fetch(`${url}/delete/name`, { method: 'DELETE' }), 204);
  await text(await fetch(`${url}/user1`, { method: 'PUT', body: JSON.stringify({ value: 'v', ttl: 3600 }) }), 200);
  const user = await (await fetch(`${url}/user1`)).json();
  assert.equal(user.value, 'v');
  assert.ok(user.ttl > 3500 && user.ttl <= 3600);
}

export async function rest_with_conditions(url) {
  const at = `${url}/v1/kv/${encodeURIComponent('any key/\u{1F600}')}`;
  await fetch(at, { method: 'DELETE' });
  const made = await fetch(at, { method: 'PUT', body: new Uint8Array([0, 1, 255]), headers: { 'Content-Type': 'application/x-thing' } });
  await text(made, 201);
  const got = await fetch(at);
  assert.deepEqual([...new Uint8Array(await got.arrayBuffer())], [0, 1, 255]);
  assert.equal(got.headers.get('content-type'), 'application/x-thing');
  const etag = got.headers.get('etag');
  assert.equal(etag, made.headers.get('etag'));
  await text(await fetch(at, { headers: { 'If-None-Match': etag } }), 304);
  await text(await fetch(at, { method: 'PUT', body: 'x', headers: { 'If-Match': '"other"' } }), 412);
  await text(await fetch(at, { method: 'PUT', body: 'x', headers: { 'If-Match': etag } }), 204);
  const head = await fetch(at, { method: 'HEAD' });
  assert.equal(head.headers.get('content-length'), '1');
  const missing = await fetch(`${url}/v1/kv/none`);
  assert.equal((await missing.json()).status, 404);
  assert.match(missing.headers.get('content-type'), /^application\/problem\+json/);
}

export async function a_body_of_unknown_length(url) {
  const pieces = Array.from({ length: 50 }, (_, i) => new TextEncoder().encode(`piece ${i};`.repeat(100)));
  const stream = new ReadableStream({
    pull(controller) {
      if (pieces.length === 0) return controller.close();
      controller.enqueue(pieces.shift());
    },
  });
  await text(await fetch(`${url}/v1/kv/streamed`, { method: 'PUT', body: stream, duplex: 'half' }), 201);
  const value = await text(await fetch(`${url}/v1/kv/streamed`), 200);
  assert.ok(value.startsWith('piece 0;piece 0;') && value.endsWith('piece 49;'));
}

export async function many_at_once(url) {
  const puts = await Promise.all(Array.from({ length: 300 }, (_, i) => fetch(`${url}/kv/many${i}`, { method: 'PUT', body: `v${i}` })));
  assert.ok(puts.every((a) => a.status === 200));
  const values = await Promise.all(Array.from({ length: 300 }, async (_, i) => (await fetch(`${url}/kv/many${i}`)).text()));
  assert.deepEqual(values, Array.from({ length: 300 }, (_, i) => `v${i}`));
}
