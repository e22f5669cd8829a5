// Bench results (`npm run -s bench -- --json > rows.json`) as Markdown for docs/performance.md:
// node bench/table.mjs rows.json [more.json …]. Prints what was asked for in one go: single operators, models, speech, and
// how cost grows, where a cliff (a point worse than 0.6 × its neighbours' mean efficiency) is marked.

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const round = (n) => (n === null || n === undefined ? '' : String(Number(n.toPrecision(3))));
const sizes = (n) => (n ? Math.round(n / 1024).toLocaleString('en-US') : '');
const table = (head, rows) =>
  [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');

/** The best of the batches is what a busy machine disturbs least; medians are what one quotes from a quiet one. */
const pick = (row, best) =>
  best ? { heddle: row.heddle_best_ms, peer: row.peer_best_ms } : { heddle: row.heddle_ms, peer: row.peer_ms };

function rowsTable(rows, best) {
  const head = [
    'model',
    'target',
    'numerics',
    'against',
    'heddle ms',
    'peer ms',
    'ratio',
    'fresh',
    'code KB',
    'weights KB',
    'arena KB',
    'compile ms',
  ];
  return table(
    head,
    rows.map((r) => {
      const { heddle, peer } = pick(r, best);
      const build = r.build ? `${r.target} (${r.build})` : r.target;
      return [
        r.model,
        build,
        r.numerics,
        r.peer,
        round(heddle),
        round(peer),
        round(peer && peer / heddle),
        round(r.fresh_ratio),
        sizes(r.code_bytes),
        sizes(r.weight_bytes),
        sizes(r.arena_bytes),
        Math.round(r.compile_ms),
      ];
    }),
  );
}

const geometricMean = (values) => Math.exp(values.reduce((n, v) => n + Math.log(v), 0) / values.length);

function meansTable(rows, best) {
  const groups = new Map();
  for (const r of rows) {
    if (r.ratio === null) continue;
    const key = [r.suite, r.precision, r.target + (r.build ? ` (${r.build})` : ''), r.numerics, r.peer].join('|');
    const { heddle, peer } = pick(r, best);
    groups.set(key, [...(groups.get(key) ?? []), { model: r.model, ratio: peer / heddle }]);
  }
  return table(
    ['suite', 'values', 'target', 'numerics', 'against', 'models', 'geometric mean', 'worst'],
    [...groups].map(([key, list]) => {
      const worst = list.reduce((a, b) => (b.ratio < a.ratio ? b : a));
      return [
        ...key.split('|'),
        list.length,
        round(geometricMean(list.map((x) => x.ratio))),
        `${round(worst.ratio)} ${worst.model}`,
      ];
    }),
  );
}

/** Work of a point: 2n³ of a GEMM, the seconds of a recording. */
function workOf(model) {
  const gemm = /^gemm_(\d+)$/.exec(model);
  if (gemm) return { at: Number(gemm[1]), work: 2 * Number(gemm[1]) ** 3 * 1e-6, unit: 'GFLOP/s' };
  const length = /_(\d+)s$/.exec(model);
  return length ? { at: Number(length[1]), work: Number(length[1]) * 1000, unit: 'seconds of audio a second' } : null;
}

/** Efficiency over size, and which points fall below 0.6 of what is beside them. */
export function growth(rows, best = false) {
  const lines = new Map();
  for (const r of rows) {
    const point = workOf(r.model);
    if (!point) continue;
    const series = r.model.replace(/_?\d+s?$/, '');
    const { heddle, peer } = pick(r, best);
    for (const [who, ms] of [
      [`heddle ${r.target}`, heddle],
      [r.peer, peer],
    ]) {
      if (!who || !ms) continue;
      const key = `${series}, ${point.unit}: ${who}`;
      lines.set(key, [...(lines.get(key) ?? []), { at: point.at, value: point.work / ms }]);
    }
  }
  return [...lines].map(([name, points]) => {
    const sorted = points.sort((a, b) => a.at - b.at);
    return {
      name,
      points: sorted.map((p, i) => {
        const beside = [sorted[i - 1], sorted[i + 1]].filter(Boolean).map((q) => q.value);
        const mean = beside.reduce((n, v) => n + v, 0) / Math.max(1, beside.length);
        return { ...p, cliff: beside.length > 0 && p.value < 0.6 * mean };
      }),
    };
  });
}

const growthTable = (rows, best) =>
  growth(rows, best)
    .map(({ name, points }) =>
      table(
        [name, ...points.map((p) => p.at)],
        [['', ...points.map((p) => `${round(p.value)}${p.cliff ? ' (cliff)' : ''}`)]],
      ),
    )
    .join('\n\n');

function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { best: { type: 'boolean', default: false } },
  });
  const rows = positionals.flatMap((file) => JSON.parse(readFileSync(file, 'utf8')).rows);
  const isGrowth = (r) => workOf(r.model) !== null;
  const suites = [...new Set(rows.filter((r) => !isGrowth(r)).map((r) => r.suite))];
  const parts = suites.map(
    (suite) =>
      `### ${suite}\n\n${rowsTable(
        rows.filter((r) => r.suite === suite && !isGrowth(r)),
        values.best,
      )}`,
  );
  parts.push(
    `### Means\n\n${meansTable(
      rows.filter((r) => !isGrowth(r)),
      values.best,
    )}`,
  );
  if (rows.some(isGrowth)) parts.push(`### How cost grows\n\n${growthTable(rows, values.best)}`);
  process.stdout.write(`${parts.join('\n\n')}\n`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main();
