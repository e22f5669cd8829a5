// Where a run's time goes: a profiling build looks at the clock around every kernel and host step (profile-points.ts), and
// the marks become events, one a step. profile-report.ts shows them under the model's own node names.

import { createInterpreter } from '../backends/interp/interpreter.js';
import { type Mark, NO_POINT, type ProfiledStep, profilePoints } from '../backends/profile-points.js';
import type { Program } from '../ir/program.js';
import type { RuntimeTensor, Session } from '../runtime/session.js';
import { invariant } from '../support/errors.js';
import type { Target } from './targets.js';

/** Steps of the program that run as one. */
export type ProfilePoint = readonly ProfiledStep[];

/** One step from its beginning to its end, in milliseconds. */
export interface ProfileEvent {
  readonly point: number;
  readonly start: number;
  readonly end: number;
}

export interface ProfiledSession {
  readonly session: Session;
  /** By the numbers of the marks. */
  readonly points: readonly ProfilePoint[];
  /** What happened since the last call. */
  readonly marks: () => Promise<readonly Mark[]>;
}

/** A session that notes when each step begins and ends. */
export async function openProfiled(target: Target, program: Program): Promise<ProfiledSession> {
  switch (target) {
    case 'interp':
      return profileInterpreter(program);
    case 'wasm': {
      const { instantiateWasm } = await import('../backends/wasm/load.js');
      const { marks, mark } = collectMarks();
      return { session: await instantiateWasm(program, mark), points: singlePoints(program), marks };
    }
    case 'c': {
      const { buildC } = await import('../backends/c/load-node.js');
      const session = (await buildC([{ name: 'model', program }], { profile: true })).get('model');
      invariant(session, 'the one program was built');
      return { session, points: singlePoints(program), marks: session.marks };
    }
    case 'webgpu':
      return profileGpu(program);
  }
}

const singlePoints = (program: Program): readonly ProfilePoint[] => profilePoints(program).map((step) => [step]);

function collectMarks(): { mark: (point: number) => void; marks: () => Promise<readonly Mark[]> } {
  let noted: Mark[] = [];
  const mark = (point: number): void => void noted.push({ point, at: performance.now() });
  const marks = async (): Promise<readonly Mark[]> => {
    const taken = noted;
    noted = [];
    return taken;
  };
  return { mark, marks };
}

/** For targets that only say when a step is over: the next begins then. */
function collectEnds(): {
  begin: () => void;
  end: (point: number | undefined) => void;
  marks: ProfiledSession['marks'];
} {
  const { mark, marks } = collectMarks();
  let begun = performance.now();
  const starts: number[] = [];
  return {
    begin: () => {
      begun = performance.now();
    },
    end: (point) => {
      if (point !== undefined) {
        starts.push(begun);
        mark(point);
      }
      begun = performance.now();
    },
    marks: async () => {
      const ends = await marks();
      const begins = starts.splice(0);
      return ends.flatMap(({ point, at }, i) => [
        { point, at: begins[i] as number },
        { point: NO_POINT, at },
      ]);
    },
  };
}

function profileInterpreter(program: Program): ProfiledSession {
  const { begin, end, marks } = collectEnds();
  const points = new Map<unknown, number>(profilePoints(program).map((step, i) => [step, i]));
  const session = createInterpreter(program, { onStep: (step) => end(points.get(step)) });
  const run: Session['run'] = (inputs, entry) => {
    begin();
    return session.run(inputs, entry);
  };
  return { session: { ...session, run }, points: singlePoints(program), marks };
}

/** Each step is waited for, which takes some time of its own; in a usual run they overlap. */
async function profileGpu(program: Program): Promise<ProfiledSession> {
  const [{ openPlan }, { computingSteps, planProgram }, { sharedDevice }] = await Promise.all([
    import('../backends/webgpu/session.js'),
    import('../backends/webgpu/plan.js'),
    import('../backends/webgpu/device-node.js'),
  ]);
  const planned = planProgram(program);
  const steps = planned.plan.entries.flatMap((e) => computingSteps(e.steps));
  const points = new Map<unknown, number>(steps.map((step, i) => [step, i]));
  const { end, marks } = collectEnds();
  const session = await openPlan(program, planned, await sharedDevice(), (step) => end(points.get(step)));
  return { session, points: planned.sources, marks };
}

/** Steps do not nest: each mark with a point ends at the next. */
export function pairMarks(marks: readonly Mark[]): readonly ProfileEvent[] {
  return marks.flatMap(({ point, at }, i) => {
    if (point === NO_POINT) return [];
    return [{ point, start: at, end: marks[i + 1]?.at ?? at }];
  });
}

/** Engines compile hot code in the background: so long before the clock counts. */
const WARM_UP_MS = 300;

/** Runs for a while to warm up, then so many times with the clock on; the events run by run. */
export async function profileRuns(
  profiled: ProfiledSession,
  inputs: Readonly<Record<string, RuntimeTensor>>,
  runs: number,
): Promise<{ events: readonly (readonly ProfileEvent[])[]; outputs: Record<string, RuntimeTensor> }> {
  const { session, marks } = profiled;
  for (const start = performance.now(); ; await marks()) {
    await session.run(inputs);
    if (performance.now() - start >= WARM_UP_MS) break;
  }
  const events: (readonly ProfileEvent[])[] = [];
  let outputs: Record<string, RuntimeTensor> = {};
  await marks();
  for (let i = 0; i < runs; i++) {
    await session.reset();
    outputs = await session.run(inputs);
    events.push(pairMarks(await marks()));
  }
  return { events, outputs };
}
