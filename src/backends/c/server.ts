// A C program that runs many compiled models: requests on stdin, replies on stdout, until stdin ends. load-node.ts talks to
// it; the tests of every operator go through it. It may use the C library; the models may not.
//
// Integers are little-endian. Request: u32 model, u32 command, u32 entry, u32 count, and per input u32 rank, i32 dims, u64
// bytes, the bytes. Reply: u64 length of what follows, u32 status, u32 count, and per output the same. Commands: 0 run;
// 1 reset; 2 time (after the inputs u32 repeats; one run to warm up, then the reply is u64 nanoseconds of the repeats);
// 3 marks (a profiling build's, since the last time: count pairs of i64 point, i64 nanoseconds).
//
// A model's host steps come back while it runs, as a reply with status HOST: u32 model, u32 step, u32 count and the inputs
// as above. It is answered with u32 status, and if that is 0 with u64 bytes and the bytes of each output.

import type { Program } from '../../ir/program.js';
import { DTYPE_INFO } from '../../support/dtype.js';
import { printAdapters } from './adapters.js';
import { printAllocate } from './allocate.js';
import { type HostStep, hostSteps } from './host-steps.js';
import { describeInterface } from './interface.js';

export const RUN = 0;
export const RESET = 1;
export const TIME = 2;
export const MARKS = 3;
export const HOST = 0xffffffff;

/** `profile`: for models that were emitted with it. */
export function emitServer(
  models: readonly { readonly prefix: string; readonly program: Program }[],
  profile = false,
): string {
  const interfaces = models.map((m) => describeInterface(m.program, m.prefix));
  return `/* Runs models on request; heddle's backends/c/server.ts states the protocol. */
#define _POSIX_C_SOURCE 199309L
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

${models.map((m) => `#include "${m.prefix}.h"`).join('\n')}

${printAdapters(interfaces)}

${CLOCK}

${profile ? PROFILE_MARKS : NO_MARKS}

${SERVER}${printHosts(models)}`;
}

/** The functions that models with host steps call. */
function printHosts(models: readonly { readonly prefix: string; readonly program: Program }[]): string {
  const functions = models.flatMap(({ prefix, program }, model) => {
    const cases = hostSteps(program).map((s, k) => printHostCase(s, model, k));
    if (cases.length === 0) return [];
    const head = `int ${prefix}_host(int32_t step, const ${prefix}_host_input *in, const ${prefix}_host_output *out)`;
    return [`${head} {\n  (void)in;\n  (void)out;\n  switch (step) {\n${cases.join('\n')}\n  }\n  return 1;\n}`];
  });
  return functions.length > 0 ? `\n${HOST_CALL}\n\n${functions.join('\n\n')}\n` : '';
}

function printHostCase({ inputs, outputs }: HostStep, model: number, step: number): string {
  const rows = inputs.map((a, k) => `{in[${k}].data, in[${k}].shape, in[${k}].rank, ${DTYPE_INFO[a.dtype].bytes}}`);
  const rooms = outputs.map((a, k) => `{out[${k}].data, out[${k}].room * ${DTYPE_INFO[a.dtype].bytes}}`);
  return `    case ${step}: {
      const host_from from[] = {${rows.join(', ') || '{0, 0, 0, 0}'}};
      const host_into into[] = {${rooms.join(', ') || '{0, 0}'}};
      return call_host(${model}, ${step}, ${inputs.length}, from, ${outputs.length}, into);
    }`;
}

const HOST_CALL = `typedef struct {
  const void *data;
  const int32_t *shape;
  int32_t rank, element_bytes;
} host_from;

typedef struct {
  void *data;
  int64_t bytes;
} host_into;

static uint64_t from_bytes(const host_from *f) {
  uint64_t bytes = (uint64_t)f->element_bytes;
  for (int32_t i = 0; i < f->rank; ++i) bytes *= (uint64_t)f->shape[i];
  return bytes;
}

static int call_host(uint32_t model, uint32_t step, uint32_t inputs, const host_from *from, uint32_t outputs, const host_into *into) {
  uint64_t length = 16;
  for (uint32_t i = 0; i < inputs; ++i) length += 4 + 4 * (uint64_t)from[i].rank + 8 + from_bytes(&from[i]);
  put_u64(length);
  put_u32(0xffffffffu);
  put_u32(model);
  put_u32(step);
  put_u32(inputs);
  for (uint32_t i = 0; i < inputs; ++i) {
    put_u32((uint32_t)from[i].rank);
    put(from[i].shape, 4 * (size_t)from[i].rank);
    put_u64(from_bytes(&from[i]));
    put(from[i].data, (size_t)from_bytes(&from[i]));
  }
  fflush(stdout);
  if (get_u32() != 0) return 1;
  for (uint32_t i = 0; i < outputs; ++i) {
    uint64_t bytes;
    if (!get(&bytes, sizeof bytes) || bytes > (uint64_t)into[i].bytes) fail("a host function gave too much");
    if (!get(into[i].data, (size_t)bytes)) fail("a host function's answer ends early");
  }
  return 0;
}`;

const CLOCK = `static int64_t nanoseconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}`;

/** The models call heddle_mark before and after each step. */
const PROFILE_MARKS = `static struct {
  int64_t point, at;
} *marks;
static size_t mark_count, mark_room;

void heddle_mark(int32_t point);

void heddle_mark(int32_t point) {
  if (mark_count == mark_room) {
    mark_room = mark_room ? 2 * mark_room : 4096;
    marks = realloc(marks, mark_room * sizeof *marks);
    if (!marks) exit(70);
  }
  marks[mark_count].point = point;
  marks[mark_count++].at = nanoseconds();
}`;

const NO_MARKS = 'static const char *marks;\nstatic size_t mark_count;';

const SERVER = `#define MODELS (sizeof models / sizeof models[0])

static void *arenas[MODELS], *states[MODELS];

static void fail(const char *why) {
  fprintf(stderr, "server: %s\\n", why);
  exit(70);
}

${printAllocate('fail("out of memory")')}

/* 0 at the end of input. */
static int get(void *into, size_t bytes) {
  return fread(into, 1, bytes, stdin) == bytes;
}

static uint32_t get_u32(void) {
  uint32_t v;
  if (!get(&v, sizeof v)) fail("a request ends early");
  return v;
}

static void put(const void *from, size_t bytes) {
  if (fwrite(from, 1, bytes, stdout) != bytes) exit(0);
}

static void put_u32(uint32_t v) {
  put(&v, sizeof v);
}

static void put_u64(uint64_t v) {
  put(&v, sizeof v);
}

static void read_tensor(tensor *t, const value_info *info) {
  uint64_t bytes;
  const uint32_t rank = get_u32();
  if (rank != info->rank) fail("an input has another rank");
  for (uint32_t i = 0; i < rank; ++i) t->dims[i] = (int32_t)get_u32();
  if (!get(&bytes, sizeof bytes)) fail("a request ends early");
  t->data = allocate((size_t)bytes);
  if (!get(t->data, (size_t)bytes)) fail("a request ends early");
}

static uint64_t tensor_bytes(const tensor *t, const value_info *info) {
  uint64_t bytes = info->element_bytes;
  for (uint32_t i = 0; i < info->rank; ++i) bytes *= (uint64_t)t->dims[i];
  return bytes;
}

static void reply(int status, uint32_t count, const tensor *t, const value_info *info) {
  uint64_t length = 8;
  for (uint32_t i = 0; i < count; ++i) length += 4 + 4 * (uint64_t)info[i].rank + 8 + tensor_bytes(&t[i], &info[i]);
  put_u64(length);
  put_u32((uint32_t)status);
  put_u32(count);
  for (uint32_t i = 0; i < count; ++i) {
    const uint64_t bytes = tensor_bytes(&t[i], &info[i]);
    put_u32(info[i].rank);
    put(t[i].dims, 4 * (size_t)info[i].rank);
    put_u64(bytes);
    put(t[i].data, (size_t)bytes);
  }
  fflush(stdout);
}

static void reply_marks(void) {
  put_u64(8 + mark_count * sizeof *marks);
  put_u32(0);
  put_u32((uint32_t)mark_count);
  put(marks, mark_count * sizeof *marks);
  fflush(stdout);
  mark_count = 0;
}

static void reply_time(int status, int64_t time) {
  put_u64(16);
  put_u32((uint32_t)status);
  put_u32(0);
  put_u64((uint64_t)time);
  fflush(stdout);
}

static void run(uint32_t model, const entry_info *e, int timed) {
  tensor *in = allocate(e->inputs * sizeof *in);
  tensor *out = allocate(e->outputs * sizeof *out);
  int status;
  uint32_t repeats = 0;
  for (uint32_t i = 0; i < e->inputs; ++i) read_tensor(&in[i], &e->in[i]);
  if (timed) repeats = get_u32();
  for (uint32_t i = 0; i < e->outputs; ++i) out[i].data = allocate(e->out[i].max_bytes);
  if (!arenas[model]) arenas[model] = allocate(models[model].arena_bytes);
  status = e->run(in, out, arenas[model], states[model]);
  if (timed) {
    const int64_t start = nanoseconds();
    for (uint32_t i = 0; i < repeats && status == 0; ++i) status = e->run(in, out, arenas[model], states[model]);
    reply_time(status, nanoseconds() - start);
  } else {
    reply(status, status ? 0 : e->outputs, out, e->out);
  }
  for (uint32_t i = 0; i < e->inputs; ++i) release(in[i].data);
  for (uint32_t i = 0; i < e->outputs; ++i) release(out[i].data);
  release(in);
  release(out);
}

int main(void) {
  uint32_t model;
  while (get(&model, sizeof model)) {
    const uint32_t command = get_u32(), entry = get_u32(), count = get_u32();
    if (model >= MODELS || command > 3) fail("an unknown model or command");
    if (!states[model] || command == 1) {
      if (!states[model]) states[model] = allocate(models[model].state_bytes);
      models[model].reset(states[model]);
    }
    if (command == 1) {
      reply(0, 0, NULL, NULL);
    } else if (command == 3) {
      reply_marks();
    } else {
      if (entry >= models[model].entries || count != models[model].entry[entry].inputs) fail("an unknown entry");
      run(model, &models[model].entry[entry], command == 2);
    }
  }
  for (size_t i = 0; i < MODELS; ++i) {
    release(arenas[i]);
    release(states[i]);
  }
  return 0;
}
`;
