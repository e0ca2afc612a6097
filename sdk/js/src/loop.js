// A batch in, a reply out: the loop over rows, and the columns on either side of it.

import { parseConfig } from "./config.js";
import { remove } from "./fields.js";
import { KeyedStates } from "./state.js";
import { decodeAscii, decodeUtf8, isAscii, pushUtf8 } from "./utf8.js";

const EMIT = 0;
const DROP = 1;
const REJECT = 2;

const SET = 0;
const LEAVE = 1;
const NULL = 2;
const REMOVE = 3;

const OUT_OF_RANGE = 4;
const ABSENCES = [undefined, "missing", "null", "of another type", "out of range", "malformed"];

class Refusal {
  constructor(verdict, rule, detail) {
    this.verdict = verdict;
    this.rule = rule;
    this.detail = detail;
  }
}

export const refuse = (verdict, rule, detail) => new Refusal(verdict, rule, detail);
export const isRefusal = (value) => value instanceof Refusal;

export class Loop {
  /** The row that is being worked on, for whoever reports what was thrown. */
  currentRow = undefined;

  #definition;
  #rules;
  #writes;
  #Row;
  #call;
  #findings;

  constructor(definition, description, shape, json) {
    const config = parseConfig(shape, json);
    definition.check?.(config);
    this.#definition = definition;
    this.#rules = new Map(description.rules.map((rule, index) => [rule.id, index]));
    this.#writes = Object.entries(definition.writes ?? {}).map(([name, { kind }]) => ({ name, kind }));
    this.#Row = rowClass(Object.entries(definition.reads));
    this.#call = {
      config,
      find: (rule, detail = "") => void this.#findings.found.push({ rule, detail }),
      reject: (rule, detail = "") => refuse("reject", rule, detail),
      drop: (rule, detail = "") => refuse("drop", rule, detail),
      absence: (name) => this.#row.$absence(name),
    };
  }

  #row;

  transform(batch) {
    const { transform, fanOut, state: codec } = this.#definition;
    const rows = batch.rows;
    const row = (this.#row = new this.#Row(batch.columns));
    const states = codec === undefined ? undefined : new KeyedStates(batch.states, codec);
    const findings = (this.#findings = { rows: [], rules: [], details: [], hasDetails: false, found: [] });
    const writers = this.#writes.map(({ name, kind }) => new Writer(name, kind));
    const leave = () => writers.forEach((writer) => writer.push(undefined));
    const parents = [];
    let verdicts;
    const judge = (at, verdict) => {
      verdicts ??= new Uint8Array(rows);
      verdicts[at] = verdict;
    };
    for (let at = 0; at < rows; at++) {
      this.currentRow = at;
      row.$at = at;
      const answer = transform(row, this.#call, states?.ofRow(at));
      if (answer instanceof Refusal) {
        judge(at, answer.verdict === "drop" ? DROP : REJECT);
        this.#find(at, answer);
        if (!fanOut) leave();
      } else if (!fanOut) {
        for (let i = 0; i < writers.length; i++) writers[i].push(answer[writers[i].name]);
      } else if (answer.length === 0) {
        if (findings.found.length === 0) throw new Error("nothing is answered for the row, and no rule says why: drop it by one");
        judge(at, DROP);
      } else {
        for (const child of answer) {
          parents.push(at);
          for (let i = 0; i < writers.length; i++) writers[i].push(child[writers[i].name]);
        }
      }
      if (findings.found.length > 0) {
        // After a refusal: the first finding of a refused row is what refuses it.
        for (const found of findings.found) this.#find(at, found);
        findings.found.length = 0;
      }
    }
    this.currentRow = undefined;
    // No parents mean one row for each, so there is one for each, which nobody looks at.
    if (fanOut && parents.length === 0) for (let at = 0; at < rows; at++) leave();
    return {
      verdicts: verdicts ?? new Uint8Array(0),
      parents,
      columns: writers.map((writer) => writer.finish()),
      findings: { rows: findings.rows, rules: findings.rules, details: findings.hasDetails ? textsOf(findings.details) : NO_TEXTS },
      states: states?.changed() ?? { keys: [], values: NO_TEXTS },
    };
  }

  #find(row, { rule, detail }) {
    const index = this.#rules.get(rule);
    if (index === undefined) throw new Error(`\`${rule}\` is not among the plugin's rules`);
    this.#findings.rows.push(row);
    this.#findings.rules.push(index);
    this.#findings.details.push(detail);
    if (detail !== "") this.#findings.hasDetails = true;
  }
}

const NO_TEXTS = { offsets: [], bytes: new Uint8Array(0) };

function textsOf(texts) {
  const offsets = [0];
  const bytes = [];
  for (const text of texts) {
    pushUtf8(text, bytes);
    offsets.push(bytes.length);
  }
  return { offsets, bytes: Uint8Array.from(bytes) };
}

// A class whose one instance stands for each row in turn: its getters look into the columns when a
// value is asked for, and a text is made when it is.
function rowClass(reads) {
  class Row {
    $at = 0;

    constructor(batch) {
      this.$cells = batch.map((column, index) => cellsOf(column, reads[index][1]));
      this.$presence = batch.map((column) => (column.presence.length === 0 ? undefined : column.presence));
    }

    $absence(name) {
      const index = reads.findIndex(([known]) => known === name);
      if (index < 0) throw new Error(`\`${name}\` is not read`);
      const why = this.$presence[index]?.[this.$at] ?? 0;
      return ABSENCES[why === 0 && this.$cells[index](this.$at) === undefined ? OUT_OF_RANGE : why];
    }
  }
  for (const [index, [name]] of reads.entries()) {
    Object.defineProperty(Row.prototype, name, {
      enumerable: true,
      get() {
        const at = this.$at;
        const presence = this.$presence[index];
        if (presence !== undefined && presence[at] !== 0) return absent(reads[index], presence[at]);
        const value = this.$cells[index](at);
        return value === undefined ? absent(reads[index], OUT_OF_RANGE) : value;
      },
    });
  }
  return Row;
}

function absent([name, { required }], why) {
  if (!required) return undefined;
  throw new Error(`the required field \`${name}\` is ${ABSENCES[why]}, and the host should have rejected the row`);
}

// How a column's values are had by row; undefined where JavaScript can't hold one.
function cellsOf({ values: { tag, val } }, { kind }) {
  switch (tag) {
    case "boolean":
      return (at) => val[at] !== 0;
    case "int64":
    case "timestamp":
      return (at) => exactly(val[at]);
    case "enumeration":
      return (at) => kind.val[val[at]];
    case "utf8":
    case "json":
      return textCells(val);
    default:
      return (at) => val[at];
  }
}

// QuickJS makes a number of every integer, and of one beyond 2^53 another one, before anybody sees
// it. Rather none than a wrong one: such a value is out of range.
function exactly(value) {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : undefined;
}

function textCells({ offsets, bytes }) {
  // Texts without accents are parts of one text, which is made once.
  let all;
  return (at) => {
    all ??= isAscii(bytes) ? decodeAscii(bytes) : null;
    const start = offsets[at];
    const end = offsets[at + 1];
    return all === null ? decodeUtf8(bytes.subarray(start, end)) : all.slice(start, end);
  };
}

// Builds a column row by row.
class Writer {
  #kind;
  #codes;
  #values = [];
  #bytes = [];
  #presence;
  #hasBigInts = false;

  constructor(name, kind) {
    this.name = name;
    this.#kind = kind.tag;
    if (kind.tag === "enumeration") this.#codes = new Map(kind.val.map((label, code) => [label, code]));
    if (kind.tag === "utf8" || kind.tag === "json") this.#values.push(0);
  }

  push(value) {
    if (value === undefined || value === null || value === remove) {
      const rows = this.#isText ? this.#values.length - 1 : this.#values.length;
      this.#presence ??= new Array(rows).fill(SET);
      this.#presence.push(value === undefined ? LEAVE : value === null ? NULL : REMOVE);
      this.#values.push(this.#isText ? this.#bytes.length : 0);
      return;
    }
    if (this.#presence !== undefined) this.#presence.push(SET);
    switch (this.#kind) {
      case "boolean":
        this.#values.push(value ? 1 : 0);
        break;
      case "int64":
      case "timestamp":
        if (typeof value === "bigint") this.#hasBigInts = true;
        else if (!Number.isSafeInteger(value)) throw this.#wrong("a safe integer or a bigint");
        this.#values.push(value);
        break;
      case "date":
        if (!Number.isSafeInteger(value)) throw this.#wrong("a whole number of days");
        this.#values.push(value);
        break;
      case "float64":
        if (typeof value !== "number") throw this.#wrong("a number");
        this.#values.push(value);
        break;
      case "enumeration": {
        const code = this.#codes.get(value);
        if (code === undefined) throw this.#wrong(`one of ${[...this.#codes.keys()].join(", ")}`);
        this.#values.push(code);
        break;
      }
      default:
        if (typeof value !== "string") throw this.#wrong("a string");
        pushUtf8(value, this.#bytes);
        this.#values.push(this.#bytes.length);
    }
  }

  get #isText() {
    return this.#kind === "utf8" || this.#kind === "json";
  }

  #wrong(what) {
    return new TypeError(`\`${this.name}\` is written as ${what}`);
  }

  finish() {
    const presence = this.#presence === undefined ? new Uint8Array(0) : Uint8Array.from(this.#presence);
    return { values: { tag: this.#kind, val: this.#column() }, presence };
  }

  #column() {
    if (this.#isText) return { offsets: this.#values, bytes: Uint8Array.from(this.#bytes) };
    if (this.#kind === "boolean") return Uint8Array.from(this.#values);
    // QuickJS traps without a word on a plain array of bigints.
    if (this.#hasBigInts) return BigInt64Array.from(this.#values, BigInt);
    return this.#values;
  }
}
