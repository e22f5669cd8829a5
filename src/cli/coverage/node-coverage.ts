// What becomes of each node of a model on each target: all gaps in one go, each with its reason and what to do.
// `compiled`: the node is one primitive or less; `composed`: several; `host`: only a host function runs it.

import { type CompileOptions, importSource, lowerToProgram } from '../../compile.js';
import type { NodeOutcome } from '../../frontend/import.js';
import type { SourceModel } from '../../frontend/source.js';
import type { Origin, Program } from '../../ir/program.js';
import { type Module, type Region, regionsOf } from '../../ir/tensor.js';
import { CompileError, type Problem } from '../../support/errors.js';
import { hostSteps, type Target } from '../targets.js';

export type CoverageStatus = 'compiled' | 'composed' | 'host' | 'unsupported';

export interface TargetCoverage {
  readonly status: CoverageStatus;
  readonly reason: string;
  readonly advice: string;
}

export interface NodeCoverage {
  readonly node: string;
  readonly op: string;
  readonly domain: string;
  readonly version: number;
  readonly index: number;
  readonly path: readonly string[];
  readonly targets: Readonly<Record<string, TargetCoverage>>;
}

export interface ModelCoverage {
  readonly file: string;
  readonly nodes: readonly NodeCoverage[];
  /** Nodes of each target that run, in percent; host functions count where the target has a host. */
  readonly percent: Readonly<Record<string, number>>;
  /** Problems that belong to no node. */
  readonly problems: readonly Problem[];
}

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
  const perTarget = new Map<Target, ReadonlyMap<string, TargetCoverage>>();
  for (const target of targets) {
    const found = module ? await coverTarget(module, target, options, emit) : NOTHING;
    perTarget.set(target, found.nodes);
    for (const p of found.problems) if (!general.some((q) => q.message === p.message)) general.push(p);
  }
  const parts = module ? countPrimitives(module) : new Map<string, number>();
  const nodes = outcomes.map((o) => describe(o, targets, perTarget, parts));
  return { file: model.file, nodes, percent: percentages(nodes, targets, general), problems: general };
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
  readonly problems: readonly Problem[];
}

const NOTHING: TargetFindings = { nodes: new Map(), problems: [] };

/** Host nodes and what the target itself refuses. */
async function coverTarget(
  module: Module,
  target: Target,
  options: CompileOptions,
  emit: Emit,
): Promise<TargetFindings> {
  const nodes = new Map<string, TargetCoverage>();
  const refused = new Map<string, TargetCoverage>();
  const problems: Problem[] = [];
  try {
    const program = lowerToProgram(module, { ...options, target });
    for (const step of hostSteps(program)) for (const o of step.origins) nodes.set(originKey(o), hostCoverage(target));
    await emit(target, program);
  } catch (error) {
    if (!(error instanceof CompileError)) throw error;
    for (const p of error.problems) {
      if (p.at?.node === undefined && p.at?.operator === undefined) problems.push(p);
      else refused.set(placeKey(p.at.node ?? '', p.at.operator), unsupported([p]));
    }
  }
  for (const [key, coverage] of refused) nodes.set(key, coverage);
  return { nodes, problems };
}

/** Problems of back ends know the node's name and position, not the way to it. */
const placeKey = (node: string, index: number | undefined): string => `${node} ${index ?? ''}`;

const hostCoverage = (target: Target): TargetCoverage => ({
  status: 'host',
  reason: `only a function of the host runs it on ${target}`,
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
  perTarget: ReadonlyMap<Target, ReadonlyMap<string, TargetCoverage>>,
  parts: ReadonlyMap<string, number>,
): NodeCoverage {
  const { node, path } = o;
  const key = keyOf(node.op, node.index, path);
  const own = general(o, parts.get(key) ?? 0);
  const on = (target: Target): TargetCoverage => {
    if (own.status === 'unsupported') return own;
    const found = perTarget.get(target);
    return found?.get(placeKey(node.name, node.index)) ?? found?.get(key) ?? own;
  };
  return {
    node: node.name || (node.outputs.find(Boolean) ?? ''),
    op: node.op,
    domain: node.domain,
    version: node.version,
    index: node.index,
    path,
    targets: Object.fromEntries(targets.map((t) => [t, on(t)])),
  };
}

/** The same for all targets. */
function general(o: NodeOutcome, parts: number): TargetCoverage {
  if (o.status === 'failed') return unsupported(o.problems);
  const reason = o.status === 'skipped' ? 'not checked: an input comes from a node that is not supported' : '';
  if (o.record && !o.record.lower) return { status: 'host', reason, advice: '' };
  return { status: parts > 1 ? 'composed' : 'compiled', reason, advice: '' };
}

/** Primitives that compute something, by the node they came from. */
function countPrimitives(module: Module): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  const visit = (region: Region): void => {
    for (const n of region.nodes) {
      regionsOf(n).forEach(visit);
      if (n.kind === 'const' || n.kind === 'view' || n.kind === 'dim') continue;
      const key = originKey(n.origin);
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
  };
  for (const entry of module.entries) visit(entry.body);
  return counts;
}

function percentages(
  nodes: readonly NodeCoverage[],
  targets: readonly Target[],
  general: readonly Problem[],
): Record<string, number> {
  const percent = (target: Target): number => {
    const good = nodes.filter((n) => n.targets[target]?.status !== 'unsupported').length;
    const whole = nodes.length === 0 ? 100 : (100 * good) / nodes.length;
    return general.length > 0 ? Math.min(whole, 99.9) : whole;
  };
  return Object.fromEntries(targets.map((t) => [t, Math.floor(percent(t) * 10) / 10]));
}
