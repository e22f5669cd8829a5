// `heddle inspect`: what a model is, before anything is compiled.

import type { CommandModule } from 'yargs';
import { importSource } from '../../compile.js';
import { CompileError } from '../../support/errors.js';
import { type Count, countMacs } from '../count-work.js';
import { describeModel } from '../describe-model.js';
import { openModel } from '../model-file.js';
import { addModelOptions, compileOptions, type ModelFlags } from '../model-options.js';
import { formatCount, formatTable, printJson, printLine } from '../print.js';

type InspectFlags = ModelFlags & { readonly model: string; readonly json: boolean };

export const inspectCommand: CommandModule<unknown, InspectFlags> = {
  command: 'inspect <model>',
  describe: 'Show inputs, outputs, operators, weights and sizes of a model',
  builder: (y) =>
    addModelOptions(
      y.positional('model', { type: 'string', demandOption: true, describe: 'ONNX or TFLite file' }),
    ).option('json', { type: 'boolean', default: false, describe: 'The report as JSON' }) as never,
  handler: inspect,
};

async function inspect(flags: InspectFlags): Promise<void> {
  const { model, bytes } = openModel(flags.model);
  const options = await compileOptions(flags);
  const facts = describeModel(model);
  const macs = tryCountMacs(() => countMacs(importSource(model, options)));
  if (flags.json) return printJson({ ...facts, fileBytes: bytes.length, macs });
  const opsets = Object.entries(facts.opsets).map(([domain, version]) => `${domain} ${version}`);
  printLine(
    `${facts.file}: ${facts.format}, ${opsets.join(', ')}${facts.producer ? `, made by ${facts.producer}` : ''}`,
  );
  printLine(`${formatCount(bytes.length)} bytes, ${facts.nodes} nodes, ${formatCount(facts.parameters)} parameters`);
  printLine(
    `MACs: ${macs === null ? 'unknown (see heddle coverage)' : typeof macs === 'number' ? formatCount(macs) : macs}`,
  );
  if (facts.symbols.length > 0) printLine(`open sizes: ${facts.symbols.join(', ')}`);
  if (facts.signatures.length > 0) printLine(`signatures: ${facts.signatures.join(', ')}`);
  const values = (kind: string, list: typeof facts.inputs) => list.map((v) => [kind, v.name, v.type]);
  printLine(
    `\n${formatTable(['', 'name', 'type'], [...values('input', facts.inputs), ...values('output', facts.outputs)])}`,
  );
  printLine(
    `\n${formatTable(
      ['operator', 'domain', 'count'],
      facts.ops.map((o) => [o.op, o.domain, o.count]),
    )}`,
  );
  const weights = facts.weights.map((w) => [w.dtype, w.tensors, formatCount(w.elements), formatCount(w.bytes)]);
  if (weights.length > 0) printLine(`\n${formatTable(['weights', 'tensors', 'elements', 'bytes'], weights)}`);
}

/** A model that does not import can still be inspected. */
function tryCountMacs(count: () => Count): Count | null {
  try {
    return count();
  } catch (error) {
    if (error instanceof CompileError) return null;
    throw error;
  }
}
