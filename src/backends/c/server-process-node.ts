// The running server (see server.ts for the protocol): one request at a time, restarted after a crash or a timeout.
// An idle server does not keep Node alive.

import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import { HOST } from './server.js';

export interface ServerProcess {
  /** Sends the parts of one request; resolves to the reply's bytes. Rejects where the program dies or takes too long. */
  readonly request: (parts: readonly Uint8Array[], onHost?: HostAnswer) => Promise<Uint8Array>;
  readonly close: () => void;
  /** How often the program was started; state does not survive a restart. */
  readonly starts: () => number;
}

/** Answers a call of a host function: from the request behind its status to the parts of the answer. */
export type HostAnswer = (request: Uint8Array) => readonly Uint8Array[];

interface Pending {
  readonly onHost: HostAnswer | undefined;
  readonly resolve: (reply: Uint8Array) => void;
  readonly reject: (why: Error) => void;
}

interface Running {
  readonly child: ChildProcessWithoutNullStreams;
  chunks: Uint8Array[];
  bytes: number;
  errors: string;
  pending: Pending | undefined;
}

export function startServer(executable: string, timeoutMs: number): ServerProcess {
  let running: Running | undefined;
  let starts = 0;
  let queue: Promise<unknown> = Promise.resolve();

  const ensure = (): Running => {
    if (running) return running;
    starts++;
    const r = launch(executable, () => {
      if (running === r) running = undefined;
    });
    running = r;
    return r;
  };

  const send = (parts: readonly Uint8Array[], onHost: HostAnswer | undefined): Promise<Uint8Array> => {
    const r = ensure();
    hold(r.child, true);
    let timer: NodeJS.Timeout | undefined;
    return new Promise<Uint8Array>((resolve, reject) => {
      r.pending = { onHost, resolve, reject };
      timer = setTimeout(() => {
        reject(new Error(`no reply within ${timeoutMs} ms`));
        r.pending = undefined;
        running = undefined;
        r.child.kill('SIGKILL');
      }, timeoutMs);
      for (const part of parts) r.child.stdin.write(part);
    }).finally(() => {
      clearTimeout(timer);
      hold(r.child, false);
    });
  };

  return {
    request: (parts, onHost) => {
      const reply = queue.then(() => send(parts, onHost));
      queue = reply.catch(() => undefined);
      return reply;
    },
    close: () => {
      running?.child.kill();
      running = undefined;
    },
    starts: () => starts,
  };
}

function launch(executable: string, onEnd: () => void): Running {
  const child = spawn(executable, [], { stdio: 'pipe' });
  const r: Running = { child, chunks: [], bytes: 0, errors: '', pending: undefined };
  child.stdout.on('data', (chunk: Uint8Array) => receive(r, chunk));
  child.stderr.on('data', (chunk: Uint8Array) => {
    r.errors = (r.errors + new TextDecoder().decode(chunk)).slice(-4000);
  });
  child.stdin.on('error', () => undefined); // the end of the program is reported by `close`
  const end = (why: string): void => {
    onEnd();
    r.pending?.reject(new Error(`${why}${r.errors ? `\n${r.errors.trim()}` : ''}`));
    r.pending = undefined;
  };
  child.on('error', (e) => end(`the program does not start: ${e.message}`));
  child.on('close', (code, signal) =>
    end(signal ? `the program crashed: ${signal}` : `the program ended with code ${code}`),
  );
  hold(child, false);
  return r;
}

/** Whether Node waits for the child. */
function hold(child: ChildProcessWithoutNullStreams, on: boolean): void {
  const streams = [child.stdin, child.stdout, child.stderr] as unknown as Socket[];
  for (const x of [child, ...streams]) {
    if (on) x.ref();
    else x.unref();
  }
}

/** Collects a reply: its first eight bytes state how many follow. */
function receive(r: Running, chunk: Uint8Array): void {
  r.chunks.push(chunk);
  r.bytes += chunk.byteLength;
  if (r.bytes < 8) return;
  if (r.chunks.length > 1 && (r.chunks[0] as Uint8Array).byteLength < 8) r.chunks = [join(r.chunks, r.bytes)];
  const first = r.chunks[0] as Uint8Array;
  const length = Number(new DataView(first.buffer, first.byteOffset, 8).getBigUint64(0, true));
  if (r.bytes < 8 + length) return;
  const reply = join(r.chunks, r.bytes).subarray(8, 8 + length);
  r.chunks = [];
  r.bytes = 0;
  if (new DataView(reply.buffer, reply.byteOffset, 4).getUint32(0, true) === HOST) {
    for (const part of r.pending?.onHost?.(reply.subarray(4)) ?? [Uint8Array.of(1, 0, 0, 0)]) r.child.stdin.write(part);
    return;
  }
  r.pending?.resolve(reply);
  r.pending = undefined;
}

function join(chunks: readonly Uint8Array[], bytes: number): Uint8Array {
  const all = new Uint8Array(bytes);
  let at = 0;
  for (const c of chunks) {
    all.set(c, at);
    at += c.byteLength;
  }
  return all;
}
