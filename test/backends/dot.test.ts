// Integer contractions by dot products of narrow lanes: every form of operand and size gives what the interpreter gives,
// in WebAssembly and in C for each way the compiler's flags choose. Sums are exact, so results are equal to the bit.

import { afterAll, describe, expect, it } from 'vitest';
import { createInterpreter } from '../../src/backends/interp/interpreter.js';
import { buildC } from '../../src/backends/c/load-node.js';
import { instantiateWasm } from '../../src/backends/wasm/load.js';
import { type CompileOptions, lowerToProgram } from '../../src/compile.js';
import { visitKernelExprs } from '../../src/ir/kernel-walk.js';
import { parseModule } from '../../src/ir/parse.js';
import type { Program } from '../../src/ir/program.js';
import type { Session } from '../../src/runtime/session.js';
import type { Tensor, TypedArray } from '../../src/support/tensor.js';

interface Case {
  readonly name: string;
  readonly text: string;
  /** The size of an open axis. */
  readonly rows?: number;
}

const product = (
  name: string,
  [m, k, n]: readonly [number, number, number],
  a: string,
  b: string,
  term: string,
  isConstant = true,
): Case => ({
  name: `${name} ${m}×${k}×${n}${isConstant ? '' : ', two inputs'}`,
  text: `module "${name}" {
  entry "run" ("a": %0 ${a}[${m}, ${k}]${isConstant ? '' : `, "b": %1 ${b}[${k}, ${n}]`}) {
    ${isConstant ? `%1 "b" = const ${b}[${k}, ${n}] random(3)` : ''}
    %2 "z" = const ${b}[${n}] random(4)
    %3 "y" = generic %0, %1, %2 : i32[${m}, ${n}] reduce add [${k}] = ${term} @ MatMulInteger "y" 0
    return "y": %3
  }
}
`,
});

const SIZES = [
  [7, 19, 24],
  [1, 33, 21],
  [4, 64, 16],
  [13, 8, 5],
  [70, 22, 21],
  [1, 150, 12],
  [1, 10, 150],
  [9, 300, 12], // a few rows, columns a stretch at a time
] as const;

const FORMS: readonly (readonly [string, string, string, string])[] = [
  ['signed', 'i8', 'i8', 'i32($0[i0, r0]) * i32($1[r0, i1])'],
  ['row zero point', 'u8', 'i8', '(i32($0[i0, r0]) - 131) * i32($1[r0, i1])'],
  ['both zero points', 'u8', 'u8', '(i32($0[i0, r0]) - 131) * (i32($1[r0, i1]) - 7)'],
  ['zero points by column', 'i8', 'u8', '(i32($0[i0, r0]) - -5) * (i32($1[r0, i1]) - i32($2[i1]))'],
  ['sixteen bits', 'i16', 'i16', 'i32($0[i0, r0]) * i32($1[r0, i1])'],
  ['products', 'i8', 'i8', 'i32($0[i0, r0]) * (i32($1[r0, i1]) * -250 + 5)'],
];

const CONVOLUTION: Case = {
  name: 'a padded convolution that ends in bytes',
  text: `module "conv" {
  entry "run" ("x": %0 i8[1, 9, 7, 3]) {
    %1 "w" = const i8[3, 3, 3, 20] random(5)
    %2 "b" = const i32[20] [1, 20, -300, 4000, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, -20000]
    %3 "q" = const i32[20] [1000000000, 2000000000, -1000000000, 4, 5, 6, 7, 8, 9, 10, 11, 1200000000, 13, 14, 15, 16, 17, 18, 19, 1900000000]
    %4 "y" = generic %0, %1, %2, %3 : i8[1, 9, 7, 20] reduce add [3, 3, 3] = i32($0[0, i1 + r0 - 1, i2 + r1 - 1, r2 else -3]) * i32($1[r0, r1, r2, i3]) then i8(min(max(mulhi_s(acc + $2[i3], $3[i3]) + 2, -128), 127)) @ CONV_2D "y" 0
    return "y": %4
  }
}
`,
};

/** Columns packed when the program runs: whole tiles and parts of one, pairs of the reduction and one left over, and columns that are sums themselves. */
const RUN_TIME: readonly Case[] = (
  [
    [37, 30, 18],
    [21, 30, 32],
    [21, 31, 32],
    [16, 64, 24],
  ] as const
).flatMap((size) => [
  product('row zero point', size, 'u8', 'i8', '(i32($0[i0, r0]) - 99) * i32($1[r0, i1])', false),
  product('both zero points', size, 'u8', 'u8', '(i32($0[i0, r0]) - 99) * (i32($1[r0, i1]) - 7)', false),
  product(
    'products',
    size,
    'i8',
    'i8',
    '(i32($0[i0, r0]) * 3 - i32($0[i0, r0])) * (i32($1[r0, i1]) * -250 + 5)',
    false,
  ),
]);

/** Seven products for eight: tiles and pairs that fit, rows that the last tile does again, halves no vector divides, columns left over. */
const SEVEN_PRODUCTS: readonly Case[] = (
  [
    [24, 128, 400],
    [32, 164, 312],
    [103, 196, 203],
  ] as const
).flatMap((size) => [
  product('row zero point', size, 'u8', 'i8', '(i32($0[i0, r0]) - 131) * i32($1[r0, i1])'),
  product('zero points by column', size, 'i8', 'u8', '(i32($0[i0, r0]) - -5) * (i32($1[r0, i1]) - i32($2[i1]))'),
  product('both zero points', size, 'u8', 'u8', '(i32($0[i0, r0]) - 99) * (i32($1[r0, i1]) - 7)', false),
]);

/** An epilogue, several loops along the reduction and columns of their own for each of two groups. */
const SEVEN: readonly Case[] = [
  ...SEVEN_PRODUCTS,
  {
    name: 'a convolution that ends in bytes, seven for eight',
    text: `module "conv" {
  entry "run" ("x": %0 i8[1, 3, 32, 32]) {
    %1 "w" = const i8[3, 3, 32, 168] random(5)
    %2 "b" = const i16[168] random(6)
    %4 "y" = generic %0, %1, %2 : i8[1, 3, 32, 168] reduce add [3, 3, 32] = i32($0[0, i1 + r0 - 1, i2 + r1 - 1, r2 else -3]) * i32($1[r0, r1, r2, i3]) then i8(min(max(mulhi_s(acc + i32($2[i3]), 50000000) + 2, -128), 127)) @ CONV_2D "y" 0
    return "y": %4
  }
}
`,
  },
  {
    name: 'columns of each batch, seven for eight',
    text: `module "batch" {
  entry "run" ("a": %0 u8[2, 24, 128]) {
    %1 "b" = const i8[2, 128, 400] random(3)
    %2 "y" = generic %0, %1 : i32[2, 24, 400] reduce add [128] = (i32($0[i0, i1, r0]) - 128) * i32($1[i0, r0, i2]) @ MatMulInteger "y" 0
    return "y": %2
  }
}
`,
  },
];

/** Those that take eight: sums too large for 16 bits, a short reduction, and one that four does not divide. */
const EIGHT: readonly Case[] = [
  product('sixteen bits', [24, 128, 400], 'i16', 'i8', 'i32($0[i0, r0]) * i32($1[r0, i1])'),
  product('short', [24, 64, 400], 'u8', 'i8', '(i32($0[i0, r0]) - 131) * i32($1[r0, i1])'),
  product('odd', [24, 130, 400], 'u8', 'i8', '(i32($0[i0, r0]) - 131) * i32($1[r0, i1])'),
];

/** A number of rows known only at run time: fewer than a tile, than a block of tiles, and more. */
const openRows = (m: number): Case => ({
  name: `${m} of up to 300 rows`,
  text: `module "open" {
  sym m : 1 .. 300
  entry "run" ("a": %0 u8[m, 40]) {
    %1 "b" = const u8[40, 18] random(3)
    %2 "y" = generic %0, %1 : i32[m, 18] reduce add [40] = (i32($0[i0, r0]) - 99) * (i32($1[r0, i1]) - 7) @ MatMulInteger "y" 0
    return "y": %2
  }
}
`,
  rows: m,
});

/** Bytes made while the program runs, of which two sums take a zero point away; in the second case one reads beyond the borders. */
const MADE_BYTES: readonly Case[] = [
  {
    name: 'bytes that are made, less a number',
    text: `module "made" {
  entry "run" ("a": %0 i16[9, 40], "z": %1 u8[1]) {
    %2 = const i8[40, 18] random(3)
    %3 = const i8[40, 18] random(4)
    %4 = generic %0, %1 : i32[9, 40] = min(max(i32($0[i0, i1]), 0), 255) - i32($1[0])
    %5 = generic %4, %2 : i32[9, 18] reduce add [40] = $0[i0, r0] * i32($1[r0, i1]) @ MatMulInteger "a" 0
    %6 "y" = generic %4, %3, %5 : i32[9, 18] reduce add [40] = $0[i0, r0] * i32($1[r0, i1]) then acc + $2[i0, i1] * 3 @ MatMulInteger "b" 1
    return "y": %6
  }
}
`,
  },
  {
    name: 'bytes that are made, less a number, with a border',
    text: `module "made" {
  entry "run" ("a": %0 i16[9, 40], "z": %1 u8[1]) {
    %2 = const i8[40, 18] random(3)
    %3 = const i8[40, 18] random(4)
    %4 = generic %0, %1 : i32[9, 40] = min(max(i32($0[i0, i1]), 0), 255) - i32($1[0])
    %5 = generic %4, %2 : i32[9, 18] reduce add [40] = $0[i0 - 1, r0 else 0] * i32($1[r0, i1]) @ MatMulInteger "a" 0
    %6 "y" = generic %4, %3, %5 : i32[9, 18] reduce add [40] = $0[i0, r0] * i32($1[r0, i1]) then acc + $2[i0, i1] * 3 @ MatMulInteger "b" 1
    return "y": %6
  }
}
`,
  },
];

const CASES: readonly Case[] = [
  ...MADE_BYTES,
  ...[3, 4, 61, 64, 150].map(openRows),
  ...FORMS.flatMap(([name, a, b, term]) => SIZES.map((size) => product(name, size, a, b, term))),
  CONVOLUTION,
  ...RUN_TIME,
];

/** Where only WebAssembly has another schedule. */
const WIDE: readonly Case[] = [...SEVEN, ...EIGHT];

const sessions: Session[] = [];
afterAll(async () => {
  for (const s of sessions) await s.close();
});

const MAKERS = { i8: Int8Array, u8: Uint8Array, i16: Int16Array } as const;

function inputsFor(p: Program, rows = 0): Record<string, Tensor> {
  let state = 11;
  const next = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 8;
  };
  const values = (p.entries[0]?.inputs ?? []).map((v) => {
    const shape = v.shape.map((d) => (typeof d === 'number' ? d : rows));
    const data: TypedArray = MAKERS[v.dtype as 'i8'].from({ length: shape.reduce((a, b) => a * b, 1) }, next);
    return [v.name, { dtype: v.dtype, shape, data } as Tensor] as const;
  });
  return Object.fromEntries(values);
}

const compile = (text: string, options: CompileOptions): Program => lowerToProgram(parseModule(text), options);

/** Dot products written out in all kernels. */
const countDots = (p: Program): number => {
  let found = 0;
  for (const k of p.kernels)
    visitKernelExprs(k.body, (e) => {
      if (e.k === 'vec' && e.op === 'dot') found++;
    });
  return found;
};

const expected = new Map(
  [...CASES, ...WIDE].map(({ name, text, rows }) => {
    const p = compile(text, {});
    return [name, createInterpreter(p).runSync(inputsFor(p, rows)).y] as const;
  }),
);

describe('dot products of narrow lanes', () => {
  it('in WebAssembly', async () => {
    for (const { name, text, rows } of [...CASES, ...WIDE]) {
      const p = compile(text, { target: 'wasm' });
      expect(countDots(p), name).toBeGreaterThan(0);
      const session = await instantiateWasm(p);
      sessions.push(session);
      expect((await session.run(inputsFor(p, rows))).y, name).toEqual(expected.get(name));
    }
  });

  it('in WebAssembly are seven for eight where that pays and sums fit', () => {
    const dots = ({ text }: Case): number => countDots(compile(text, { target: 'wasm' }));
    for (const c of SEVEN) expect(dots(c), c.name).toBeGreaterThanOrEqual(7 * 8);
    for (const c of EIGHT) expect(dots(c), c.name).toBeLessThan(7 * 8);
  });

  it('in WebAssembly are exact for the ends of the ranges, seven for eight', async () => {
    const [m, k, n] = [24, 256, 136] as const;
    const forms = [
      ['u8', 'i8', 128, 0],
      ['u8', 'u8', 255, 255],
      ['i8', 'i8', 127, -128],
      ['u8', 'i8', 0, 127],
    ] as const;
    const ends = { u8: [0, 255], i8: [-128, 127] } as const;
    const patterns: Record<string, (i: number, width: number) => number> = {
      lowest: () => 0,
      highest: () => 1,
      halves: (i, width) => Number(i % width < width / 2),
      lines: (i, width) => Math.floor(i / width) % 2,
      mixed: (i) => (Math.imul(i + 1, 2654435761) >>> 17) % 2,
    };
    const fill = (
      dtype: 'u8' | 'i8',
      rows: number,
      width: number,
      at: (i: number, width: number) => number,
    ): Tensor => {
      const values = Array.from({ length: rows * width }, (_, i) => ends[dtype][at(i, width)] as number);
      return { dtype, shape: [rows, width], data: MAKERS[dtype].from(values) };
    };
    for (const [a, b, za, zb] of forms) {
      const term = `(i32($0[i0, r0]) - ${za}) * (i32($1[r0, i1]) - ${zb})`;
      const p = compile(product('ends', [m, k, n], a, b, term, false).text, { target: 'wasm' });
      expect(countDots(p)).toBeGreaterThanOrEqual(7 * 8);
      const session = await instantiateWasm(p);
      sessions.push(session);
      for (const [x, atX] of Object.entries(patterns))
        for (const [y, atY] of Object.entries(patterns)) {
          const inputs = { a: fill(a, m, k, atX), b: fill(b, k, n, atY) };
          const [rows, columns] = [inputs.a.data as Int8Array, inputs.b.data as Int8Array];
          const data = Int32Array.from({ length: m * n }, (_, i) => {
            const [row, column] = [Math.floor(i / n), i % n];
            let sum = 0;
            for (let d = 0; d < k; d++)
              sum += ((rows[row * k + d] as number) - za) * ((columns[d * n + column] as number) - zb);
            return sum;
          });
          expect((await session.run(inputs)).y?.data, `${term}: ${x} by ${y}`).toEqual(data);
        }
    }
  });

  it('read bytes where quads of them are best, and two bytes otherwise', () => {
    const [made, bordered] = MADE_BYTES.map(
      ({ text }) =>
        (options: CompileOptions) =>
          compile(text, options).buffers.flatMap((b) =>
            b.elements === 360 && b.place.kind === 'arena' ? [b.dtype] : [],
          ),
    );
    expect(made?.({ target: 'c' })).toEqual(['u8']);
    expect(made?.({ target: 'wasm' })).toEqual(['i16']);
    expect(bordered?.({ target: 'c' })).toEqual(['i16']);
  });

  const builds = [
    ['generic', []],
    ['generic', ['-march=native']],
    ['avx512', ['-march=native']],
    ['avx2', ['-mavx2']],
    ['avx512', []],
    ['generic', ['-DHEDDLE_SIMD=0']],
    ['avx512', ['-DHEDDLE_PLAIN_C', '-fsanitize=undefined', '-fno-sanitize-recover=all']],
  ] as const;
  for (const [cpu, cflags] of builds)
    it(`in C for ${cpu} ${cflags.join(' ')}`, async () => {
      const programs = CASES.map(({ text }, i) => ({ name: `m${i}`, program: compile(text, { target: 'c', cpu }) }));
      const built = await buildC(programs, { cflags: ['-O1', ...cflags] });
      for (const [i, { name, rows }] of CASES.entries()) {
        const { program } = programs[i] as (typeof programs)[number];
        const session = built.get(`m${i}`) as Session;
        sessions.push(session);
        expect((await session.run(inputsFor(program, rows))).y, name).toEqual(expected.get(name));
      }
    }, 120_000);
});
