// Where a device has subgroups, the partial results of a group come together by them: one instruction for those of a subgroup,
// and then as many as there are subgroups. The text of a kernel marks what they replace, and a plan holds the replacements,
// so that the same artifact serves devices with and without. A device gives the same bits each time either way.

/** Texts to put in place of others, in order. */
export type Swaps = readonly (readonly [from: string, to: string])[];

const MARK = /^\s*\/\/<(\w+) (\w+)\[/;
const END = '//>';

/** NaN must win an extremum, which subgroups do not promise; these are for what they do as kernels mean it. */
const OPERATIONS: Readonly<Record<string, (x: string, y: string) => string>> = {
  add: (x, y) => `${x} + ${y}`,
};

/** Lines around the way every device has. `args`: where the result will be. */
export function markGroup(name: string, [place = '']: readonly string[]): readonly [string, string] | null {
  const op = name.replace('group_', '');
  return OPERATIONS[op] ? [`//<${op} ${place}`, END] : null;
}

export interface Marked {
  /** Without the marks. */
  readonly code: string;
  /** For a device with subgroups; null: nothing to gain. */
  readonly swaps: Swaps | null;
}

const LANE = '@builtin(local_invocation_index) lane: u32) {';
const BUILTINS = [
  '@builtin(subgroup_invocation_id) in_subgroup: u32',
  '@builtin(subgroup_id) subgroup: u32',
  '@builtin(num_subgroups) subgroups: u32',
];

export function withoutMarks(marked: readonly string[]): Marked {
  const lines: string[] = [];
  const swaps: [string, string][] = [];
  let open: { readonly from: number; readonly op: string; readonly tile: string } | null = null;
  for (const line of marked) {
    const [, op, tile] = MARK.exec(line) ?? [];
    if (op && tile) open = { from: lines.length, op, tile };
    else if (open && line.trim() === END) {
      swaps.push([lines.slice(open.from).join('\n'), bySubgroups(open.op, open.tile)]);
      open = null;
    } else lines.push(line);
  }
  const code = lines.join('\n');
  if (swaps.length === 0) return { code, swaps: null };
  const first = lines[0] as string;
  const privates = 'var<private> of_subgroup: vec3<u32>;';
  const main = `${LANE.replace(') {', '')}, ${BUILTINS.join(', ')}) {\n  of_subgroup = vec3<u32>(in_subgroup, subgroup, subgroups);`;
  return {
    code,
    swaps: [[first, `enable subgroups;\nrequires subgroup_id;\n${privates}\n${first}`], ...swaps, [LANE, main]],
  };
}

function bySubgroups(op: string, tile: string): string {
  const both = OPERATIONS[op] as (x: string, y: string) => string;
  return `  {
    let whole = subgroup${op[0]?.toUpperCase()}${op.slice(1)}(${tile}[lane]);
    workgroupBarrier();
    if (of_subgroup.x == 0u) { ${tile}[of_subgroup.y] = whole; }
    workgroupBarrier();
    if (lane == 0u) {
      var all = ${tile}[0];
      for (var k = 1u; k < of_subgroup.z; k++) { all = ${both('all', `${tile}[k]`)}; }
      ${tile}[0] = all;
    }
    workgroupBarrier();
  }`;
}
