// No kernel whose only work is a reshape, a transpose, a cast or a bias, in the visible real models and in modules that ask
// for one, unless its result is needed in memory; the reasons there are is the list in idle-kernels.ts.

import { existsSync, readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { compileFor, prepareCase } from '../../src/cli/testing/run-case.js';
import { readCase } from '../../src/cli/testing/test-case.js';
import { lowerToProgram } from '../../src/compile.js';
import { parseModule } from '../../src/ir/parse.js';
import { findIdle } from './idle-kernels.js';

const MODELS = new URL('../../../shared/models/onnx/', import.meta.url);
const models = existsSync(MODELS)
  ? readdirSync(MODELS).filter((d) => existsSync(new URL(`${d}/model.onnx`, MODELS)))
  : [];
if (models.length === 0) process.stderr.write('SKIPPED: idle kernels of real models, as ../shared is not there\n');

describe('kernels that only move, cast or add a bias', () => {
  it.each(models)('are in %s for a reason', (name) => {
    const check = { rounding: 'double', numerics: 'fast', loose: false, tolerance: {}, strict: false } as const;
    const found = findIdle(
      compileFor(prepareCase(readCase(new URL(name, MODELS).pathname, 'double'), check, undefined), 'webgpu'),
    );
    expect(found.filter((x) => x.reason === null)).toEqual([]);
  });

  const idleOf = (body: string) =>
    findIdle(lowerToProgram(parseModule(`module "m" { entry "run" ${body} }`), { target: 'webgpu' }));

  it('are found where they are', () => {
    expect(idleOf(`("x": %0 f32[4, 6]) { %1 = view %0 : f32[6, 4] at [i1, i0] return "y": %1 }`)).toMatchObject([
      { work: 'move', reason: 'it is a result of the model' },
    ]);
    expect(idleOf(`("x": %0 f32[4, 6]) { %1 = cast %0 : i32[4, 6] return "y": %1 }`)).toMatchObject([{ work: 'cast' }]);
    expect(
      idleOf(`("x": %0 f32[4, 6], "b": %1 f32[6]) {
        %2 = generic %0, %1 : f32[4, 6] = $0[i0, i1] + $1[i1]
        return "y": %2
      }`),
    ).toMatchObject([{ work: 'bias' }]);
    expect(idleOf(`("x": %0 f32[4, 6]) { %1 = exp %0 : f32[4, 6] return "y": %1 }`)).toEqual([]);
  });

  it('are gone between two products', () => {
    const found = idleOf(`("x": %0 f32[160, 160], "w": %1 f32[160, 160], "b": %2 f32[160]) {
      %3 = einsum "ac,cb->ab" %0, %1 : f32[160, 160]
      %4 = generic %3, %2 : f32[160, 160] = $0[i0, i1] + $1[i1]
      %5 = view %4 : f32[160, 160] at [i1, i0]
      %6 = reshape %5 : f32[160, 4, 40]
      %7 = cast %6 : i32[160, 4, 40]
      %8 = cast %7 : f32[160, 4, 40]
      %9 = generic %8, %1 : f32[160, 160] reduce add [4, 40] = $0[i0, r0, r1] * $1[r0 * 40 + r1, i1]
      return "y": %9
    }`);
    expect(found).toEqual([]);
  });
});
