// The C that is written compiles cleanly, needs nothing, stays inside the memory it states, and computes what the interpreter
// computes: with sanitizers, with every optimisation, and as plain C without GCC's extensions.

import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { emitC, type EmitCOptions } from '../../src/backends/c/emit.js';
import { buildC, type CSession } from '../../src/backends/c/load-node.js';
import { findAliasing } from '../../src/ir/overlap.js';
import { createInterpreter } from '../../src/backends/interp/interpreter.js';
import { type Dim, symDim } from '../../src/ir/dim.js';
import type { HostCall, Program } from '../../src/ir/program.js';
import { cast, constant, i32, load, rawOp } from '../../src/ir/scalar.js';
import { CompileError } from '../../src/support/errors.js';
import type { Tensor } from '../../src/support/tensor.js';
import { buildProgram, type Handle, iv, loop, store, tensor } from './program-builder.js';
import { PROGRAMS, type ProgramCase } from './programs.js';

const dir = mkdtempSync(join(tmpdir(), 'heddle-test-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const CLEAN = ['-std=c99', '-pedantic', '-Wall', '-Wextra', '-Wconversion', '-Werror'];
const find = (name: string): ProgramCase => PROGRAMS.find((p) => p.name === name)!;

function write(name: string, program: Program, options: EmitCOptions = {}): string {
  const to = join(dir, name);
  mkdirSync(to, { recursive: true });
  for (const [file, content] of Object.entries(emitC(program, options))) writeFileSync(join(to, file), content);
  return to;
}

const gcc = (cwd: string, ...args: string[]): string =>
  execFileSync('gcc', args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

async function expectAgreement(cflags: readonly string[]): Promise<void> {
  const sessions = await buildC(PROGRAMS, { cflags });
  for (const { name, program, calls } of PROGRAMS) {
    const reference = createInterpreter(program);
    const session = sessions.get(name)!;
    for (const { inputs, entry, outputs } of calls) {
      const expected = outputs ?? reference.runSync(inputs, entry);
      const got = await session.run(inputs, entry);
      for (const [key, value] of Object.entries(expected)) expect(got[key], `${name}, ${key}`).toEqual(value);
    }
    await session.close();
  }
}

describe('C agrees with the interpreter', () => {
  it('under address and undefined behaviour sanitizers', () =>
    expectAgreement(['-O1', '-g', '-fsanitize=address,undefined', '-fno-sanitize-recover=all']));
  it('fully optimised for this machine', () => expectAgreement(['-O3', '-march=native']));
  it('without optimisation, for the oldest machine', () => expectAgreement(['-O0']));
  it('as plain C, without compiler extensions', () => expectAgreement(['-O1', '-DHEDDLE_PLAIN_C']));
});

describe('emitted C', () => {
  it('has no warnings', () => {
    const files = PROGRAMS.map(({ program }, i) =>
      join(write(`clean${i}`, program, { prefix: `m${i}`, main: true }), `m${i}.c`),
    );
    for (const extra of [[], ['-DHEDDLE_PLAIN_C']]) gcc(dir, ...CLEAN, '-O2', ...extra, '-c', ...files);
    gcc(dir, ...CLEAN, '-O2', '-c', join(dir, 'clean0', 'main.c'), '-o', 'main.o');
  });

  it('needs nothing from any library', () => {
    for (const { program } of PROGRAMS) {
      const at = write('free', program, { prefix: 'm', weights: 'inline' });
      gcc(at, '-std=c99', '-O0', '-ffreestanding', '-c', 'm.c');
      expect(execFileSync('nm', ['-u', 'm.o'], { cwd: at, encoding: 'utf8' })).toBe('');
      expect(readFileSync(join(at, 'm.c'), 'utf8').match(/#include .*/g)).toEqual([
        '#include <stddef.h>',
        '#include "m.h"',
      ]);
      expect(execFileSync('size', ['-A', 'm.o'], { cwd: at, encoding: 'utf8' })).toMatch(/\.data +0 [\s\S]*\.bss +0 /);
    }
  });

  it('is the same every time', () => {
    for (const { program } of PROGRAMS) expect(emitC(program)).toEqual(emitC(program));
  });

  it('names its symbols, sizes and shapes in the header', () => {
    const header = emitC(find('awkward names, shared nodes, local storage, break, atomic').program)[
      'model_v1_0.h'
    ] as string;
    expect(header).toContain('const float *while_0; /* while:0: f32[4] */');
    expect(header).toContain('int32_t *int_2; /* int: i32[1]; room for MODEL_V1_0_RUN_INT_2_ELEMENTS elements */');
    expect(emitC(find('elementwise with a dynamic length').program, { prefix: 'scale' })['scale.h']).toContain(
      'int32_t n; /* 0 <= n <= 64 */',
    );
  });

  it('names shared nodes once', () => {
    const source = emitC(find('awkward names, shared nodes, local storage, break, atomic').program)[
      'model_v1_0.c'
    ] as string;
    expect(source.length).toBeLessThan(4000);
  });

  it('calls a function of the user for host steps, if asked to', async () => {
    const n = { name: 'n', lo: 1, hi: 4 };
    const program = buildProgram('calls', (b) => {
      const x = b.input('x', 'f32', [symDim(n)]);
      const y = b.output('y', 'f32', [symDim(n)]);
      const total = b.output('total', 'i64', []);
      const arg = (h: Handle, shape: readonly Dim[]) => ({ ref: { buffer: h.id, offset: 0 }, dtype: h.dtype, shape });
      const call: HostCall = ([t]) => {
        const values = Array.from((t as Tensor).data as Float32Array);
        if (values.includes(-1)) throw new CompileError('E402', 'no such number');
        return [
          { dtype: 'f32', shape: t?.shape ?? [], data: Float32Array.from(values, (v) => v * 10) },
          { dtype: 'i64', shape: [], data: BigInt64Array.of(BigInt(values.length)) },
        ];
      };
      const outputs = [arg(y, [symDim(n)]), arg(total, [])];
      b.steps({ kind: 'host', op: 'Tenfold', call, inputs: [arg(x, [symDim(n)])], outputs, origins: [] });
    });
    expect(emitC(program, { extern: true })['calls.h']).toContain('0: Tenfold(f32[n]) -> f32[n], i64[]');
    const session = (await buildC([{ name: 'calls', program }])).get('calls') as CSession;
    const vector = (...x: number[]) => ({ dtype: 'f32', shape: [x.length], data: Float32Array.from(x) });
    const out = await session.run({ x: vector(1, 2, 3) });
    expect(out.y).toEqual(vector(10, 20, 30));
    expect(out.total?.data).toEqual(BigInt64Array.of(3n));
    await expect(session.run({ x: vector(-1) })).rejects.toThrow(/no such number/);
    expect((await session.run({ x: vector(4) })).y).toEqual(vector(40));
    await session.close();
  });

  it('refuses host steps, all at once', () => {
    const host = (node: string) => ({
      kind: 'host' as const,
      op: 'StringNormalizer',
      call: () => [],
      inputs: [],
      outputs: [],
      origins: [{ op: 'StringNormalizer', node, index: 1, path: [] }],
    });
    const program = buildProgram('host', (b) => b.steps(host('first'), host('second')));
    expect(() => emitC(program)).toThrow(/E301 StringNormalizer: .*"first".*\n.*"second"/);
  });

  it('keeps restrict from parameters that share memory', () => {
    const program = buildProgram('in place', (b) => {
      const x = b.input('x', 'f32', [4]);
      const a = b.arena('a', 'f32', 4);
      const overlay = b.arena('overlay', 'i32', 4, 0);
      const y = b.output('y', 'i32', [4]);
      const copy = [loop('i', 4, store(1, iv('i'), load(0, [iv('i')], 'f32')))];
      b.steps(
        b.kernel(
          'copy',
          [
            [x, 'read'],
            [a, 'write'],
          ],
          copy,
        ),
        b.kernel(
          'convert',
          [
            [a, 'read'],
            [overlay, 'write'],
          ],
          [loop('i', 4, store(1, iv('i'), cast(load(0, [iv('i')], 'f32'), 'i32')))],
        ),
        b.kernel(
          'out',
          [
            [overlay, 'read'],
            [y, 'write'],
          ],
          [loop('i', 4, store(1, iv('i'), load(0, [iv('i')], 'i32')))],
        ),
      );
    });
    expect(findAliasing(program).map((k) => k.map((p) => p.restrict))).toEqual([
      [true, true],
      [false, false],
      [true, true],
    ]);
    expect(findAliasing(program)[1]![0]!.mixedTypes).toBe(true);
    gcc(write('inplace', program, { prefix: 'm' }), ...CLEAN, '-O2', '-c', 'm.c');
  });
});

/** Runs an entry in a block of memory with marked surroundings, and reports the bytes of arena and state that changed. */
const CANARY = `#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "m.h"
#define MARGIN 256
static unsigned char block[2][MARGIN + 65536 + MARGIN] __attribute__((aligned(16)));
static void report(int k, size_t size) {
  size_t first = size, last = 0;
  for (size_t i = 0; i < sizeof block[k]; ++i) {
    if (block[k][i] == 0xa5) continue;
    if (i < MARGIN || i >= MARGIN + size) { printf("outside at %ld\\n", (long)i - MARGIN); exit(1); }
    if (i - MARGIN < first) first = i - MARGIN;
    last = i - MARGIN + 1;
  }
  printf("%zu %zu\\n", first, last);
}
int main(void) {
  float x[8] = {1.5f, 2, 3, 4, 5, 6, 7, 8}, y[8];
  m_run_inputs in = {x, 4};
  m_run_outputs out = {y, {0}};
  memset(block, 0xa5, sizeof block);
  if (m_run(&in, &out, block[0] + MARGIN + 1, block[1] + MARGIN) != M_BAD_POINTER) return 2;
  in.n = 9;
  if (m_run(&in, &out, block[0] + MARGIN, block[1] + MARGIN) != M_BAD_SIZE) return 3;
  in.n = 8;
  m_reset(block[1] + MARGIN);
  if (m_run(&in, &out, block[0] + MARGIN, block[1] + MARGIN) != M_OK || out.y_shape[0] != 8) return 4;
  report(0, M_ARENA_BYTES);
  report(1, M_STATE_BYTES);
  return 0;
}
`;

describe('memory', () => {
  it('touched is exactly what the header states', () => {
    const n = { name: 'n', lo: 0, hi: 8 };
    const program = buildProgram('canary', (b) => {
      const x = b.input('x', 'f32', [symDim(n)]);
      const y = b.output('y', 'f32', [symDim(n)]);
      const a = b.arena('a', 'f32', 8);
      const c = b.arena('c', 'i8', 5);
      const s = b.state('s', tensor('f32', [9], [1, 2, 3, 4, 5, 6, 7, 8, 9]));
      const copy = [loop('i', iv('n'), store(1, iv('i'), load(0, [iv('i')], 'f32')))];
      b.steps(
        b.kernel('fill', [[c, 'write']], [loop('i', 5, store(0, iv('i'), i32(300)))]),
        b.kernel(
          'first',
          [
            [x, 'read'],
            [a, 'write'],
          ],
          copy,
          [n],
        ),
        b.kernel(
          'remember',
          [
            [a, 'read'],
            [s, 'readwrite'],
          ],
          [store(1, i32(8), rawOp('add', load(0, [i32(7)], 'f32'), constant(1, 'f32')))],
        ),
        b.kernel(
          'second',
          [
            [a, 'read'],
            [y, 'write'],
          ],
          copy,
          [n],
        ),
      );
    });
    const at = write('canary', program, { prefix: 'm' });
    writeFileSync(join(at, 'canary.c'), CANARY);
    gcc(at, '-std=c99', '-O2', '-o', 'canary', 'canary.c', 'm.c');
    const out = execFileSync(join(at, 'canary'), { encoding: 'utf8' });
    expect(program.arenaBytes).toBe(37);
    expect(out).toBe(`0 ${program.arenaBytes}\n0 ${program.stateBytes}\n`);
  });
});

describe('weights', () => {
  const { program, calls } = find('reduction with a weight file');
  it('become a file above the limit, and arrays below or on request', () => {
    expect(Object.keys(emitC(program, { prefix: 'w' })).sort()).toEqual([
      'CMakeLists.txt',
      'Makefile',
      'w.bin',
      'w.c',
      'w.h',
      'w_weights.S',
    ]);
    expect(Object.keys(emitC(program, { prefix: 'w', weights: 'inline' }))).not.toContain('w.bin');
    expect(Object.keys(emitC(find('i8 arithmetic with a fixed-point scale').program))).not.toContain('quantised.bin');
  });

  it('can be passed by pointer', () => {
    const at = write('pointer', program, { prefix: 'w' });
    gcc(at, ...CLEAN, '-O2', '-DW_EXTERNAL_WEIGHTS', '-c', 'w.c');
    expect(execFileSync('nm', ['-u', 'w.o'], { cwd: at, encoding: 'utf8' })).not.toContain('w_weights');
  });

  it('reach the program that make builds, which reads and writes .npy files', () => {
    const at = write('npy', program, { prefix: 'w', main: true });
    const header = `${"{'descr': '<f4', 'fortran_order': False, 'shape': (4, 8), }".padEnd(117)}\n`;
    const x = calls[0]!.inputs.x as Tensor;
    const bytes = Buffer.from((x.data as Float32Array).buffer);
    writeFileSync(
      join(at, 'x.npy'),
      Buffer.concat([Buffer.from('\x93NUMPY\x01\x00', 'latin1'), Buffer.from([118, 0]), Buffer.from(header), bytes]),
    );
    execFileSync('make', ['CFLAGS=-O1'], { cwd: at, stdio: 'pipe' });
    execFileSync(join(at, 'w'), ['x=x.npy'], { cwd: at });
    const npy = readFileSync(join(at, 'y.npy'));
    const start = 10 + npy.readUInt16LE(8);
    expect(npy.toString('latin1', 10, start)).toContain("'shape': (4, 2500), ");
    expect(new Float32Array(npy.buffer.slice(npy.byteOffset + start, npy.byteOffset + npy.length))).toEqual(
      calls[0]!.outputs!.y!.data,
    );
  });
});

describe('the server', () => {
  const forever = buildProgram('forever', (b) => {
    const x = b.input('x', 'i32', [1]);
    b.output('y', 'i32', [1]);
    b.steps({ kind: 'while', test: [], cond: { buffer: x.id, offset: 0 }, body: [] });
  });
  const crash = buildProgram('crash', (b) => {
    const x = b.input('x', 'i32', [1]);
    const y = b.output('y', 'i32', [1]);
    b.steps(
      b.kernel(
        'wild',
        [
          [x, 'read'],
          [y, 'write'],
        ],
        [store(1, load(0, [i32(0)], 'i32'), i32(1))],
      ),
    );
  });
  const good = find('guarded loads at the edges');
  const x = (v: number) => ({ x: tensor('i32', [1], [v]) });

  it('survives a model that crashes and one that never ends', async () => {
    const sessions = await buildC(
      [
        { name: 'crash', program: crash },
        { name: 'forever', program: forever },
        { name: 'good', program: good.program },
      ],
      { timeoutMs: 1000, cflags: ['-O1'], jobs: 2 },
    );
    const get = (name: string) => sessions.get(name)!;
    await expect(get('crash').run(x(2 ** 31 - 1))).rejects.toThrow(/"crash" failed in C: the program crashed: SIG/);
    await expect(get('crash').run(x(0))).rejects.toThrow(/crashed/);
    expect(await get('good').run(good.calls[0]!.inputs)).toEqual(good.calls[0]!.outputs);
    await expect(get('forever').run(x(1))).rejects.toThrow(/"forever" failed in C: no reply within 1000 ms/);
    expect(await get('good').run(good.calls[1]!.inputs)).toEqual(good.calls[1]!.outputs);
    await expect(get('good').run({})).rejects.toThrow(/E402 input "x" is missing/);
    for (const s of sessions.values()) await s.close();
  });

  it('puts state back on reset', async () => {
    const { program } = find('state that outlives a call, and two entries');
    const session = (await buildC([{ name: 'one', program }], { cflags: ['-O1'] })).get('one')!;
    await session.run({ x: tensor('f32', [2], [1, 2]) }, 'step');
    expect((await session.run({}, 'peek')).memory!.data).toEqual(Float32Array.of(11, 22));
    await session.reset();
    expect((await session.run({}, 'peek')).memory!.data).toEqual(Float32Array.of(10, 20));
    await session.close();
  });

  it('serves the others where one program has no C', async () => {
    const host = buildProgram('host', (b) => {
      const text = b.output('text', 'string', [1]);
      const outputs = [{ ref: { buffer: text.id, offset: 0 }, dtype: 'string' as const, shape: [1] }];
      b.steps({ kind: 'host', op: 'StringNormalizer', call: () => [], inputs: [], outputs, origins: [] });
    });
    const sessions = await buildC(
      [
        { name: 'host', program: host },
        { name: 'good', program: good.program },
      ],
      { cflags: ['-O1'] },
    );
    await expect(sessions.get('host')!.run({})).rejects.toThrow(/E301 StringNormalizer/);
    expect(await sessions.get('good')!.run(good.calls[0]!.inputs)).toEqual(good.calls[0]!.outputs);
    for (const s of sessions.values()) await s.close();
  });

  it('says so where there is no compiler', async () => {
    const before = process.env.CC;
    process.env.CC = 'no-such-compiler';
    try {
      await expect(buildC([{ name: 'x', program: good.program }])).rejects.toThrow(
        /E404 the C compiler "no-such-compiler"/,
      );
    } finally {
      if (before === undefined) delete process.env.CC;
      else process.env.CC = before;
    }
  });
});
