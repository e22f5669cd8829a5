// WebAssembly runs the shared programs bit for bit as the interpreter does; every module validates in an independent
// reader with SIMD as its only extension.

import { describe, expect, it } from 'vitest';
import { createInterpreter } from '../../src/backends/interp/interpreter.js';
import { instantiateWasm } from '../../src/backends/wasm/load.js';
import { emitWasm, type WasmOptions } from '../../src/backends/wasm/program.js';
import type { Program } from '../../src/ir/program.js';
import { tensor } from './program-builder.js';
import { PROGRAMS } from './programs.js';
import { validate } from './wasm-validate.js';

const find = (name: string): Program => PROGRAMS.find((p) => p.name === name)!.program;

describe('wasm', () => {
  for (const { name, program, calls } of PROGRAMS) {
    it(`runs ${name} as the interpreter does`, async () => {
      await validate(program, { names: true });
      const session = await instantiateWasm(program);
      const oracle = createInterpreter(program);
      for (const call of calls) {
        const outputs = await session.run(call.inputs, call.entry);
        expect(outputs).toEqual(oracle.runSync(call.inputs, call.entry));
        if (call.outputs) expect(outputs).toEqual(call.outputs);
      }
    });
  }

  it('keeps the state of two sessions apart and puts it back on reset', async () => {
    const program = find('state that outlives a call, and two entries');
    const [a, b] = [await instantiateWasm(program), await instantiateWasm(program)];
    const x = tensor('f32', [2], [1, 2]);
    await a.run({ x }, 'step');
    expect((await b.run({}, 'peek')).memory).toEqual(tensor('f32', [2], [10, 20]));
    expect((await a.run({}, 'peek')).memory).toEqual(tensor('f32', [2], [11, 22]));
    await a.reset();
    expect((await a.run({}, 'peek')).memory).toEqual(tensor('f32', [2], [10, 20]));
  });

  it('names the input and axis that do not fit', async () => {
    const session = await instantiateWasm(find('elementwise with a dynamic length'));
    await expect(session.run({ x: tensor('f32', [65], []) })).rejects.toThrow(/E402 .*"x", axis 0: .* got 65/);
  });

  it('imports nothing but memory, and not even that when it owns it', async () => {
    const program = find('reduction with inline weights');
    const imports = async (o: WasmOptions) =>
      WebAssembly.Module.imports(await WebAssembly.compile(emitWasm(program, o).module.slice()));
    expect(await imports({})).toEqual([{ module: 'env', name: 'memory', kind: 'memory' }]);
    expect(await imports({ memory: 'own' })).toEqual([]);
    await validate(program, { memory: 'own' });
  });

  it('puts small weights into the module and leaves large ones to a file', () => {
    const program = find('reduction with a weight file');
    expect(emitWasm(program).inline).toBe(true);
    const [inline, file] = [emitWasm(program), emitWasm(program, { weights: 'file' })];
    expect(inline.module.length - file.module.length).toBeGreaterThan(8 * 2500 * 4);
    expect(inline.layout).toEqual(file.layout);
  });
});
