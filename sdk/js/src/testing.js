// Runs a plugin on JSON records as a host would, in an ordinary test, without WebAssembly.
//
// A small host: it leaves out limits, selection by `when` and the exact spelling of numbers; `tidegate
// plugin test` runs the component itself. Every run is repeated row by row on a fresh instance, and a
// reply that differs throws: the plugin is impure.

import { isDeepStrictEqual } from "node:util";

import { decodeUtf8, encodeUtf8 } from "./utf8.js";

const SECOND = 1_000_000;
const UNITS = { "unix-seconds": SECOND, "unix-milliseconds": 1_000, "unix-microseconds": 1 };
const DAY = 86_400_000;

export class Harness {
  #plugin;
  #config;
  #states = new Map();
  #options;

  /** Throws a ConfigError where the config is refused. */
  constructor(plugin, config = {}, options = {}) {
    this.#plugin = plugin;
    this.#config = JSON.stringify(config);
    this.#options = { batchTime: "2026-03-01T12:00:00Z", lookups: {}, ...options };
    plugin.configure(this.#config);
  }

  /** Runs records as one batch. States stay from one run to the next. */
  run(records) {
    const before = new Map(this.#states);
    const together = this.#run(records);
    const after = this.#states;
    this.#states = before;
    const apart = records.flatMap((record) => this.#run([record]));
    if (!isDeepStrictEqual(together, apart) || !isDeepStrictEqual(after, this.#states)) {
      throw new Error(`the plugin is impure: together it answers ${JSON.stringify(together)}, row by row ${JSON.stringify(apart)}`);
    }
    return together;
  }

  #run(records) {
    const { reads, writes, rules, state } = this.#plugin.description;
    const names = Object.keys(this.#plugin.reads);
    const outcomes = records.map(() => ({ verdict: "emit", records: [], findings: [] }));
    const rows = [];
    records.forEach((record, i) => {
      const cells = reads.map((it) => cellOf(this.#value(it.from, record), it.kind));
      const lacks = reads.findIndex((it, index) => it.required && cells[index].presence !== 0);
      if (lacks >= 0) outcomes[i] = { verdict: "reject", records: [], findings: [{ rule: "required", detail: names[lacks] }] };
      else rows.push({ record, cells, outcome: outcomes[i] });
    });
    const keys = [];
    const stateRows = rows.map(({ record }) => {
      if (state === undefined) return 0;
      const key = JSON.stringify(state.key.map((read) => this.#value(reads[read].from, record) ?? null));
      if (!keys.includes(key)) keys.push(key);
      return keys.indexOf(key);
    });
    const reply = this.#plugin.configure(this.#config).transform({
      rows: rows.length,
      columns: reads.map((it, index) => columnOf(it.kind, rows.map(({ cells }) => cells[index]))),
      states: { rows: stateRows, values: binaryOf(keys.map((key) => this.#states.get(key) ?? new Uint8Array(0))) },
    });
    reply.states.keys.forEach((key, i) => this.#states.set(keys[key], sliceOf(reply.states.values, i)));
    rows.forEach(({ outcome }, i) => (outcome.verdict = ["emit", "drop", "reject"][reply.verdicts[i] ?? 0]));
    reply.findings.rows.forEach((row, i) => {
      const { details } = reply.findings;
      const detail = details.offsets.length === 0 ? "" : decodeUtf8(sliceOf(details, i));
      rows[row].outcome.findings.push({ rule: rules[reply.findings.rules[i]].id, detail });
    });
    const parents = reply.parents.length > 0 ? reply.parents : rows.map((_, i) => i);
    parents.forEach((parent, output) => {
      const { record, outcome } = rows[parent];
      if (outcome.verdict !== "emit") return;
      const written = writes.reduce((it, { path, kind }, i) => writeTo(it, path, kind, reply.columns[i], output), structuredClone(record));
      outcome.records.push(written);
    });
    return outcomes;
  }

  #value(origin, record) {
    if (origin.tag === "field") return valueAt(record, origin.val);
    if (origin.tag === "host") return origin.val.endsWith("-time") ? this.#options.batchTime : "test";
    const { table, keys, column } = origin.val;
    const key = JSON.stringify(keys.map((path) => valueAt(record, path) ?? null));
    return this.#options.lookups[table]?.[key]?.[column];
  }
}

/** Runs records through a plugin under a config. */
export const run = (plugin, config, records, options) => new Harness(plugin, config, options).run(records);

const valueAt = (record, path) => path.reduce((value, { val }) => (value === null || typeof value !== "object" ? undefined : value[val]), record);

// A value of JSON as a kind, or why it is none: 1 missing, 2 null, 3 other type, 4 out of range, 5 malformed.
function cellOf(value, kind) {
  const none = (presence) => ({ presence, value: kind.tag === "utf8" || kind.tag === "json" ? "" : 0 });
  const some = (it) => ({ presence: 0, value: it });
  if (value === undefined) return none(1);
  if (value === null) return none(2);
  const isNumber = typeof value === "number";
  const isText = typeof value === "string";
  switch (kind.tag) {
    case "boolean":
      return typeof value === "boolean" ? some(Number(value)) : none(3);
    case "int64":
      return !isNumber ? none(3) : Number.isInteger(value) ? some(value) : none(5);
    case "float64":
      return isNumber ? some(value) : none(3);
    case "timestamp": {
      if (kind.val !== "rfc3339") return isNumber ? some(Math.round(value * UNITS[kind.val])) : none(3);
      if (!isText) return none(3);
      const micros = microsecondsOf(value);
      return micros === undefined ? none(5) : some(micros);
    }
    case "date": {
      if (!isText) return none(3);
      const day = /^\d{4}-\d\d-\d\d$/.test(value) ? Date.parse(value) / DAY : NaN;
      return Number.isNaN(day) ? none(5) : some(day);
    }
    case "utf8":
      return isText ? some(value) : none(3);
    case "enumeration":
      return !isText ? none(3) : kind.val.includes(value) ? some(kind.val.indexOf(value)) : none(4);
    default:
      return some(JSON.stringify(value));
  }
}

function microsecondsOf(text) {
  const found = /^(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)$/.exec(text);
  if (found === null) return undefined;
  const seconds = Date.parse(found[1] + found[3].toUpperCase()) / 1000;
  return Number.isNaN(seconds) ? undefined : seconds * SECOND + Number((found[2] ?? "").padEnd(6, "0").slice(0, 6));
}

function columnOf(kind, cells) {
  const values = cells.map(({ value }) => value);
  const presence = cells.some((cell) => cell.presence !== 0) ? Uint8Array.from(cells, (cell) => cell.presence) : new Uint8Array(0);
  const isText = kind.tag === "utf8" || kind.tag === "json";
  const val = isText ? binaryOf(values.map(encodeUtf8)) : kind.tag === "boolean" ? Uint8Array.from(values) : values;
  return { values: { tag: kind.tag, val }, presence };
}

function binaryOf(values) {
  const offsets = [0];
  for (const value of values) offsets.push(offsets.at(-1) + value.length);
  const bytes = new Uint8Array(offsets.at(-1));
  values.forEach((value, i) => bytes.set(value, offsets[i]));
  return { offsets, bytes };
}

const sliceOf = ({ offsets, bytes }, i) => bytes.slice(offsets[i], offsets[i + 1]);

function writeTo(record, path, kind, column, row) {
  switch (column.presence[row] ?? 0) {
    case 0:
      return setAt(record, path, valueOf(kind, column.values, row));
    case 1:
      return record;
    case 2:
      return setAt(record, path, null);
    default: {
      const parent = valueAt(record, path.slice(0, -1));
      if (parent !== null && typeof parent === "object") delete parent[path.at(-1).val];
      return record;
    }
  }
}

function valueOf(kind, { val }, row) {
  switch (kind.tag) {
    case "boolean":
      return val[row] !== 0;
    case "timestamp":
      return kind.val === "rfc3339" ? rfc3339Of(Number(val[row])) : Number(val[row]) / UNITS[kind.val];
    case "date":
      return new Date(val[row] * DAY).toISOString().slice(0, 10);
    case "enumeration":
      return kind.val[val[row]];
    case "utf8":
      return decodeUtf8(sliceOf(val, row));
    case "json":
      return JSON.parse(decodeUtf8(sliceOf(val, row)));
    default:
      return Number(val[row]);
  }
}

function rfc3339Of(microseconds) {
  const fraction = ((microseconds % SECOND) + SECOND) % SECOND;
  const seconds = new Date((microseconds - fraction) / 1000).toISOString().slice(0, 19);
  const digits = String(fraction).padStart(6, "0").replace(/(000)+$/, "");
  return `${seconds}${digits === "" ? "" : `.${digits}`}Z`;
}

function setAt(record, path, value) {
  if (path.length === 0) return value;
  const [{ tag, val }, ...rest] = path;
  const isParent = tag === "index" ? Array.isArray(record) && val < record.length : record === undefined || record === null || (typeof record === "object" && !Array.isArray(record));
  if (!isParent) throw new Error("the parent of a write is an object, or a list that is long enough");
  const parent = record ?? {};
  parent[val] = setAt(parent[val], rest, value);
  return parent;
}
