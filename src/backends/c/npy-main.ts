// main.c: runs a compiled model on .npy files. It may use the C library; the model does not.

import { printAdapters } from './adapters.js';
import { printAllocate } from './allocate.js';
import type { CInterface } from './interface.js';

export const printMain = (c: CInterface): string => `/* Runs ${c.prefix} on .npy files:
 *   ${c.prefix} [-e ENTRY] [-o DIRECTORY] INPUT=FILE.npy ...
 * Each output becomes DIRECTORY/<output>.npy. Bytes are taken as they are: this machine must be little-endian.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "${c.prefix}.h"

${printAdapters([c])}

${MAIN}`;

const MAIN = `/* numpy's name for an element type */
static const char *descr_of(const char *dtype) {
  static const char *const names[][2] = {
      {"f64", "<f8"}, {"f32", "<f4"}, {"f16", "<f2"}, {"bf16", "<u2"}, {"i64", "<i8"}, {"i32", "<i4"}, {"i16", "<i2"},
      {"i8", "|i1"},  {"i4", "|i1"},  {"i2", "|i1"},  {"u64", "<u8"},  {"u32", "<u4"}, {"u16", "<u2"}, {"i1", "|b1"}};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; ++i) {
    if (strcmp(dtype, names[i][0]) == 0) return names[i][1];
  }
  return "|u1";
}

static void fail(const char *what, const char *about) {
  fprintf(stderr, "%s: %s\\n", about, what);
  exit(1);
}

${printAllocate('fail("out of memory", "run")')}

/* The value after a key of the header's dictionary. */
static const char *header_value(const char *header, const char *key, const char *path) {
  const char *at = strstr(header, key);
  at = at ? strchr(at, ':') : NULL;
  if (!at) fail("this is no .npy header", path);
  do ++at;
  while (*at == ' ');
  return at;
}

static void check_header(const char *header, tensor *t, const value_info *info, const char *path) {
  const char *descr = header_value(header, "'descr'", path);
  const char *shape = header_value(header, "'shape'", path);
  uint32_t rank = 0;
  if (strncmp(descr + 1, descr_of(info->dtype), 3) != 0 && !(descr[1] == '=' || descr[1] == '|')) {
    fail("elements are of another type", path);
  }
  if (strncmp(header_value(header, "'fortran_order'", path), "False", 5) != 0) fail("the order is Fortran's", path);
  for (const char *at = shape + 1; *at != ')' && *at != '\\0';) {
    char *end;
    const long dim = strtol(at, &end, 10);
    if (end == at || rank >= info->rank) fail("the number of axes differs", path);
    if (info->dims[rank] >= 0 && info->dims[rank] != dim) fail("an axis has another length", path);
    t->dims[rank++] = (int32_t)dim;
    for (at = end; *at == ',' || *at == ' ' || *at == 'L';) ++at;
  }
  if (rank != info->rank) fail("the number of axes differs", path);
}

static size_t tensor_bytes(const tensor *t, const value_info *info) {
  size_t bytes = info->element_bytes;
  for (uint32_t i = 0; i < info->rank; ++i) bytes *= (size_t)t->dims[i];
  return bytes;
}

static void read_npy(tensor *t, const value_info *info, const char *path) {
  unsigned char start[12];
  size_t length;
  char *header;
  FILE *f = fopen(path, "rb");
  if (!f) fail("cannot be opened", path);
  if (fread(start, 1, 10, f) != 10 || memcmp(start, "\\x93NUMPY", 6) != 0) fail("this is no .npy file", path);
  length = (size_t)start[8] | (size_t)start[9] << 8;
  if (start[6] > 1) {
    if (fread(start + 10, 1, 2, f) != 2) fail("ends early", path);
    length |= (size_t)start[10] << 16 | (size_t)start[11] << 24;
  }
  header = allocate(length + 1);
  if (fread(header, 1, length, f) != length) fail("ends early", path);
  header[length] = '\\0';
  check_header(header, t, info, path);
  t->data = allocate(tensor_bytes(t, info));
  if (fread(t->data, 1, tensor_bytes(t, info), f) != tensor_bytes(t, info)) fail("ends early", path);
  release(header);
  fclose(f);
}

static void write_npy(const tensor *t, const value_info *info, const char *directory) {
  char header[512], shape[256], path[1024];
  size_t used = 0;
  FILE *f;
  shape[0] = '\\0';
  for (uint32_t i = 0; i < info->rank; ++i) {
    used += (size_t)snprintf(shape + used, sizeof shape - used, "%ld%s", (long)t->dims[i], i + 1 < info->rank ? ", " : "");
  }
  snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': (%s%s), }", descr_of(info->dtype), shape,
           info->rank == 1 ? "," : "");
  snprintf(path, sizeof path, "%s/%s.npy", directory, info->name);
  for (char *at = path + strlen(directory) + 1; *at != '\\0'; ++at) {
    if (*at == '/' || *at == ':') *at = '_';
  }
  f = fopen(path, "wb");
  if (!f) fail("cannot be written", path);
  used = strlen(header);
  while ((10 + used + 1) % 64 != 0) header[used++] = ' ';
  header[used++] = '\\n';
  fwrite("\\x93NUMPY\\x01\\x00", 1, 8, f);
  fputc((int)(used & 255u), f);
  fputc((int)(used >> 8), f);
  fwrite(header, 1, used, f);
  if (fwrite(t->data, 1, tensor_bytes(t, info), f) != tensor_bytes(t, info)) fail("cannot be written", path);
  fclose(f);
  printf("%s\\n", path);
}

static const entry_info *find_entry(const char *name) {
  for (uint32_t i = 0; i < models[0].entries; ++i) {
    if (!name || strcmp(models[0].entry[i].name, name) == 0) return &models[0].entry[i];
  }
  fail("no such entry", name);
  return NULL;
}

int main(int argc, char **argv) {
  const char *directory = ".", *name = NULL;
  const entry_info *e;
  tensor *in, *out;
  void *arena = allocate(models[0].arena_bytes), *state = allocate(models[0].state_bytes);
  for (int i = 1; i + 1 < argc; ++i) {
    if (strcmp(argv[i], "-e") == 0) name = argv[++i];
    else if (strcmp(argv[i], "-o") == 0) directory = argv[++i];
  }
  e = find_entry(name);
  in = allocate(e->inputs * sizeof *in);
  out = allocate(e->outputs * sizeof *out);
  for (uint32_t i = 0; i < e->inputs; ++i) {
    const size_t length = strlen(e->in[i].name);
    const char *path = NULL;
    for (int k = 1; k < argc; ++k) {
      if (strncmp(argv[k], e->in[i].name, length) == 0 && argv[k][length] == '=') path = argv[k] + length + 1;
    }
    if (!path) fail("this input is missing: NAME=FILE.npy", e->in[i].name);
    read_npy(&in[i], &e->in[i], path);
  }
  for (uint32_t i = 0; i < e->outputs; ++i) out[i].data = allocate(e->out[i].max_bytes);
  models[0].reset(state);
  if (e->run(in, out, arena, state) != 0) fail("a size is out of its bounds", models[0].name);
  for (uint32_t i = 0; i < e->outputs; ++i) write_npy(&out[i], &e->out[i], directory);
  for (uint32_t i = 0; i < e->inputs; ++i) release(in[i].data);
  for (uint32_t i = 0; i < e->outputs; ++i) release(out[i].data);
  release(in);
  release(out);
  release(arena);
  release(state);
  return 0;
}
`;
