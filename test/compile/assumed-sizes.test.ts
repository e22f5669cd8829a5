// Sizes that only data know: bounds are assumed, made tighter by what the file declares, and checked on every target.

import { afterAll, describe, expect, it } from 'vitest';
import { checkedSymbols } from '../../src/backends/entry-spec.js';
import { openSession } from '../../src/cli/targets.js';
import { importSource, lowerToProgram, type Target } from '../../src/compile.js';
import type { SourceGraph } from '../../src/frontend/source.js';
import { parseModule } from '../../src/ir/parse.js';
import { printModule } from '../../src/ir/print.js';
import type { Session } from '../../src/runtime/session.js';
import { f32, i64 } from '../ops/node-case.js';
import { graph, model } from '../ops/graph-case.js';

/** A matrix of ones in a shape given as data, times two. */
const ones = graph(
  [['shape', 'i64', [2]]],
  ['y'],
  [
    ['ConstantOfShape', ['shape'], ['zeros']],
    ['Add', ['zeros', 'two'], ['y']],
  ],
  { two: f32([], 2) },
);

/** The same where the file says how large the result is. */
const declared: SourceGraph = {
  ...ones,
  outputs: [{ name: 'y', type: { kind: 'tensor', dtype: 'f32', shape: [3, 5] } }],
};

const sessions: Session[] = [];
afterAll(() => Promise.all(sessions.map((s) => s.close())));

async function open(target: Target, main: SourceGraph): Promise<Session> {
  const session = await openSession(target, lowerToProgram(importSource(model(main)), { target }));
  sessions.push(session);
  return session;
}

describe('sizes decided by data', () => {
  it('take the bounds that the shapes of the file imply', () => {
    const symbols = (main: SourceGraph) => checkedSymbols(lowerToProgram(importSource(model(main))));
    expect(symbols(ones).map((s) => s.hi)).toEqual([1024, 1024]);
    expect(symbols(declared).map((s) => s.hi)).toEqual([3, 5]);
  });

  it('print and parse', () => {
    const text = printModule(importSource(model(declared)));
    expect(text).toMatch(/sym shape_0 : 0 \.\. 3 checked/);
    expect(printModule(parseModule(text))).toBe(text);
  });

  it.each(['interp', 'wasm', 'c'] as const)('are checked on %s', async (target) => {
    const session = await open(target, declared);
    const { y } = await session.run({ shape: i64([2], 2, 3) });
    expect(y).toMatchObject({ shape: [2, 3], data: Float32Array.of(2, 2, 2, 2, 2, 2) });
    const refused = target === 'c' ? /status 1/ : /size "shape_1" of 6, and the program is made for 0 to 5/;
    await expect(session.run({ shape: i64([2], 2, 6) })).rejects.toThrow(refused);
    await expect(session.run({ shape: i64([2], -1, 2) })).rejects.toThrow(target === 'c' ? /status 1/ : /of -1/);
  });

  const sized = (op: string, inputs: readonly string[], ports: Parameters<typeof graph>[0], attrs = {}): SourceGraph =>
    graph(ports, ['y'], [[op, inputs, ['y'], attrs]], { values: f32([2], 0, 1) });

  it.each(['interp', 'wasm', 'c'] as const)(
    'tell how often to repeat, how many classes, how large to resize on %s',
    async (target) => {
      const tiled = await open(
        target,
        sized(
          'Tile',
          ['x', 'times'],
          [
            ['x', 'f32', [1, 2]],
            ['times', 'i64', [2]],
          ],
        ),
      );
      const x = f32([1, 2], 1, 2);
      const out = await tiled.run({ x, times: i64([2], 2, 2) });
      expect(out.y).toMatchObject({ shape: [2, 4], data: Float32Array.of(1, 2, 1, 2, 1, 2, 1, 2) });

      const encoded = await open(
        target,
        sized(
          'OneHot',
          ['ids', 'depth', 'values'],
          [
            ['ids', 'i64', [2]],
            ['depth', 'i64', []],
          ],
        ),
      );
      const hot = await encoded.run({ ids: i64([2], 0, -1), depth: i64([], 3) });
      expect(hot.y).toMatchObject({ shape: [2, 3], data: Float32Array.of(1, 0, 0, 0, 0, 1) });

      const ports: Parameters<typeof graph>[0] = [
        ['x', 'f32', [1, 2]],
        ['scales', 'f32', [2]],
      ];
      const resized = await open(target, sized('Resize', ['x', '', 'scales'], ports, { mode: 'nearest' }));
      const large = await resized.run({ x, scales: f32([2], 1, 2) });
      expect(large.y).toMatchObject({ shape: [1, 4], data: Float32Array.of(1, 1, 2, 2) });
    },
  );
});
