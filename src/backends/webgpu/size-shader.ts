// Sizes that only the device knows, evaluated there: the shader takes instructions over counts and writes what a dispatch
// needs, its slot of the uniforms and how many workgroups it has. The host writes the instructions (executor/sizes.ts,
// executor/open-sizes.ts); their numbers are the positions in the list below.

/** Operations on two numbers, by name: those of a size's data. */
const BINARY: Readonly<Record<string, string>> = {
  '+': 'a + b',
  '*': 'a * b',
  '//': '(a - floored(a, b)) / b',
  '%': 'floored(a, b)',
  min: 'min(a, b)',
  max: 'max(a, b)',
  sub: 'a - b',
  div: 'a / b',
  rem: 'a % b',
  eq: 'select(0, 1, a == b)',
  lt: 'select(0, 1, a < b)',
  le: 'select(0, 1, a <= b)',
  and: 'a & b',
  or: 'a | b',
  xor: 'a ^ b',
  shl: 'a << min(u32(b), 31u)',
  shr_s: 'a >> min(u32(b), 31u)',
};

/** `const v`; `count32` and `count64` take a pair of words, lo and hi; `part` whether it counts workgroups; `word` none. */
const CODES: readonly string[] = ['const', 'count32', 'count64', 'part', 'word', 'select', ...Object.keys(BINARY)];

export interface SizeShader {
  readonly code: string;
  readonly instructions: readonly string[];
}

/** Of workgroups of `workgroup` invocations. */
export function sizeShader(workgroup: number): SizeShader {
  const number = (name: string): number => CODES.indexOf(name);
  const code = `struct Batch { first: u32, jobs: u32, most: u32 }
@group(0) @binding(0) var<uniform> batch: Batch;
@group(0) @binding(1) var<storage, read> instructions: array<i32>;
@group(0) @binding(2) var<storage, read> counts: array<i32>;
@group(0) @binding(3) var<storage, read_write> slots: array<i32>;
@group(0) @binding(4) var<storage, read_write> groups: array<u32>;
var<private> stack: array<i32, 32>;

fn floored(a: i32, b: i32) -> i32 { return ((a % b) + b) % b; }

fn clamped(low: i32, high: i32, lo: i32, hi: i32) -> i32 {
  if (high < 0) { return lo; }
  if (high > 0 || low < 0) { return hi; }
  return clamp(low, lo, hi);
}

fn size_dispatch(start: u32, end: u32) {
  let slot = u32(instructions[start]);
  var at = start + 1u;
  var top = 0;
  var word = slot * 64u + 1u;
  var all = 0u;
  while (at < end) {
    let op = instructions[at];
    at++;
    switch (op) {
      case ${number('const')}: {
        stack[top] = instructions[at];
        top++;
        at++;
      }
      case ${number('count32')}, ${number('count64')}: {
        let k = instructions[at] * 2;
        let high = select(counts[k] >> 31u, counts[k + 1], op == ${number('count64')});
        stack[top] = clamped(counts[k], high, instructions[at + 1u], instructions[at + 2u]);
        top++;
        at += 3u;
      }
      case ${number('part')}: {
        top--;
        let n = u32(max(stack[top], 0));
        all += select((n + ${workgroup - 1}u) / ${workgroup}u, n, instructions[at] == 1);
        at++;
        slots[word] = i32(all);
        slots[word + 1u] = i32(n);
        word += 2u;
      }
      case ${number('word')}: {
        top--;
        slots[word] = stack[top];
        word++;
      }
      case ${number('select')}: {
        top -= 2;
        stack[top - 1] = select(stack[top + 1], stack[top], stack[top - 1] != 0);
      }
      default: {
        top--;
        let a = stack[top - 1];
        let b = stack[top];
        var c = 0;
        switch (op) {
${Object.entries(BINARY)
  .map(([name, text]) => `          case ${number(name)}: { c = ${text}; }`)
  .join('\n')}
          default: {}
        }
        stack[top - 1] = c;
      }
    }
  }
  let rows = max(1u, (all + batch.most - 1u) / batch.most);
  let width = (all + rows - 1u) / rows;
  slots[slot * 64u] = i32(width);
  groups[slot * 4u] = width;
  groups[slot * 4u + 1u] = rows;
  groups[slot * 4u + 2u] = 1u;
}

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(local_invocation_index) lane: u32) {
  var at = batch.first;
  for (var job = 0u; job < batch.jobs; job++) {
    let next = u32(instructions[at]);
    if (job % 64u == lane) { size_dispatch(at + 1u, next); }
    at = next;
  }
}
`;
  return { code, instructions: CODES };
}
