// The section of the coverage page for a whole operator set: what it is, versions, types, status and tests by target.

import { html, type Markup } from './html.js';
import { section, statusCell, table } from './page-table.js';
import { fullName, type OperatorCoverage, type OperatorSet } from './report.js';
import { showTests, showTypes } from './render.js';

export function operatorSetSection(set: OperatorSet, targets: readonly string[]): Markup {
  const tested = set.operators.some((o) => o.tests);
  const heads = [
    'operator',
    'versions',
    'types',
    ...targets,
    ...(tested ? targets.map((t) => `${t} tests`) : []),
    'notes',
  ];
  const rows = set.operators.map((o) => ({
    s: targets.map((t) => `${t}:${o.status[t]}`),
    cells: [
      html`<td><b>${fullName(o)}</b><br><span class="soft">${o.doc}</span></td>`,
      versionsCell(o, targets),
      html`<td>${showTypes(o)}</td>`,
      ...targets.map((t) => statusCell({ [o.status[t] ?? 'unsupported']: 1 })),
      ...(tested ? targets.map((t) => testsCell(o, t)) : []),
      html`<td>${notes(o)}</td>`,
    ],
  }));
  return section(`The ${set.set} operator set`, rows.length, table(heads, rows));
}

/** Versions nobody decodes stand out. */
const versionsCell = (o: OperatorCoverage, targets: readonly string[]): Markup =>
  html`<td>${o.versions.map((v) => html`<span${o.missing.includes(v.version) ? html` class="unsupported"` : undefined} title="${versionTitle(v, targets)}">${v.version}</span> `)}</td>`;

function versionTitle(v: OperatorCoverage['versions'][number], targets: readonly string[]): string {
  const types = Object.entries(v.types).map(([name, list]) => `${name}: ${list.join(' ')}`);
  const tests = targets.flatMap((t) => (v.tests?.[t] ? [`${t} ${showTests(v.tests[t])} cases`] : []));
  return [...types, ...tests].join('\n');
}

function testsCell(o: OperatorCoverage, target: string): Markup {
  const t = o.tests?.[target];
  const all = t && t.passed === t.total;
  return html`<td class="n" data-n="${t ? t.passed : -1}">${t ? html`<span class="${all ? 'compiled' : 'unsupported'}">${showTests(t)}</span>` : undefined}</td>`;
}

const notes = (o: OperatorCoverage): string =>
  [...(o.missing.length > 0 ? [`versions ${o.missing.join(', ')} are not decoded`] : []), ...o.limits].join('; ');
