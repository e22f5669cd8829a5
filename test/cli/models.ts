// The models the command-line tests use.

import { encodeModel, floats, graph, node, value } from '../frontend/onnx-models.js';

/** y = relu(x·2), x of an open length. */
export const scaled = encodeModel(
  graph([node('Mul', ['x', 'two'], ['d'], { name: 'double' }), node('Relu', ['d'], ['y'], { name: 'clip' })], {
    input: [value('x', ['n'])],
    output: [value('y', ['n'])],
    initializer: [floats('two', [1], [2])],
  }),
);

const CUSTOM_OPSETS = [
  { domain: '', version: 21 },
  { domain: 'test.custom', version: 1 },
];

/** y = relu(Gizmo(x)): an operator nobody knows, then one that everybody does. */
export const custom = encodeModel(
  graph(
    [
      node('Gizmo', ['x'], ['g'], { name: 'the_gizmo', domain: 'test.custom' }),
      node('Relu', ['g'], ['y'], { name: 'clip' }),
    ],
    { input: [value('x', [4])], output: [value('y', [4])] },
  ),
  { opset_import: CUSTOM_OPSETS },
);

const plugin = (api: string, body: string): string => `import { op } from ${JSON.stringify(api)};
export const records = [op('gizmo', { doc: 'x + 1', inputs: ['x'], onnx: { 'test.custom:Gizmo@1': () => ({}) }, ${body} })];
`;

/** Gizmo written in primitives: x + 1. */
export const lowerPlugin = (api: string): string => plugin(api, 'lower: ({ x }, _, b) => b.add(x, 1)');

const reference = (run: string): string => `reference: { types: ({ x }) => [x.type], run: () => ([x]) => ${run} }`;

/** Gizmo as a host function: x + 1. */
export const referencePlugin = (api: string): string =>
  plugin(api, reference('[{ ...x, data: x.data.map((v) => v + 1) }]'));

/** Gizmo as a host function that never comes back. */
export const endlessPlugin = (api: string): string => plugin(api, reference('{ for (;;) x.shape.length; }'));
