// A coverage report as data: what `--format json` prints, what `coverage merge` reads, what every other format shows.
// Models and an operator set may stand in one report.

export type CoverageStatus = 'compiled' | 'composed' | 'host' | 'unsupported';

/** From best to worst. */
export const STATUSES: readonly CoverageStatus[] = ['compiled', 'composed', 'host', 'unsupported'];

export interface TargetCoverage {
  readonly status: CoverageStatus;
  readonly reason: string;
  readonly advice: string;
  /** Where a node that compiles does not run on the target itself, and why. */
  readonly note?: string;
}

export interface NodeCoverage {
  readonly node: string;
  readonly op: string;
  readonly domain: string;
  readonly version: number;
  readonly index: number;
  readonly path: readonly string[];
  /** At the largest sizes; 0 where the model could not be imported whole. */
  readonly macs: number;
  readonly weightBytes: number;
  readonly outputBytes: number;
  readonly targets: Readonly<Record<string, TargetCoverage>>;
}

export interface ModelCoverage {
  readonly file: string;
  readonly nodes: readonly NodeCoverage[];
  /** Nodes of each target that run, in percent; host functions count where the target has a host. */
  readonly percent: Readonly<Record<string, number>>;
  /** Bounds of open sizes that nobody gave, as they were assumed: `1..256`. */
  readonly assumed: Readonly<Record<string, string>>;
  /** Problems that belong to no node, in words. */
  readonly problems: readonly string[];
}

/** Test cases that use an operator, on one target. */
export interface TestCount {
  readonly passed: number;
  readonly total: number;
}

export interface OperatorVersion {
  readonly version: number;
  /** By type variable, `T: f16 f32 f64`. */
  readonly types: Readonly<Record<string, readonly string[]>>;
  readonly status: Readonly<Record<string, CoverageStatus>>;
  /** By target; absent without test results. */
  readonly tests?: Readonly<Record<string, TestCount>>;
}

export interface OperatorCoverage {
  readonly op: string;
  readonly domain: string;
  readonly status: Readonly<Record<string, CoverageStatus>>;
  readonly versions: readonly OperatorVersion[];
  /** Versions that no record decodes. */
  readonly missing: readonly number[];
  readonly record: string;
  readonly doc: string;
  readonly limits: readonly string[];
  readonly tests?: Readonly<Record<string, TestCount>>;
}

export interface OperatorSet {
  readonly set: 'onnx' | 'tflite';
  /** Of the operators, by target. */
  readonly percent: Readonly<Record<string, number>>;
  readonly operators: readonly OperatorCoverage[];
}

/** One part of a sweep: models `index`, `index + count`, … of `total`, counted from 1. */
export interface Shard {
  readonly index: number;
  readonly count: number;
  readonly total: number;
}

/** The operator set's parts stand beside the models. */
export interface CoverageReport extends Partial<OperatorSet> {
  readonly targets: readonly string[];
  readonly shard?: Shard;
  readonly models?: readonly ModelCoverage[];
}

export function operatorSetOf({ set, percent, operators }: CoverageReport): OperatorSet | undefined {
  return set && percent && operators ? { set, percent, operators } : undefined;
}

/** The operator's name, with its domain unless it is the format's own. */
export const fullName = ({ op, domain }: { readonly op: string; readonly domain: string }): string =>
  domain === 'ai.onnx' || domain === 'tflite' ? op : `${domain}:${op}`;

/** Where a node is, in the model's own names. */
export const placeOf = (n: NodeCoverage): string => [...n.path, n.node || `operator ${n.index}`].join('/');

/** Rounded down to a tenth: 100 is all of them. */
export const percentOf = (good: number, all: number): number =>
  all === 0 ? 100 : Math.floor((1000 * good) / all) / 10;
