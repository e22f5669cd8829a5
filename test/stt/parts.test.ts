// What speech models leave on a device between calls: handed on, never read, and freed in the end. The parts are stand-ins
// that count; the real ones run in moonshine.test.ts and in the page's tests.

import { describe, expect, it } from 'vitest';
import { MOONSHINE_TINY, runMoonshine } from '../../src/stt/moonshine.js';
import { modelPart, type Part, type PartTensors, sessionPart } from '../../src/stt/part.js';

const END = 2;
const device = {};

/** Tensors of a device that knows how many are alive. */
function countTensors() {
  const alive = new Set<object>();
  const make = (shape: readonly number[]) => {
    const buffer = { size: 4, mapAsync: async () => undefined, destroy: () => void alive.delete(buffer) };
    alive.add(buffer);
    return { dtype: 'f32', shape, buffer };
  };
  return { alive, make };
}

function standIns(says: readonly number[], on: object | undefined = device) {
  const { alive, make } = countTensors();
  const calls: PartTensors[] = [];
  const encoder: Part = {
    device,
    run: async (_, stay) => ({ last_hidden_state: stay.length > 0 ? make([1, 4, 288]) : floats([1, 4, 288]) }),
  };
  const decoder: Part = {
    device: on,
    async run(inputs, stay) {
      for (const [name, t] of Object.entries(inputs))
        if ('buffer' in t) expect([name, alive.has(t.buffer)]).toEqual([name, true]);
      calls.push(inputs);
      const logits = floats([1, 1, 8]);
      logits.data[says[calls.length - 1] ?? END] = 1;
      return { logits, ...Object.fromEntries(stay.map((name) => [name, make([1, 8, calls.length, 36])])) };
    },
  };
  return { model: { encoder, decoder, cache: MOONSHINE_TINY }, calls, alive };
}

const floats = (shape: readonly number[]) => ({
  dtype: 'f32',
  shape,
  data: new Float32Array(shape.reduce((n, d) => n * d, 1)),
});

describe('runMoonshine on a device', () => {
  it('hands on what stays there and frees it all', async () => {
    const { model, calls, alive } = standIns([5, 6, 7]);
    expect((await runMoonshine(model, new Float32Array(16_000))).tokens).toEqual([1, 5, 6, 7, END]);
    expect(calls[0]?.encoder_hidden_states).toHaveProperty('buffer');
    const key = (k: number, name: string) => calls[k]?.[`past_key_values.0.${name}.key`]?.shape[2];
    expect([0, 1, 2, 3].map((k) => key(k, 'decoder'))).toEqual([0, 1, 2, 3]);
    expect([1, 2, 3].map((k) => key(k, 'encoder'))).toEqual([1, 1, 1]); // those of the first call serve for all
    expect(alive.size).toBe(0);
  });

  it('frees it too where a call fails', async () => {
    const { model, alive } = standIns([5, 6]);
    let calls = 0;
    const decoder: Part = {
      device,
      run: (inputs, stay) => (++calls === 2 ? Promise.reject(new Error('lost')) : model.decoder.run(inputs, stay)),
    };
    await expect(runMoonshine({ ...model, decoder }, new Float32Array(16_000))).rejects.toThrow('lost');
    expect(alive.size).toBe(0);
  });

  it('reads the encoder’s output where the decoder runs elsewhere', async () => {
    const { model, calls } = standIns([5], undefined);
    await runMoonshine({ ...model, decoder: { run: model.decoder.run } }, new Float32Array(16_000));
    expect(calls[0]?.encoder_hidden_states).toHaveProperty('data');
  });
});

describe('parts', () => {
  it('are made of artifacts and sessions', async () => {
    const model = { run: async (inputs: object, options: object) => ({ inputs, options }), device };
    expect(await modelPart(model).run({}, ['y'])).toEqual({ inputs: {}, options: { outputs: ['y'] } });
    expect(modelPart(model).device).toBe(device);
    const session = { run: async () => ({ y: floats([1]) }), reset: async () => {}, close: async () => {} };
    expect(await sessionPart(session).run({}, ['y'])).toEqual({ y: floats([1]) });
    const onDevice = {
      ...session,
      device,
      runOnDevice: async (_: object, stay: readonly string[]) => ({ [stay[0] ?? '']: floats([2]) }),
    };
    expect(await sessionPart(onDevice).run({}, ['z'])).toEqual({ z: floats([2]) });
  });
});
