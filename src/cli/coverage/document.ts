// docs/coverage.md: both operator sets as the records have them. `npm run docs:coverage` writes it, a test keeps it current.

import { RECORDS } from '../../frontend/ops/index.js';
import { formatMarkdown } from '../print.js';
import { TARGETS } from '../targets.js';
import { coverOperators } from './operator-coverage.js';
import { type CoverageStatus, fullName, type OperatorCoverage, type OperatorSet, STATUSES } from './report.js';
import { showTypes } from './render.js';

export function coverageDocument(): string {
  const sets = (['onnx', 'tflite'] as const).map((set) => coverOperators(set, { targets: TARGETS, records: RECORDS }));
  return `${INTRODUCTION}\n${sets.map(describeSet).join('\n')}`;
}

const INTRODUCTION = `# Coverage

Every operator of both formats and what heddle makes of it. Written by \`npm run docs:coverage\` from the operator records; a test
checks that it is current, so edit the records and run that command, not this page.

An operator is **compiled** where its record lowers it to primitives, which every target then runs; **host** where only a JavaScript
function runs it: the interpreter and WebAssembly have a host, C has none. \`heddle coverage MODEL\` says the same of a model node
by node; \`heddle coverage --ops onnx --format html\` has all of this with the types of every version.
`;

const TITLES = { onnx: 'ONNX', tflite: 'TFLite' } as const;

function describeSet(set: OperatorSet): string {
  const onnx = set.set === 'onnx';
  const count = (status: string): number => set.operators.filter((o) => summary(o) === status).length;
  const counts = [...new Set(set.operators.map(summary))].sort(byStatus).map((s) => `${count(s)} ${s}`);
  const rows = set.operators.map((o) => [
    fullName(o),
    summary(o),
    ...(onnx ? [showVersions(o), showTypes(o)] : []),
    o.doc.replace(/\s+/g, ' '),
    o.limits.join('; '),
  ]);
  const head = ['operator', 'status', ...(onnx ? ['versions', 'types of the newest'] : []), 'what it is', 'limits'];
  return `\n## ${TITLES[set.set]}\n\n${set.operators.length} operators: ${counts.join(', ')}.\n\n${formatMarkdown(head, rows)}\n`;
}

const byStatus = (a: CoverageStatus, b: CoverageStatus): number => STATUSES.indexOf(a) - STATUSES.indexOf(b);

/** The word all targets agree on but for the want of a host. */
const summary = (o: OperatorCoverage): CoverageStatus =>
  Object.values(o.status).find((s) => s !== 'unsupported') ?? 'unsupported';

/** A version that no record decodes in brackets. */
const showVersions = (o: OperatorCoverage): string =>
  o.versions.map(({ version }) => (o.missing.includes(version) ? `(${version})` : version)).join(' ');
