// Every published version of every ONNX operator is in some test: in a model of the visible suites, or among the cases of our
// own (families/, control-versions.test.ts).

import { expect, it } from 'vitest';
import { findModels, openModel } from '../../src/cli/model-file.js';
import { operatorsUsed } from '../../src/cli/operators-used.js';
import { ONNX_OPERATORS } from '../../src/frontend/onnx/operator-list.js';
import { sharedData } from '../shared-data.js';
import { versionsOf } from './families/case.js';
import { FAMILIES } from './families/index.js';
import { RANDOM_OPS } from './families/random.js';

const SUITES = ['node', 'node-dev', 'simple', 'pytorch-converted', 'pytorch-operator', 'light'];

/** Tried in every version by control-versions.test.ts. */
const CONTROL = ['If', 'Loop', 'Scan', 'Optional', 'OptionalGetElement', 'OptionalHasElement', ...RANDOM_OPS];
const DEPRECATED = ['ai.onnx:Upsample@10', 'ai.onnx:Scatter@11'];

const own = [
  ...FAMILIES.flatMap((f) =>
    f.ops.flatMap((op) => versionsOf(f, op).map((v) => `${op.includes(':') ? op : `ai.onnx:${op}`}@${v}`)),
  ),
  ...ONNX_OPERATORS.filter((o) => o.domain === 'ai.onnx' && CONTROL.includes(o.name)).flatMap((o) =>
    o.versions.map((v) => `ai.onnx:${o.name}@${v.version}`),
  ),
  ...DEPRECATED,
];

const conformance = sharedData('conformance/onnx');
const models = sharedData('models/onnx');

it.skipIf(!conformance || !models)('every published version of every operator is in a test', () => {
  const folders = [...SUITES.map((s) => `${conformance}/${s}`), models as string];
  const visible = new Set(folders.flatMap(findModels).flatMap((file) => operatorsUsed(openModel(file).model)));
  const all = ONNX_OPERATORS.flatMap((o) => o.versions.map((v) => `${o.domain}:${o.name}@${v.version}`));
  const untouched = all.filter((pair) => !visible.has(pair));
  const left = untouched.filter((pair) => !own.includes(pair));
  console.info(`${all.length} versions; ${untouched.length} in no visible suite; ${left.length} in no test at all`);
  expect(left).toEqual([]);
});
