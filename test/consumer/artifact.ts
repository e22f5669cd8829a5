// Uses a compiled artifact by its own types: names, element types, what is optional.

import { load, type Model, type RunOutputs } from './model/model.mjs';

const model: Model = await load();
const { y }: RunOutputs = await model.run({ x: Float32Array.of(0, 0, 0, 1, 1, 0, 1, 1) });
const values: Float32Array = y.data;
const dtype: 'f32' = y.dtype;

// @ts-expect-error the model has no such input
await model.run({ z: values }).catch(() => {});
// @ts-expect-error the input is f32
await model.run({ x: new Float64Array(8) }).catch(() => {});

console.log(JSON.stringify({ dtype, shape: y.shape, values: [...values] }));
