// Parts put together as one WGSL module, and so as one dispatch: parts that do not need each other's results take
// workgroups side by side, each a range of their numbers. Which part a workgroup runs is the same for all its
// invocations, so parts may use barriers. A buffer is bound once for all parts that use it.

import { invariant } from '../../support/errors.js';
import { collectTexts } from './collect.js';
import { findHelper } from './functions.js';
import type { Part, SharedArray } from './shader.js';
import { type Swaps, withoutMarks } from './subgroups.js';

/** Invocations of a workgroup, where a schedule gives it no work of its own. */
export const WORKGROUP = 64;

/** Of a module: a part that has work for more has it by itself, other parts use the first of them. */
export const lanesOf = (parts: readonly Part[]): number =>
  Math.max(WORKGROUP, ...parts.map((p) => (p.grid?.shared ? p.grid.lanes : 0)));

/** Whether parts can be one module: those that groups work on are for groups of one size. */
export const agreeOnLanes = (parts: readonly Part[]): boolean =>
  new Set(parts.flatMap((p) => (p.grid?.shared ? [p.grid.lanes] : []))).size <= 1;

export interface Placed {
  readonly part: Part;
  /** Which of the module's bindings each of the part's is. */
  readonly bindings: readonly number[];
}

export interface Shader {
  readonly name: string;
  readonly code: string;
  /** What a device with subgroups has in place of some of it. */
  readonly swaps: Swaps | null;
  readonly access: readonly ('read' | 'write')[];
}

/** The uniform: `width`, then for each part `end` of its workgroups, `total` of its invocations or groups, and its sizes. */
export function writeModule(placed: readonly Placed[]): Shader {
  const parts = placed.map((p) => p.part);
  const bindings = joinBindings(placed);
  const only = placed.length === 1;
  const helpers = new Set(parts.flatMap((p) => p.helpers));
  const names = (k: number): ReadonlyMap<string, string> => (only ? new Map() : renames(placed[k] as Placed));
  const lines = [
    ...(parts.some((p) => p.wide) ? ['alias wide = vec2<u32>;', ''] : []),
    'struct Sizes {',
    '  width: u32,',
    ...parts.flatMap((p, k) => [
      `  end_${k}: u32,`,
      `  total_${k}: u32,`,
      ...p.sizeNames.map((n) => `  ${sizeName(n, k, only)}: i32,`),
    ]),
    '}',
    '@group(0) @binding(0) var<uniform> sizes: Sizes;',
    ...bindings.map(
      (b, k) =>
        `@group(0) @binding(${k + 1}) var<storage, ${b.access === 'write' ? 'read_write' : 'read'}> ${b.name}: array<${b.type}>;`,
    ),
    '',
    ...collectTexts(helpers, findHelper).flatMap((t) => [t, '']),
    ...sharedArrays(parts).map((s) => `var<workgroup> ${only ? s.names[0] : s.name}: array<${s.type}, ${s.size}>;`),
    ...(only ? [] : parts.flatMap((p, k) => writeFunction(p, k, names(k), lanesOf(parts)))),
    ...writeMain(parts),
    '',
  ];
  const [first] = parts;
  invariant(first, 'a module has a part');
  const { code, swaps } = withoutMarks(lines);
  return { name: parts.map((p) => p.name).join(' + '), code, swaps, access: bindings.map((b) => b.access) };
}

const sizeName = (name: string, part: number, only: boolean): string => (only ? name : `part_${part}_${name}`);

interface Joined {
  name: string;
  type: string;
  access: 'read' | 'write';
}

function joinBindings(placed: readonly Placed[]): readonly Joined[] {
  const out: Joined[] = [];
  for (const { part, bindings } of placed)
    part.bindings.forEach((b, k) => {
      const at = bindings[k] as number;
      const known = out[at];
      invariant(!known || known.type === b.type, 'parts agree on the elements of a buffer');
      const name = placed.length === 1 ? b.name : `bound_${at}`;
      out[at] = { name, type: b.type, access: known?.access === 'write' ? 'write' : b.access };
    });
  return out;
}

function renames({ part, bindings }: Placed): ReadonlyMap<string, string> {
  return new Map([
    ...part.bindings.map((b, i): [string, string] => [b.name, `bound_${bindings[i]}`]),
    ...part.shared.map((s): [string, string] => [s.name, sharedName(part, s)]),
  ]);
}

/** Parts never run in one workgroup, so they share its memory: the first array of a type is the same in all of them. */
const sharedName = (part: Part, s: SharedArray): string =>
  `shared_${s.type.replace(/\W/g, '')}_${part.shared.filter((x) => x.type === s.type).indexOf(s)}`;

function sharedArrays(parts: readonly Part[]): readonly (SharedArray & { readonly names: readonly string[] })[] {
  const out = new Map<string, SharedArray & { readonly names: readonly string[] }>();
  for (const p of parts)
    for (const s of p.shared) {
      const name = sharedName(p, s);
      const known = out.get(name);
      out.set(name, {
        name,
        type: s.type,
        size: Math.max(s.size, known?.size ?? 0),
        names: [...(known?.names ?? []), s.name],
      });
    }
  return [...out.values()];
}

/** Bytes of workgroup memory that a module of these parts has. */
export const sharedBytes = (parts: readonly Part[]): number =>
  sharedArrays(parts).reduce((n, s) => n + s.size * elementBytes(s.type), 0);

const elementBytes = (type: string): number => (type.startsWith('vec4') ? 16 : type === 'wide' ? 8 : 4);

const rename = (line: string, names: ReadonlyMap<string, string>): string =>
  names.size === 0 ? line : line.replace(/(?<![.\w])[A-Za-z_]\w*/g, (word) => names.get(word) ?? word);

/** The statements of a part; `group` is the number of the workgroup among the part's. */
function bodyOf(
  p: Part,
  k: number,
  only: boolean,
  names: ReadonlyMap<string, string>,
  group: string,
  lanes: number,
): string[] {
  const place = !p.grid
    ? []
    : [
        ...(p.grid.shared || lanes === WORKGROUP ? [] : [`  if (lane >= ${WORKGROUP}u) { return; }`]),
        `  let at = ${p.grid.shared ? group : `${group} * ${WORKGROUP}u + lane`};`,
        `  if (at >= sizes.total_${k}) { return; }`,
        `  let ${p.grid.name}: i32 = i32(at);`,
      ];
  return [
    ...place,
    ...p.sizeNames.map((n) => `  let ${n}: i32 = sizes.${sizeName(n, k, only)};`),
    ...p.lines.map((l) => rename(l, names)),
  ];
}

/** A single invocation among others is the first of a workgroup. */
function writeFunction(p: Part, k: number, names: ReadonlyMap<string, string>, lanes: number): string[] {
  const single = p.grid ? [] : ['  if (lane != 0u) { return; }'];
  return [`fn part_${k}(group: u32, lane: u32) {`, ...single, ...bodyOf(p, k, false, names, 'group', lanes), '}', ''];
}

function writeMain(parts: readonly Part[]): string[] {
  const [first] = parts;
  if (first && parts.length === 1 && !first.grid)
    return [
      '@compute @workgroup_size(1, 1, 1)',
      'fn main() {',
      ...bodyOf(first, 0, true, new Map(), '', WORKGROUP),
      '}',
    ];
  const head = [
    `@compute @workgroup_size(${lanesOf(parts)}, 1, 1)`,
    'fn main(@builtin(workgroup_id) place: vec3<u32>, @builtin(local_invocation_index) lane: u32) {',
    '  let group = place.y * sizes.width + place.x;',
  ];
  if (first && parts.length === 1) return [...head, ...bodyOf(first, 0, true, new Map(), 'group', lanesOf(parts)), '}'];
  const calls = parts.map((_, k) => {
    const start = k === 0 ? '' : ` - sizes.end_${k - 1}`;
    return `  ${k === 0 ? '' : 'else '}if (group < sizes.end_${k}) { part_${k}(group${start}, lane); }`;
  });
  return [...head, ...calls, '}'];
}
