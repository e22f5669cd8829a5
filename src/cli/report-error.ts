// What a failure looks like to the person at the keyboard, and the exit code it means: 1 is theirs, 2 is ours.

import { CompileError, formatProblem } from '../support/errors.js';

/** The command line itself is wrong: unknown flag, missing argument. */
export class UsageError extends Error {}

export interface FailureReport {
  readonly text: string;
  readonly exitCode: 1 | 2;
}

export function reportError(error: unknown): FailureReport {
  if (error instanceof UsageError) return { text: error.message, exitCode: 1 };
  if (error instanceof CompileError) return { text: error.problems.map(formatProblem).join('\n'), exitCode: 1 };
  const e = error instanceof Error ? error : new Error(String(error));
  const debug = process.env.HEDDLE_DEBUG === '1';
  const more = debug ? (e.stack ?? '') : 'Set HEDDLE_DEBUG=1 to see where.';
  return { text: `${e.message}\nThis is a bug in heddle, please report it. ${more}`, exitCode: 2 };
}
