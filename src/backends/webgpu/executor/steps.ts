/// <reference types="@webgpu/types" />
// The steps of an entry in order. The host waits for the device only for what it must know and does not: the condition of
// an `if` or `while`, the inputs of a host step or of the twin, sizes that these mention.

import type { GpuHostValue, GpuPlan, GpuSize, GpuStep } from '../plan-types.js';
import type { Commands } from './commands.js';
import type { Dispatches } from './dispatch.js';
import type { Elements } from './elements.js';
import type { HostFunction, HostTensor } from './executor.js';
import type { OpenSizes } from './open-sizes.js';
import type { Sizes } from './sizes.js';
import type { Place, Stores, Twin } from './stores.js';

type Symbols = Map<string, number>;

export interface Steps {
  run(steps: readonly GpuStep[], env: Symbols): Promise<void>;
  /** Tensors, those on the device in one wait; sizes that only the device knows come with them. */
  values(values: readonly GpuHostValue[], env: Symbols): Promise<readonly HostTensor[]>;
  /** Learns the open sizes, in a wait of its own. */
  settle(env: Symbols): Promise<void>;
  readonly strings: Map<number, readonly string[]>;
}

export function createSteps(
  plan: GpuPlan,
  elements: Elements,
  sizes: Sizes,
  commands: Commands,
  stores: Stores,
  symbols: OpenSizes,
  dispatches: Dispatches,
  hosts: readonly HostFunction[],
  twin: Twin | undefined,
  after: ((step: GpuStep) => Promise<void>) | undefined,
): Steps {
  const strings = new Map<number, readonly string[]>();
  /** Where sizes are open, up to so many bytes are read at their bounds rather than waited for twice. */
  const AT_BOUNDS = 1 << 18;

  const settle = async (env: Symbols): Promise<void> => {
    if (symbols.open.size === 0) return;
    commands.counts.readbacks++;
    symbols.settle(await commands.read(symbols.ranges()), env);
  };
  const need = async (list: readonly GpuSize[], env: Symbols): Promise<void> => {
    if (list.some((s) => sizes.isOpen(s, symbols.open))) await settle(env);
  };

  const readNumber = async ([buffer, offset]: readonly [number, GpuSize], env: Symbols): Promise<number> => {
    await need([offset], env);
    const index = sizes.evaluate(offset, env);
    const known = stores.recall(buffer, index);
    if (known !== undefined) return known;
    commands.counts.readbacks++;
    const { dtype } = plan.buffers[buffer] as GpuPlan['buffers'][number];
    const { data, extra } = await stores.read([{ buffer, dtype, start: index, count: 1 }], symbols.ranges());
    symbols.settle(extra, env);
    const value = Number((data[0] as unknown as ArrayLike<number | bigint>)[0]);
    stores.learn(buffer, index, value);
    return value;
  };

  const placesOf = (values: readonly GpuHostValue[], env: Symbols): readonly (Place & { shape: number[] })[] =>
    values.map(([buffer, offset, dtype, dims]) => {
      const shape = dims.map((d) => sizes.evaluate(d, env));
      const count = dtype === 'string' ? 0 : elements.volume(shape);
      return { buffer, dtype, shape, count, start: dtype === 'string' ? 0 : sizes.evaluate(offset, env) };
    });
  /** Whole buffers, for values whose sizes are open; null where that is too much. */
  const wholeOf = (values: readonly GpuHostValue[]): readonly Place[] | null => {
    const places = values.map(([buffer, , dtype]) => {
      const { bytes } = plan.buffers[buffer] as GpuPlan['buffers'][number];
      return { buffer, dtype, start: 0, count: bytes / elements.deviceBytes(dtype) };
    });
    const bytes = places.reduce((n, p) => n + p.count * elements.deviceBytes(p.dtype), 0);
    return bytes <= AT_BOUNDS && values.every(([, offset]) => offset === 0) ? places : null;
  };
  const values: Steps['values'] = async (list, env) => {
    const away = list.filter(([b, , dtype]) => dtype !== 'string' && stores.isAway(b));
    const whole = symbols.open.size > 0 ? wholeOf(away) : null;
    if (!whole) await settle(env);
    const { data, extra } = await stores.read(whole ?? placesOf(away, env), symbols.ranges());
    symbols.settle(extra, env);
    const read = new Map(away.map((v, k) => [v, data[k] as ArrayBufferView & { subarray: Float32Array['subarray'] }]));
    const out = placesOf(list, env).map(async (p, k): Promise<HostTensor> => {
      const { dtype, shape } = p;
      if (dtype === 'string') return { dtype, shape, data: strings.get(p.buffer) ?? [] };
      const all = read.get(list[k] as GpuHostValue);
      if (!all) return { dtype, shape, data: (await stores.read([p])).data[0] as ArrayBufferView };
      return { dtype, shape, data: whole ? all.subarray(0, p.count).slice() : all };
    });
    return Promise.all(out);
  };

  const runHost = async (step: GpuStep & { do: 'host' }, env: Symbols): Promise<void> => {
    const call = hosts[step.index];
    if (!call) throw new Error(`the model needs a host function for ${step.op}`);
    if (symbols.open.size > 0 || step.inputs.some(([b, , t]) => t !== 'string' && stores.isAway(b)))
      commands.counts.readbacks++;
    const results = call(await values(step.inputs, env));
    step.outputs.forEach(([index, offset], k) => {
      const data = results[k]?.data;
      if (data === undefined) throw new Error(`${step.op} gave no output ${k}`);
      if (ArrayBuffer.isView(data)) stores.write(index, sizes.evaluate(offset, env), data);
      else strings.set(index, data);
    });
  };

  const runTwin = async (step: GpuStep & { do: 'twin' }, env: Symbols): Promise<void> => {
    if (!twin) throw new Error('the model needs its WebAssembly twin');
    await need(step.symbols, env);
    await stores.useInTwin([...step.reads, ...step.writes]);
    twin.call(step.call, ...step.symbols.map((s) => sizes.evaluate(s, env)));
    commands.counts.twin++;
    for (const b of step.writes) stores.changed(b, 'twin');
  };

  /** The symbol's value from here on: known, or the device's secret. */
  const bind = async ({ sym, from }: GpuStep & { do: 'bind' }, env: Symbols): Promise<void> => {
    const [buffer, offset] = from;
    symbols.close(sym.name);
    await need([offset], env);
    const index = sizes.evaluate(offset, env);
    const { dtype } = plan.buffers[buffer] as GpuPlan['buffers'][number];
    if (stores.recall(buffer, index) === undefined && stores.isAway(buffer)) {
      stores.useOnDevice(buffer);
      const byte = index * elements.deviceBytes(dtype);
      if (symbols.add(sym, stores.onDevice(buffer), byte, dtype === 'i64')) return;
    }
    const value = await readNumber([buffer, index], env);
    if (sym.checked && !(value >= sym.lo && value <= sym.hi))
      throw new Error(
        `E402 the data ask for a size "${sym.name}" of ${value}, and the program is made for ${sym.lo} to ${sym.hi}`,
      );
    env.set(sym.name, Math.min(sym.hi, Math.max(sym.lo, value)));
  };

  const run = async (steps: readonly GpuStep[], env: Symbols): Promise<void> => {
    for (const step of steps) {
      if (step.do === 'run') {
        if (!dispatches.run(step, env)) {
          await settle(env);
          dispatches.run(step, env);
        }
        if (after) await after(step);
      } else if (step.do === 'bind') await bind(step, env);
      else if (step.do === 'twin') {
        await runTwin(step, env);
        await after?.(step);
      } else if (step.do === 'if') await run((await readNumber(step.cond, env)) !== 0 ? step.then : step.else, env);
      else if (step.do === 'loop') {
        await need([step.count], env);
        const count = sizes.evaluate(step.count, env);
        for (let i = 0; i < count; i++) {
          env.set(step.sym, i);
          await run(step.body, env);
        }
      } else if (step.do === 'while') {
        for (;;) {
          await run(step.test, env);
          if ((await readNumber(step.cond, env)) === 0) break;
          await run(step.body, env);
        }
      } else {
        await runHost(step, env);
        await after?.(step);
      }
    }
  };
  return { run, values, settle, strings };
}
