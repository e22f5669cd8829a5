// The coverage report as one HTML page that needs nothing else: gaps with reasons and advice, operators over all models, each
// model by operator, the operator set. Everything is in the markup; the script of page-assets.ts filters and sorts it.

import { formatCount } from '../print.js';
import { type Gap, gapsOf, type OperatorRow, operatorRows } from './gaps.js';
import { html, type Markup, trusted } from './html.js';
import { SCRIPT, STYLE } from './page-assets.js';
import {
  type CoverageReport,
  type CoverageStatus,
  type ModelCoverage,
  operatorSetOf,
  percentOf,
  STATUSES,
} from './report.js';
import { operatorSetSection } from './page-operator-set.js';
import { numberCell, section, statusCell, table } from './page-table.js';

export function formatPage(report: CoverageReport): string {
  const { targets, models = [] } = report;
  const set = operatorSetOf(report);
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'">
<title>heddle coverage</title>
<style>${trusted(STYLE)}</style>
</head>
<body>
<h1>heddle coverage</h1>
<div class="cards">${cards(report)}</div>
<div class="controls" hidden>
<input type="search" id="find" placeholder="Search models, nodes, operators, reasons" aria-label="Search">
<select id="target" aria-label="Target">${options('every target', targets)}</select>
<select id="status" aria-label="Status">${options('every status', STATUSES)}</select>
</div>
${models.length > 0 ? modelSections(models, targets) : undefined}
${set ? operatorSetSection(set, targets) : undefined}
<p class="note">compiled: one primitive or less; composed: several; host: only a JavaScript function runs it; unsupported: not at all. Sizes and
multiply-accumulates are those at the largest sizes; a weight counts where it is read first.</p>
<script>${trusted(SCRIPT)}</script>
</body>
</html>
`;
  return page.markup;
}

const options = (all: string, values: readonly string[]): readonly Markup[] => [
  html`<option value="">${all}</option>`,
  ...values.map((v) => html`<option>${v}</option>`),
];

function cards(report: CoverageReport): readonly Markup[] {
  const { targets, models = [] } = report;
  const set = operatorSetOf(report);
  const nodes = models.flatMap((m) => m.nodes);
  const whole = (t: string): number => models.filter((m) => (m.percent[t] ?? 0) === 100).length;
  const runs = (t: string): number => nodes.filter((n) => n.targets[t]?.status !== 'unsupported').length;
  const card = (title: string, text: string): Markup => html`<div class="card"><b>${title}</b>${text}</div>`;
  return [
    ...(models.length > 0
      ? [card(formatCount(models.length), 'models'), card(formatCount(nodes.length), 'nodes')]
      : []),
    ...(models.length > 0
      ? targets.map((t) =>
          card(`${t} ${percentOf(runs(t), nodes.length)} %`, `of nodes; ${whole(t)} of ${models.length} models whole`),
        )
      : []),
    ...(set
      ? targets.map((t) => card(`${t} ${set.percent[t]} %`, `of ${set.operators.length} ${set.set} operators`))
      : []),
  ];
}

function modelSections(models: readonly ModelCoverage[], targets: readonly string[]): Markup {
  const gaps = models.flatMap((m) => [...problemsOf(m, targets), ...gapsOf(m, targets)]);
  const merged = operatorRows(
    models.flatMap((m) => m.nodes),
    targets,
  );
  return html`${section('Gaps', gaps.length, gaps.length > 0 ? gapTable(gaps) : html`<p class="soft">None: every node of every model compiles.</p>`)}
${section('Operators', merged.length, operatorTable(merged, targets))}
${section('Models', models.length, html`${models.map((m) => modelBox(m, targets))}`)}`;
}

/** What belongs to no node stands among the gaps all the same. */
const problemsOf = (m: ModelCoverage, targets: readonly string[]): readonly Gap[] =>
  m.problems.map((reason) => ({ model: m.file, node: '', op: '', targets, status: 'unsupported', reason, advice: '' }));

const gapTable = (gaps: readonly Gap[]): Markup =>
  table(
    ['model', 'node', 'operator', 'targets', 'status', 'reason', 'what to do'],
    gaps.map((g) => ({
      s: g.targets.map((t) => `${t}:${g.status}`),
      cells: [g.model, g.node, g.op, g.targets.join(', ')]
        .map((x) => html`<td>${x}</td>`)
        .concat([
          html`<td><span class="s ${g.status}">${g.status}</span></td>`,
          html`<td>${g.reason}</td>`,
          html`<td>${g.advice}</td>`,
        ]),
    })),
  );

function operatorTable(rows: readonly OperatorRow[], targets: readonly string[]): Markup {
  const pairs = (r: OperatorRow): string[] =>
    targets.flatMap((t) => Object.keys(r.statuses[t] ?? {}).map((s) => `${t}:${s}`));
  return table(
    ['operator', 'nodes#', 'MACs#', 'weight bytes#', 'output bytes#', ...targets],
    rows.map((r) => ({
      s: pairs(r),
      cells: [
        html`<td>${r.op}</td>`,
        ...[r.count, r.macs, r.weightBytes, r.outputBytes].map(numberCell),
        ...targets.map((t) => statusCell((r.statuses[t] ?? {}) as Partial<Record<CoverageStatus, number>>)),
      ],
    })),
  );
}

function modelBox(m: ModelCoverage, targets: readonly string[]): Markup {
  const rows = operatorRows(m.nodes, targets);
  const sum = (of: (r: OperatorRow) => number): string => formatCount(rows.reduce((n, r) => n + of(r), 0));
  const percents = targets.map(
    (t) => html` <span class="s ${m.percent[t] === 100 ? 'compiled' : 'unsupported'}">${t} ${m.percent[t]} %</span>`,
  );
  const assumed = Object.entries(m.assumed).map(([name, range]) => `${name} ${range}`);
  return html`<details data-model="${m.file}"><summary><b>${m.file}</b>${percents} <span class="soft">${m.nodes.length} nodes, ${sum((r) => r.macs)} MACs, ${sum((r) => r.weightBytes)} bytes of weights</span></summary>
${assumed.length > 0 ? html`<p class="note">Open sizes taken as ${assumed.join(', ')}; choose with --dim.</p>` : undefined}
${m.problems.length > 0 ? html`<p class="problem">${m.problems.join('\n')}</p>` : undefined}
${rows.length > 0 ? operatorTable(rows, targets) : undefined}</details>
`;
}
