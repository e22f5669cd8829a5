// Which operators a model uses, each with the version of its definition that is in force: `ai.onnx:Add@14`, `tflite:ADD@1`.

import { versionInForce } from '../frontend/onnx/operator-list.js';
import type { SourceModel } from '../frontend/source.js';
import { allGraphs } from './describe-model.js';

/** Each once, subgraphs and inlined functions included, sorted. */
export function operatorsUsed(model: SourceModel): readonly string[] {
  const nodes = allGraphs(model.graphs).flatMap((g) => g.nodes);
  const names = nodes.map(({ domain, op, version }) => {
    const since = model.format === 'onnx' ? versionInForce(domain, op, version) : version;
    return `${domain}:${op}@${since}`;
  });
  return [...new Set(names)].sort();
}
