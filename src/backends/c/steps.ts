// An entry's steps as the statements of its C function.

import { type Dim, dimSyms } from '../../ir/dim.js';
import type { BufferRef, Origin, Program, Step } from '../../ir/program.js';
import { never } from '../../support/errors.js';
import { createExprPrinter } from '../clike-expr.js';
import { dimToExpr } from '../dim-expr.js';
import { createRanges } from '../int-range.js';
import { type Lang, storedType } from '../lang.js';
import { createNames } from '../names.js';
import { NO_POINT } from '../profile-points.js';
import { type HostStep, hostSteps, printHostCall } from './host-steps.js';
import { type CEntry, commentText, innerSymbols, storageType } from './interface.js';
import type { KernelText } from './kernels.js';
import { C_TYPES } from './lang.js';
import type { Places } from './places.js';

export interface StepContext {
  readonly program: Program;
  readonly lang: Lang;
  readonly places: Places;
  /** Prefixes of functions and of macros. */
  readonly prefix: string;
  readonly upper: string;
  readonly kernels: readonly (KernelText | undefined)[];
  readonly onHelper: (name: string) => void;
  /** In a profiling build, each step's number. */
  readonly points: ReadonlyMap<Step, number> | undefined;
}

/** Prints sizes; `read` collects the symbols they mention. */
interface Sizes {
  readonly print: (d: Dim) => string;
  readonly nameOf: (sym: string) => string;
  readonly read: Set<string>;
}

export interface EntryBody {
  /** Local name of each symbol the caller states, in the order of `entry.syms`. */
  readonly given: readonly string[];
  /** Declarations of the other symbols, then the steps, indented one level. */
  readonly lines: readonly string[];
  readonly sizes: Sizes;
}

export function printEntryBody(cx: StepContext, entry: CEntry): EntryBody {
  const names = createNames([
    ...cx.lang.reserved,
    ...cx.kernels.map((k) => k?.name ?? ''),
    'value',
    'i',
    ...HOST_NAMES(cx),
  ]);
  const given = entry.syms.map(({ sym }) => names.fresh(sym.name));
  const inner = innerSymbols(entry).map((sym) => ({ sym, name: names.fresh(sym.name) }));
  const vars = new Map([
    ...entry.syms.map(({ sym }, i) => [sym.name, given[i] as string] as const),
    ...inner.map(({ sym, name }) => [sym.name, name] as const),
  ]);
  const sizes = createSizes(cx, entry, vars);
  const lines: string[] = [];
  printSteps(cx, entry, sizes, entry.entry.steps, 1, lines);
  const declared = inner.flatMap(({ sym, name }) => [
    `  int32_t ${name} = ${Math.max(0, sym.lo)};`,
    ...(sizes.read.has(sym.name) || isReadByShapes(entry, sym.name) ? [] : [`  (void)${name};`]),
  ]);
  return { given, lines: [...declared, ...lines], sizes };
}

const isReadByShapes = (entry: CEntry, name: string): boolean =>
  entry.outputs.some((o) => o.value.shape.some((d) => dimSyms(d).has(name)));

function createSizes(cx: StepContext, entry: CEntry, vars: ReadonlyMap<string, string>): Sizes {
  const syms = [...entry.syms.map((s) => s.sym), ...innerSymbols(entry)];
  const ranges = createRanges(syms, () => undefined);
  const exprs = createExprPrinter({
    lang: cx.lang,
    names: createNames(),
    ranges,
    slots: new Map(),
    vars,
    onHelper: cx.onHelper,
    declare: () => undefined,
    limit: () => null,
  });
  const read = new Set<string>();
  const print = (d: Dim): string => {
    for (const name of dimSyms(d).keys()) read.add(name);
    const text = exprs.print([dimToExpr(d)], new Set())[0];
    return text ? (text.level >= 3 ? text.text : `(${text.text})`) : '';
  };
  return { print, nameOf: (sym) => vars.get(sym) ?? '', read };
}

type Out = string[];

function printSteps(
  cx: StepContext,
  entry: CEntry,
  sizes: Sizes,
  steps: readonly Step[],
  depth: number,
  out: Out,
): void {
  for (const step of steps) printStep(cx, entry, sizes, step, depth, out);
}

function printStep(cx: StepContext, entry: CEntry, sizes: Sizes, step: Step, depth: number, out: Out): void {
  const line = (text: string): void => void out.push('  '.repeat(depth) + text);
  const inner = (steps: readonly Step[]): void => printSteps(cx, entry, sizes, steps, depth + 1, out);
  const flag = (ref: BufferRef): string =>
    `*${wrapPointer(cx.places.pointer(entry, ref, 'const uint8_t', sizes.print))}`;
  switch (step.kind) {
    case 'kernel':
      for (const text of originLines(step.origins)) line(text);
      if (cx.points) line(`heddle_mark(${cx.points.get(step)});`);
      line(kernelCall(cx, entry, sizes, step));
      if (cx.points) line(`heddle_mark(${NO_POINT});`);
      break;
    case 'bind':
      for (const text of bindLines(cx, entry, sizes, step)) line(text);
      break;
    case 'if':
      line(`if (${flag(step.cond)}) {`);
      inner(step.then);
      if (step.else.length > 0) {
        line('} else {');
        inner(step.else);
      }
      line('}');
      break;
    case 'loop': {
      const name = sizes.nameOf(step.sym.name);
      line(`for (${name} = 0; ${name} < ${sizes.print(step.count)}; ++${name}) {`);
      inner(step.body);
      line('}');
      break;
    }
    case 'while':
      line('for (;;) {');
      inner(step.test);
      line(`  if (!${flag(step.cond)}) break;`);
      inner(step.body);
      line('}');
      break;
    case 'host':
      for (const text of [...originLines(step.origins), ...hostCall(cx, entry, sizes, step)]) line(text);
      break;
    default:
      never(step, 'step');
  }
}

const wrapPointer = (text: string): string => (/^[\w>-]+(\([^()]*\))?$/.test(text) ? text : `(${text})`);

function kernelCall(cx: StepContext, entry: CEntry, sizes: Sizes, step: Step & { kind: 'kernel' }): string {
  const kernel = cx.program.kernels[step.kernel];
  const pointers = step.buffers.map((ref, i) => {
    const param = kernel?.params[i];
    const type = C_TYPES[storedType(param?.dtype ?? 'u8')];
    return cx.places.pointer(entry, ref, param?.access === 'read' ? `const ${type}` : type, sizes.print);
  });
  const dims = step.dims.map((d) =>
    sizes.print(d).replace(/^\((.*)\)$/, (whole, inside: string) => (/[()]/.test(inside) ? whole : inside)),
  );
  return `${cx.kernels[step.kernel]?.name}(${[...pointers, ...dims].join(', ')});`;
}

/** Locals of the calls of host functions. */
const HOST_NAMES = ({ program }: StepContext): readonly string[] => [
  'host_in',
  'host_out',
  ...hostSteps(program).flatMap((s) => s.inputs.map((_, k) => `host_shape_${k}`)),
];

function hostCall(cx: StepContext, entry: CEntry, sizes: Sizes, step: HostStep): string[] {
  const pointer = ({ ref, dtype }: HostStep['inputs'][number], write: boolean): string =>
    cx.places.pointer(entry, ref, write ? storageType(dtype) : `const ${storageType(dtype)}`, sizes.print);
  return printHostCall(
    step,
    hostSteps(cx.program).indexOf(step),
    cx,
    { pointer, size: (a) => a.shape.map(sizes.print) },
    ({ ref }) => cx.places.bufferOf(ref.buffer).elements,
  );
}

function bindLines(cx: StepContext, entry: CEntry, sizes: Sizes, step: Step & { kind: 'bind' }): string[] {
  const type = storageType(cx.places.bufferOf(step.from.buffer).dtype);
  const pointer = wrapPointer(cx.places.pointer(entry, step.from, `const ${type}`, sizes.print));
  const { lo, hi, checked } = step.sym;
  const top = Math.min(hi, 2 ** 31 - 1);
  if (checked)
    return [
      '{',
      `  const ${type} value = *${pointer};`,
      `  if (value < ${lo} || value > ${top}) return ${cx.upper}_BAD_SIZE;`,
      `  ${sizes.nameOf(step.sym.name)} = ${type === 'int32_t' ? '' : '(int32_t)'}value;`,
      '}',
    ];
  return [
    '{',
    `  const ${type} value = *${pointer};`,
    `  ${sizes.nameOf(step.sym.name)} = ${type === 'int32_t' ? '' : '(int32_t)'}(value < ${lo} ? ${lo} : value > ${top} ? ${top} : value);`,
    '}',
  ];
}

/** At most a few source nodes, each in the model's own words. */
function originLines(origins: readonly Origin[]): string[] {
  const texts = origins.map((o) => commentText([...o.path, `${o.op} ${o.node}`].join('/')));
  const shown = texts.length > 4 ? [...texts.slice(0, 4), `and ${texts.length - 4} more`] : texts;
  return shown.length ? [`/* ${shown.join(', ')} */`] : [];
}
