// The two ways to fail: CompileError is the user's (their file, their flags), InternalError is ours.
// Every code lives in CODES; a message says what, where and what next. Problems can be collected and thrown together.

/** Where a problem is: any part may be unknown. `offset` is a byte offset in `file`. */
export interface ErrorPlace {
  readonly file?: string | undefined;
  readonly node?: string | undefined;
  readonly op?: string | undefined;
  readonly opset?: number | undefined;
  readonly operator?: number | undefined;
  readonly offset?: number | undefined;
}

/** One line a code, so that a reader can look a number up. E1xx files, E2xx models and ops, E3xx targets, E4xx command line and data. */
export const CODES = {
  E101: 'the file cannot be read',
  E102: 'the file is not of a known format',
  E103: 'the file is malformed: an offset, length or count does not fit',
  E104: 'external data is missing or does not fit',
  E105: 'the file uses a feature of the format that is not supported',
  E201: 'an operator is unknown',
  E202: 'an operator version or type is not supported',
  E203: 'an attribute or input breaks the operator’s definition',
  E204: 'shapes do not fit',
  E205: 'a size has no bound',
  E206: 'the graph is malformed: missing value, cycle or duplicate name',
  E207: 'a value must be constant here',
  E301: 'a target cannot express this',
  E302: 'a program exceeds a limit of the target or a budget',
  E401: 'a command-line argument is wrong',
  E402: 'an input tensor does not fit the model',
  E403: 'a data file is malformed',
  E404: 'a needed program is not installed',
  E405: 'text IR does not parse or verify',
} as const;

export type ErrorCode = keyof typeof CODES;

/** One problem with the user's input. */
export interface Problem {
  readonly code: ErrorCode;
  readonly message: string;
  readonly at?: ErrorPlace | undefined;
  readonly hint?: string | undefined;
}

/** `E203 Conv: … : node "enc/conv_4" (operator 17), opset 11, file m.onnx. Try …` */
export function formatProblem(p: Problem): string {
  const at = p.at ?? {};
  const place = [
    at.node ? `node "${at.node}"${at.operator === undefined ? '' : ` (operator ${at.operator})`}` : '',
    at.opset === undefined ? '' : `opset ${at.opset}`,
    at.offset === undefined ? '' : `offset ${at.offset}`,
    at.file ?? '',
  ].filter(Boolean);
  const head = `${p.code} ${at.op ? `${at.op}: ` : ''}${p.message}`;
  return `${head}${place.length ? `: ${place.join(', ')}` : ''}${p.hint ? `. ${p.hint}` : ''}`;
}

/** The user's input is at fault. Carries one or more problems; the message lists them all. */
export class CompileError extends Error {
  readonly problems: readonly Problem[];

  constructor(code: ErrorCode, message: string, more?: { at?: ErrorPlace; hint?: string });
  constructor(problems: readonly Problem[]);
  constructor(a: ErrorCode | readonly Problem[], message = '', more: { at?: ErrorPlace; hint?: string } = {}) {
    const problems = typeof a === 'string' ? [{ code: a, message, ...more }] : a;
    super(problems.map(formatProblem).join('\n'));
    this.name = 'CompileError';
    this.problems = problems;
  }
}

/** heddle itself is at fault. */
export class InternalError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'InternalError';
  }
}

/** Throws InternalError unless `cond` holds. */
export function invariant(cond: unknown, why: string): asserts cond {
  if (!cond) throw new InternalError(`internal: ${why}`);
}

/** For the default arm of a switch over a union. */
export function never(x: never, what: string): never {
  throw new InternalError(`internal: unexpected ${what}: ${JSON.stringify(x)}`);
}
