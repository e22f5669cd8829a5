// What becomes of each node of a model on each target: all gaps in one go, each with its reason and what to do.
// `compiled`: the node is one primitive or less; `composed`: several; `host`: only a host function runs it.

import { type CompileOptions, importSource, lowerToProgram } from '../../compile.js';
import { twinNodes } from '../../backends/webgpu/strict.js';
import type { NodeOutcome } from '../../frontend/import.js';
import type { SourceModel } from '../../frontend/source.js';
import type { Origin, Program } from '../../ir/program.js';
import type { Module } from '../../ir/tensor.js';
import { CompileError, formatProblem, type Problem } from '../../support/errors.js';
import { hostSteps, type Target } from '../targets.js';
import { NO_WORK, type NodeWork, workByNode } from './node-work.js';
import { type ModelCoverage, type NodeCoverage, percentOf, type TargetCoverage } from './report.js';

/** Checks whether a program can be written for a target; throws CompileError. */
export type Emit = (target: Target, program: Program) => Promise<void>;

export async function coverModel(
  model: SourceModel,
  targets: readonly Target[],
  options: CompileOptions,
  emit: Emit,
): Promise<ModelCoverage> {
  const { outcomes, module, problems } = importWhole(model, options);
  const general = [...problems];
  const perTarget = new Map<Target, TargetFindings>();
  for (const target of targets) {
    const found = module ? await coverTarget(module, target, options, emit) : NOTHING;
    perTarget.set(target, found);
    for (const p of found.problems) if (!general.some((q) => q.message === p.message)) general.push(p);
  }
  const work = module ? workByNode(module, originKey) : new Map<string, NodeWork>();
  const nodes = outcomes.map((o) => describe(o, targets, perTarget, work));
  const percent = percentages(nodes, targets, general);
  return { file: model.file, nodes, percent, assumed: {}, problems: general.map(formatProblem) };
}

interface WholeImport {
  readonly outcomes: readonly NodeOutcome[];
  readonly module: Module | undefined;
  readonly problems: readonly Problem[];
}

function importWhole(model: SourceModel, options: CompileOptions): WholeImport {
  const outcomes = new Map<string, NodeOutcome>();
  const onNode = (o: NodeOutcome): void => void outcomes.set(keyOf(o.node.op, o.node.index, o.path), o);
  try {
    const module = importSource(model, { ...options, onNode });
    return { outcomes: [...outcomes.values()], module, problems: [] };
  } catch (error) {
    if (!(error instanceof CompileError)) throw error;
    const known = new Set([...outcomes.values()].flatMap((o) => o.problems));
    return {
      outcomes: [...outcomes.values()],
      module: undefined,
      problems: error.problems.filter((p) => !known.has(p)),
    };
  }
}

const keyOf = (op: string, index: number, path: readonly string[]): string => JSON.stringify([path, index, op]);
const originKey = (o: Origin): string => keyOf(o.op, o.index, o.path);

interface TargetFindings {
  readonly nodes: ReadonlyMap<string, TargetCoverage>;
  /** Of nodes that compile. */
  readonly notes: ReadonlyMap<string, string>;
  readonly problems: readonly Problem[];
}

const NOTHING: TargetFindings = { nodes: new Map(), notes: new Map(), problems: [] };

/** Host nodes and what the target itself refuses. */
async function coverTarget(
  module: Module,
  target: Target,
  options: CompileOptions,
  emit: Emit,
): Promise<TargetFindings> {
  const nodes = new Map<string, TargetCoverage>();
  const refused = new Map<string, TargetCoverage>();
  const notes = new Map<string, string>();
  const problems: Problem[] = [];
  try {
    const program = lowerToProgram(module, { ...options, target });
    for (const step of hostSteps(program)) for (const o of step.origins) nodes.set(originKey(o), hostCoverage(target));
    await emit(target, program);
    for (const { origin, reason } of target === 'webgpu' ? [...twinNodes(program)].reverse() : [])
      notes.set(originKey(origin), `runs in the WebAssembly twin: ${reason}`); // the first of a node's kernels stands
  } catch (error) {
    if (!(error instanceof CompileError)) throw error;
    for (const p of error.problems) {
      if (p.at?.node === undefined && p.at?.operator === undefined) problems.push(p);
      else refused.set(placeKey(p.at.node ?? '', p.at.operator), unsupported([p]));
    }
  }
  for (const [key, coverage] of refused) nodes.set(key, coverage);
  return { nodes, notes, problems };
}

/** Problems of back ends know the node's name and position, not the way to it. */
const placeKey = (node: string, index: number | undefined): string => `${node} ${index ?? ''}`;

const hostCoverage = (target: Target): TargetCoverage => ({
  status: target === 'c' ? 'unsupported' : 'host',
  reason: `only a function of the host runs it${target === 'c' ? ', and C has none' : ''}`,
  advice: 'Give its record a `lower` to have it compiled',
});

const unsupported = (problems: readonly Problem[]): TargetCoverage => ({
  status: 'unsupported',
  reason: problems.map((p) => `${p.code} ${p.message}`).join('; '),
  advice: problems.map((p) => p.hint ?? '').find(Boolean) ?? '',
});

function describe(
  o: NodeOutcome,
  targets: readonly Target[],
  perTarget: ReadonlyMap<Target, TargetFindings>,
  work: ReadonlyMap<string, NodeWork>,
): NodeCoverage {
  const { node, path } = o;
  const key = keyOf(node.op, node.index, path);
  const { primitives, ...figures } = work.get(key) ?? NO_WORK;
  const own = (target: Target): TargetCoverage => general(o, primitives, target);
  const on = (target: Target): TargetCoverage => {
    if (o.status === 'failed') return own(target);
    const { nodes, notes } = perTarget.get(target) ?? NOTHING;
    const note = notes.get(key);
    const compiled = note === undefined ? own(target) : { ...own(target), note };
    return nodes.get(placeKey(node.name, node.index)) ?? nodes.get(key) ?? compiled;
  };
  return {
    node: node.name || (node.outputs.find(Boolean) ?? ''),
    op: node.op,
    domain: node.domain,
    version: node.version,
    index: node.index,
    path,
    ...figures,
    targets: Object.fromEntries(targets.map((t) => [t, on(t)])),
  };
}

/** As far as the import alone can tell. */
function general(o: NodeOutcome, primitives: number, target: Target): TargetCoverage {
  if (o.status === 'failed') return unsupported(o.problems);
  const reason = o.status === 'skipped' ? 'not checked: an input comes from a node that is not supported' : '';
  if (o.record && !o.record.lower) return hostCoverage(target);
  return { status: primitives > 1 ? 'composed' : 'compiled', reason, advice: '' };
}

function percentages(
  nodes: readonly NodeCoverage[],
  targets: readonly Target[],
  general: readonly Problem[],
): Record<string, number> {
  const percent = (target: Target): number => {
    const good = nodes.filter((n) => n.targets[target]?.status !== 'unsupported').length;
    const whole = percentOf(good, nodes.length);
    return general.length > 0 ? Math.min(whole, 99.9) : whole;
  };
  return Object.fromEntries(targets.map((t) => [t, percent(t)]));
}
