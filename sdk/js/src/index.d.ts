/** Why a row has no value. */
export type Absence = "missing" | "null" | "of another type" | "out of range" | "malformed";

/** The path is not to be in the record. */
export const remove: unique symbol;

/** A column that is read as a T. */
export interface Read<T> {
  /** A row without a value is not rejected, and has `undefined`. */
  optional(): Read<T | undefined>;
  readonly kind: { tag: string };
}

/** A column that is written as a T. */
export interface Write<T> {
  readonly kind: { tag: string };
  readonly path?: string;
  /** Only in types. */
  readonly value?: T;
}

export type Format = "rfc3339" | "unix-seconds" | "unix-milliseconds" | "unix-microseconds";
export type HostValue =
  | "@record-id"
  | "@partition"
  | "@position"
  | "@partition-key"
  | "@arrival-time"
  | "@batch-time"
  | "@source";

interface Kinds<Arguments extends unknown[], Column extends "read" | "write"> {
  boolean(...at: Arguments): Made<Column, boolean>;
  /** A number; one beyond 2^53 that is read is out of range, and a bigint is written too. */
  int64(...at: Arguments): Column extends "read" ? Read<number> : Write<number | bigint>;
  float64(...at: Arguments): Made<Column, number>;
  /** Microseconds since 1970-01-01T00:00:00Z. */
  timestamp(...at: [...Arguments, { format?: Format }?]): Column extends "read" ? Read<number> : Write<number | bigint>;
  /** Days since 1970-01-01. */
  date(...at: Arguments): Made<Column, number>;
  utf8(...at: Arguments): Made<Column, string>;
  /** The raw text of a subtree. */
  json(...at: Arguments): Made<Column, string>;
}
type Made<Column, T> = Column extends "read" ? Read<T> : Write<T>;

/** What is read from each row: the member of the field's name, or what lies at a path. */
export const read: Kinds<[path?: string], "read"> & {
  enumeration<const L extends string>(labels: readonly L[], path?: string): Read<L>;
  host(value: "@arrival-time" | "@partition-key"): Read<undefined | number | string>;
  host(value: "@batch-time"): Read<number>;
  host(value: HostValue): Read<string>;
  /** A cell of a table that the host joins before the call. */
  lookup: Kinds<[table: string, key: string | string[], column?: string], "read"> & {
    enumeration<const L extends string>(labels: readonly L[], table: string, key: string | string[], column?: string): Read<L>;
  };
};

/** What is written to each row: the member of the field's name, or what lies at a path. */
export const write: Kinds<[path?: string], "write"> & {
  enumeration<const L extends string>(labels: readonly L[], path?: string): Write<L>;
};

/** A type of a config. */
export interface Shape<T> {
  optional(): Shape<T | undefined>;
  schema(): object;
  /** Only in types. */
  readonly value?: T;
}

/** The types of a config. Each takes a sentence that operators read. */
export const config: {
  number(doc?: string): Shape<number>;
  integer(doc?: string): Shape<number>;
  string(doc?: string): Shape<string>;
  boolean(doc?: string): Shape<boolean>;
  oneOf<const N extends string>(names: readonly N[], doc?: string): Shape<N>;
  list<T>(item: Shape<T>, doc?: string): Shape<T[]>;
  map<T>(item: Shape<T>, doc?: string): Shape<Record<string, T>>;
  object<F extends Record<string, Shape<any>>>(fields: F, doc?: string): Shape<{ [K in keyof F]: F[K] extends Shape<infer T> ? T : never }>;
};

/** A config that is refused: where, as a JSON Pointer into it, and why. */
export class ConfigError extends Error {
  constructor(pointer: string, message: string);
  readonly pointer: string;
}

/** A type of a state. */
export interface Codec<T> {
  initial(): T;
}

/** The types of a state. They stand in bytes as in every SDK. */
export const state: {
  u8: Codec<number>;
  u16: Codec<number>;
  u32: Codec<number>;
  u64: Codec<bigint>;
  i8: Codec<number>;
  i16: Codec<number>;
  i32: Codec<number>;
  i64: Codec<bigint>;
  f32: Codec<number>;
  f64: Codec<number>;
  bool: Codec<boolean>;
  text: Codec<string>;
  option<T>(item: Codec<T>): Codec<T | undefined>;
  list<T>(item: Codec<T>): Codec<T[]>;
  struct<F extends Record<string, Codec<any>>>(fields: F): Codec<{ [K in keyof F]: F[K] extends Codec<infer T> ? T : never }>;
};

export interface Rule {
  dimension?: "completeness" | "validity" | "uniqueness" | "consistency" | "timeliness" | "accuracy";
  severity?: "info" | "warn" | "reject";
  /** The path that it is about. */
  field?: string;
  /** One sentence for people: what holds where the rule is kept. */
  text: string;
}

/** The row does not go on. */
export interface Refusal {
  readonly verdict: "reject" | "drop";
  readonly rule: string;
  readonly detail: string;
}

/** What a function is called with besides its row. */
export interface Call<C, R extends string, Fields extends string> {
  readonly config: C;
  /** Notes that the row breaks a rule, and lets it go on. A detail never says what a value was. */
  find(rule: R, detail?: string): void;
  /** Refuses the row: it goes to the dead letters. `return call.reject("…")`. */
  reject(rule: R, detail?: string): Refusal;
  /** Ends the row here, by the plugin's word. */
  drop(rule: R, detail?: string): Refusal;
  /** Why a field has no value in this row. */
  absence(field: Fields): Absence | undefined;
}

type Row<Reads> = { readonly [K in keyof Reads]: Reads[K] extends Read<infer T> ? T : never };
/** `undefined` leaves a path as it is, `null` writes a null, `remove` removes it. */
type Written<Writes> = { [K in keyof Writes]?: Writes[K] extends Write<infer T> ? T | null | undefined | typeof remove : never };
type Answer<Writes, F> = F extends true ? Written<Writes>[] : Written<Writes>;

export interface Definition<
  Reads extends Record<string, Read<any>>,
  Writes extends Record<string, Write<any>>,
  C,
  R extends string,
  S,
  F extends boolean,
> {
  name: string;
  /** A semantic version. */
  version: string;
  /** One sentence for people. */
  summary: string;
  /** Whether an operator may let records pass the plugin by while it is broken. */
  mayBePassedBy?: boolean;
  config?: Shape<C>;
  /** Checks a config beyond its types: throws a ConfigError. */
  check?(config: C): void;
  reads: Reads;
  writes?: Writes;
  rules?: Record<R, Rule>;
  /** The fields that make up the key of the state. */
  key?: (keyof Reads & string)[];
  state?: Codec<S>;
  /** 1 where none is said. Any change of the state's type is a new version. */
  stateVersion?: number;
  /** Answers with a list of any number of rows. */
  fanOut?: F;
  /** Answers a row. The row is the same object each time: take from it what is kept. */
  transform(row: Row<Reads>, call: Call<C, R, keyof Reads & string>, state: S): Answer<Writes, F> | Refusal;
}

/** A plugin: the default export of `src/plugin.js` or `src/plugin.ts`. */
export interface Plugin {
  readonly description: unknown;
}

export function plugin<
  const Reads extends Record<string, Read<any>>,
  const Writes extends Record<string, Write<any>> = {},
  C = {},
  const R extends string = never,
  S = undefined,
  F extends boolean = false,
>(definition: Definition<Reads, Writes, C, R, S, F>): Plugin & Definition<Reads, Writes, C, R, S, F>;

/** Never log a record's values. */
export const log: Record<"debug" | "info" | "warn" | "error", (message: string) => void>;
