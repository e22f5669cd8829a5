// Pieces of the coverage page: sections that count what they show, tables that sort, cells.

import { formatCount } from '../print.js';
import { html, type Markup } from './html.js';
import { type CoverageStatus, STATUSES } from './report.js';

export interface PageRow {
  /** `target:status`, for the filters. */
  readonly s: readonly string[];
  readonly cells: readonly Markup[];
}

/** Heads that end in # are those of numbers. */
export const table = (heads: readonly string[], rows: readonly PageRow[]): Markup =>
  html`<div class="scroll"><table><thead><tr>${heads.map((h) => (h.endsWith('#') ? html`<th class="n">${h.slice(0, -1)}</th>` : html`<th>${h}</th>`))}</tr></thead><tbody>
${rows.map((r) => html`<tr data-s="${r.s.join(' ')}">${r.cells}</tr>\n`)}</tbody></table></div>`;

export const section = (title: string, count: number, body: Markup): Markup =>
  html`<section><h2>${title} <span class="soft" data-count>${count}</span></h2>${body}${count > 0 ? html`<p class="soft" data-empty hidden>Nothing here matches.</p>` : undefined}</section>`;

export const numberCell = (n: number): Markup => html`<td class="n" data-n="${n}">${formatCount(n)}</td>`;

/** \`3 compiled\` \`1 host\`; only the word where all agree. */
export function statusCell(counts: Readonly<Partial<Record<CoverageStatus, number>>>): Markup {
  const found = STATUSES.filter((s) => counts[s]);
  const text = (s: CoverageStatus): string => (found.length === 1 ? s : `${counts[s]} ${s}`);
  return html`<td>${found.map((s) => html`<span class="s ${s}">${text(s)}</span> `)}</td>`;
}
