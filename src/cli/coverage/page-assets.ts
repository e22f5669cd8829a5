// Style and script of the coverage page, put into it as they are: no other file is needed, and nothing is loaded.
// The script only hides and sorts rows that are there; without it the page shows everything.

export const STYLE = `
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --good: #2a7d46; --fair: #2f6fb5; --warn: #a86400; --bad: #c02b2b; }
@media (prefers-color-scheme: dark) { :root { --good: #5fc98a; --fair: #7db4f0; --warn: #e8aa4c; --bad: #ff7b72; } }
* { box-sizing: border-box; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 90rem; padding: 1rem 1.5rem 4rem; background: Canvas; color: CanvasText; }
h1 { font-size: 1.5rem; margin: .3rem 0; } h2 { font-size: 1.15rem; margin: 2rem 0 .4rem; }
.controls { position: sticky; top: 0; z-index: 2; display: flex; flex-wrap: wrap; gap: .6rem; align-items: center; padding: .6rem 0; background: Canvas; border-bottom: 1px solid var(--line); }
.controls input[type=search] { flex: 1 1 16rem; } .controls input, .controls select { font: inherit; padding: .3rem .5rem; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; vertical-align: top; padding: .25rem .6rem; border-bottom: 1px solid var(--line); }
th { font-weight: 600; cursor: pointer; white-space: nowrap; } th[aria-sort=ascending]::after { content: " ▲"; } th[aria-sort=descending]::after { content: " ▼"; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; } td { overflow-wrap: anywhere; }
.scroll { overflow-x: auto; } details { border: 1px solid var(--line); border-radius: .4rem; margin: .4rem 0; padding: .3rem .7rem; } summary { cursor: pointer; overflow-wrap: anywhere; }
.s { display: inline-block; border-radius: .7rem; padding: 0 .5rem; border: 1px solid currentColor; white-space: nowrap; }
.compiled { color: var(--good); } .composed { color: var(--fair); } .host { color: var(--warn); } .unsupported { color: var(--bad); font-weight: 600; }
.cards { display: flex; flex-wrap: wrap; gap: .8rem; margin: .8rem 0; } .card { background: var(--soft); border-radius: .4rem; padding: .5rem .9rem; } .card b { display: block; font-size: 1.3rem; }
.note, .soft { opacity: .75; } .problem { color: var(--bad); white-space: pre-wrap; } [hidden] { display: none !important; }
`;

/** Rows say in \`data-s\` which status they show on which target: \`c:host wasm:compiled\`. */
export const SCRIPT = `
'use strict';
(() => {
  const find = document.getElementById('find'), target = document.getElementById('target'), status = document.getElementById('status');
  const rows = [...document.querySelectorAll('tbody tr')].map((row) => ({ row, text: row.textContent.toLowerCase(), s: row.dataset.s || '' }));
  const boxes = [...document.querySelectorAll('details[data-model]')].map((box) => ({
    box, name: box.dataset.model.toLowerCase(), rows: rows.filter((r) => box.contains(r.row)), problem: box.querySelector('.problem'),
  }));
  const boxed = new Set(boxes.flatMap((b) => b.rows));
  const counts = [...document.querySelectorAll('section')].map((section) => ({
    label: section.querySelector('[data-count]'), empty: section.querySelector('[data-empty]'),
    items: section.querySelector('details[data-model]') ? boxes.filter((b) => section.contains(b.box)).map((b) => b.box) : rows.filter((r) => section.contains(r.row)).map((r) => r.row),
  }));
  const shows = (s) => {
    const on = s.split(' ').filter((pair) => !target.value || pair.startsWith(target.value + ':'));
    return !status.value ? !target.value || on.length > 0 || s === '' : on.some((pair) => pair.endsWith(':' + status.value));
  };
  const apply = () => {
    const words = find.value.toLowerCase().split(/\\s+/).filter(Boolean);
    const has = (text) => words.every((w) => text.includes(w));
    for (const r of rows) if (!boxed.has(r)) r.row.hidden = !(has(r.text) && shows(r.s));
    for (const b of boxes) {
      let some = false;
      for (const r of b.rows) { r.row.hidden = !((has(b.name) || has(r.text + ' ' + b.name)) && shows(r.s)); some = some || !r.row.hidden; }
      b.box.hidden = !(some || (!status.value && has(b.name + (b.problem ? b.problem.textContent.toLowerCase() : ''))));
    }
    for (const c of counts) {
      const n = c.items.filter((item) => !item.hidden).length;
      if (c.label) c.label.textContent = n === c.items.length ? String(n) : n + ' of ' + c.items.length;
      if (c.empty) c.empty.hidden = n > 0;
    }
    const query = new URLSearchParams();
    for (const [name, box] of [['find', find], ['target', target], ['status', status]]) if (box.value) query.set(name, box.value);
    try { history.replaceState(null, '', '#' + query); } catch {}
  };
  const sort = (th) => {
    const body = th.closest('table').tBodies[0], column = th.cellIndex, up = th.getAttribute('aria-sort') !== 'ascending';
    for (const other of th.parentElement.children) other.removeAttribute('aria-sort');
    th.setAttribute('aria-sort', up ? 'ascending' : 'descending');
    const key = (row) => { const cell = row.cells[column]; return cell.dataset.n === undefined ? cell.textContent : Number(cell.dataset.n); };
    const order = (a, b) => typeof a === 'number' && typeof b === 'number' ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });
    body.append(...[...body.rows].sort((a, b) => (up ? 1 : -1) * order(key(a), key(b))));
  };
  document.addEventListener('click', (e) => { const th = e.target.closest('th'); if (th) sort(th); });
  for (const box of [find, target, status]) box.addEventListener('input', apply);
  const given = new URLSearchParams(location.hash.slice(1));
  find.value = given.get('find') || '';
  for (const box of [target, status]) if ([...box.options].some((o) => o.value === given.get(box.id))) box.value = given.get(box.id);
  document.querySelector('.controls').hidden = false;
  apply();
})();
`;
