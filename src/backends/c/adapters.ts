// C tables that describe compiled models to a generic main: per entry its inputs and outputs, and a function that puts
// plain tensors into the entry's own structs. Used by the server (server.ts) and the .npy program (npy-main.ts).

import { DTYPE_INFO } from '../../support/dtype.js';
import { type CEntry, type CInterface, type CValue, maxBytes } from './interface.js';

/** A C string literal, safe for any text. */
export const cString = (text: string): string =>
  `"${[...new TextEncoder().encode(text)]
    .map((b) =>
      b >= 32 && b < 127 && b !== 34 && b !== 92 && b !== 63
        ? String.fromCharCode(b)
        : `\\${b.toString(8).padStart(3, '0')}`,
    )
    .join('')}"`;

const TYPES = (rank: number): string => `#define MAX_RANK ${rank}

typedef struct {
  void *data;
  int32_t dims[MAX_RANK];
} tensor;

typedef struct {
  const char *name, *dtype;
  uint32_t rank;
  size_t element_bytes, max_bytes;
  int32_t dims[MAX_RANK]; /* of inputs; -1 where a run decides */
} value_info;

typedef struct {
  const char *name;
  uint32_t inputs, outputs;
  const value_info *in, *out;
  int (*run)(const tensor *in, tensor *out, void *arena, void *state);
} entry_info;

typedef struct {
  const char *name;
  uint32_t entries;
  const entry_info *entry;
  size_t arena_bytes, state_bytes;
  void (*reset)(void *state);
} model_info;`;

/** Declares `static const model_info models[]`. The file includes the models' headers, stdint.h, stddef.h and string.h before. */
export function printAdapters(models: readonly CInterface[]): string {
  const values = models.flatMap((m) => m.entries.flatMap((e) => [...e.inputs, ...e.outputs]));
  const rank = Math.max(1, ...values.map((v) => v.value.shape.length));
  const infos = models.map((m, i) => {
    const entries = m.entries.map((e, j) => entryInfo(e, `${i}_${j}`));
    return `  {${cString(m.prefix)}, ${entries.length}, entries_${i}, ${m.upper}_ARENA_BYTES, ${m.upper}_STATE_BYTES, ${m.prefix}_reset},`;
  });
  const perModel = models.map((m, i) => {
    const functions = m.entries.map((e, j) => entryText(m, e, `${i}_${j}`));
    const rows = m.entries.map((e, j) => entryInfo(e, `${i}_${j}`));
    return `${functions.join('\n\n')}\n\nstatic const entry_info entries_${i}[] = {\n${rows.join('\n')}\n};`;
  });
  return [TYPES(rank), ...perModel, `static const model_info models[] = {\n${infos.join('\n')}\n};`].join('\n\n');
}

const entryInfo = (e: CEntry, id: string): string =>
  `  {${cString(e.entry.name)}, ${e.inputs.length}, ${e.outputs.length}, ${e.inputs.length ? `in_${id}` : 'NULL'}, ` +
  `${e.outputs.length ? `out_${id}` : 'NULL'}, run_${id}},`;

function entryText(m: CInterface, e: CEntry, id: string): string {
  const tables = [table(`in_${id}`, e.inputs), table(`out_${id}`, e.outputs)].filter(Boolean);
  return [...tables, runText(m, e, id)].join('\n\n');
}

function table(name: string, values: readonly CValue[]): string {
  if (values.length === 0) return '';
  const rows = values.map((v) => {
    const dims = v.value.shape.map((d) => (typeof d === 'number' ? d : -1)).join(', ') || '0';
    const { dtype } = v.value;
    return `  {${cString(v.value.name)}, ${cString(dtype)}, ${v.value.shape.length}, ${DTYPE_INFO[dtype].bytes}, ${maxBytes(v)}u, {${dims}}},`;
  });
  return `static const value_info ${name}[] = {\n${rows.join('\n')}\n};`;
}

/** Sizes come from the first axis that is exactly the symbol; other such axes must agree. */
function runText(m: CInterface, e: CEntry, id: string): string {
  const places = e.syms.map(({ sym }) =>
    e.inputs.flatMap((v, i) =>
      v.value.shape.flatMap((d, axis) =>
        typeof d !== 'number' && d.key === sym.name ? [`in[${i}].dims[${axis}]`] : [],
      ),
    ),
  );
  const lines = [
    `  ${e.inputsType} i;`,
    `  ${e.outputsType} o;`,
    '  int status;',
    ...(e.inputs.length ? [] : ['  (void)in;', ...(e.syms.length ? [] : ['  i.unused = 0;'])]),
    ...(e.outputs.length ? [] : ['  (void)out;']),
    ...e.inputs.map((v, k) => `  i.${v.field} = in[${k}].data;`),
    ...e.syms.map(({ field }, k) => `  i.${field} = ${places[k]?.[0] ?? '0'};`),
    ...places.flatMap((p) => p.slice(1).map((other) => `  if (${other} != ${p[0]}) return ${m.upper}_BAD_SIZE;`)),
    ...e.outputs.map((v, k) => `  o.${v.field} = out[${k}].data;`),
    `  status = ${e.functionName}(&i, &o, arena, state);`,
    ...e.outputs.flatMap((v, k) =>
      v.shapeField ? [`  if (status == 0) memcpy(out[${k}].dims, o.${v.shapeField}, sizeof o.${v.shapeField});`] : [],
    ),
    '  return status;',
  ];
  return `static int run_${id}(const tensor *in, tensor *out, void *arena, void *state) {\n${lines.join('\n')}\n}`;
}
