// A published validator's word on a description in OpenAPI; run.mjs calls it with the file.
import assert from 'node:assert/strict';
import { Validator } from '@seriousme/openapi-schema-validator';

export async function valid(file) {
  const validator = new Validator();
  const result = await validator.validate(file);
  assert.ok(result.valid, JSON.stringify(result.errors, null, 1));
  assert.equal(validator.version, '3.1');
  validator.resolveRefs();
}

// And that it would say so if it were not.
export async function invalid(file) {
  const result = await new Validator().validate(file);
  assert.equal(result.valid, false);
}
