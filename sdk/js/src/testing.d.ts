import type { Plugin } from "./index.js";

/** What became of a record. */
export interface Outcome {
  verdict: "emit" | "drop" | "reject";
  /** What goes on in its place. */
  records: unknown[];
  findings: { rule: string; detail: string }[];
}

export interface Options {
  /** What `@batch-time` is: 2026-03-01T12:00:00Z where nothing else is said. */
  batchTime?: string;
  /** Rows of look-up tables, by table, by key (a JSON array of the key's values as text), by column. */
  lookups?: Record<string, Record<string, Record<string, unknown>>>;
}

/** A plugin under a config, and the states of its keys. */
export class Harness {
  constructor(plugin: Plugin, config?: unknown, options?: Options);
  /** Runs records as one batch, and again one by one: a reply that differs throws. */
  run(records: unknown[]): Outcome[];
}

/** Runs records through a plugin under a config. */
export function run(plugin: Plugin, config: unknown, records: unknown[], options?: Options): Outcome[];
