// Talk on stderr for work that takes over a second: one line rewritten in place on a terminal, else a line now and then.

const FIRST_MS = 1000;
const TERMINAL_MS = 100;
const LOG_MS = 5000;

export interface Progress {
  update(text: string): void;
  /** A line that stays. */
  line(text: string): void;
  done(): void;
}

export function startProgress(): Progress {
  const out = process.stderr;
  const terminal = out.isTTY === true;
  let next = performance.now() + FIRST_MS;
  let shown = false;
  const clear = (): void => {
    if (shown && terminal) out.write('\r\x1b[K');
    shown = false;
  };
  return {
    update(text) {
      const now = performance.now();
      if (now < next) return;
      next = now + (terminal ? TERMINAL_MS : LOG_MS);
      clear();
      out.write(terminal ? text.slice(0, (out.columns ?? 80) - 1) : `${text}\n`);
      shown = true;
    },
    line(text) {
      clear();
      out.write(`${text}\n`);
    },
    done: clear,
  };
}
