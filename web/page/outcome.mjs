// The lower half of a section: what is going on, what came out, how long it took, or what went wrong.

const MEGABYTE = 2 ** 20;

export const megabytes = (bytes) => `${(bytes / MEGABYTE).toFixed(bytes < 10 * MEGABYTE ? 1 : 0)} MB`;
export const milliseconds = (ms) => (ms < 10_000 ? `${ms.toFixed(ms < 10 ? 1 : 0)} ms` : `${(ms / 1000).toFixed(1)} s`);

/** Fills `section` with an outcome's elements and gives what changes them. */
export function createOutcome(section) {
  const place = section.querySelector('.outcome');
  place.append(document.querySelector('#outcome').content.cloneNode(true));
  const find = (name) => place.querySelector(name);
  const [status, progress, error, result, times] = ['.status', 'progress', '.error', '.result', '.times'].map(find);
  const busy = (is) => {
    section.classList.toggle('busy', is);
    section.setAttribute('aria-busy', String(is));
    progress.hidden = !is;
    for (const control of section.querySelectorAll('button, input')) control.disabled = is;
  };
  return {
    start(text) {
      busy(true);
      status.textContent = text;
      for (const element of [error, result, times]) element.hidden = true;
      progress.removeAttribute('value');
    },
    hear({ what, done, total }) {
      status.textContent = `${what}…`;
      if (total > 0) Object.assign(progress, { max: total, value: done });
      else progress.removeAttribute('value');
    },
    show(...nodes) {
      result.replaceChildren(...nodes);
      result.hidden = false;
    },
    note(text) {
      status.textContent = text;
    },
    finish(rows) {
      busy(false);
      status.textContent = '';
      times.tBodies[0].replaceChildren(...rows.map(([name, value]) => row(name, value)));
      times.hidden = false;
    },
    fail(message) {
      busy(false);
      status.textContent = '';
      error.textContent = message;
      error.hidden = false;
    },
  };
}

function row(name, value) {
  const [tr, th, td] = ['tr', 'th', 'td'].map((tag) => document.createElement(tag));
  th.scope = 'row';
  th.textContent = name;
  td.textContent = value;
  tr.append(th, td);
  return tr;
}
