// What is read and what is written: kinds, places, and how values stand in columns.

import { parsePath } from "./path.js";

const FORMATS = ["rfc3339", "unix-seconds", "unix-milliseconds", "unix-microseconds"];
const HOST_VALUES = [
  "record-id",
  "partition",
  "position",
  "partition-key",
  "arrival-time",
  "batch-time",
  "source",
];

/** A field that is not to be in the record. */
export const remove = Symbol("remove");

class Read {
  constructor(kind, from) {
    this.kind = kind;
    this.from = from; // a function of the field's name, so that a name may stand for its path
    this.required = true;
  }

  optional() {
    return Object.assign(new Read(this.kind, this.from), this, { required: false });
  }
}

function kindOf(tag, options = {}) {
  if (tag === "timestamp") {
    const format = options.format ?? "rfc3339";
    if (!FORMATS.includes(format)) {
      throw new TypeError(`${format} is no format of timestamps; it is one of ${FORMATS.join(", ")}`);
    }
    return { tag, val: format };
  }
  return { tag };
}

const field = (path) => (name) => ({ tag: "field", val: path === undefined ? [{ tag: "key", val: name }] : parsePath(path) });

const readField = (tag) => (path, options) => new Read(kindOf(tag, options), field(path));

function readHost(value) {
  const name = value.replace(/^@/, "");
  if (!HOST_VALUES.includes(name)) {
    throw new TypeError(`${value} is no host value; it is one of ${HOST_VALUES.map((it) => `@${it}`).join(", ")}`);
  }
  const kind = name.endsWith("-time") ? kindOf("timestamp") : kindOf("utf8");
  const always = name !== "arrival-time" && name !== "partition-key";
  // The host knows it or not; a row is not rejected for it.
  return Object.assign(new Read(kind, () => ({ tag: "host", val: name })), { required: false, always });
}

function readLookup(tag) {
  return (table, key, column, options) => {
    const keys = (Array.isArray(key) ? key : [key]).map(parsePath);
    return new Read(kindOf(tag, options), (name) => ({ tag: "lookup", val: { table, keys, column: column ?? name } }));
  };
}

const TAGS = ["boolean", "int64", "float64", "timestamp", "date", "utf8", "json"];
const each = (make) => Object.fromEntries(TAGS.map((tag) => [tag, make(tag)]));
const enumerationOf = (labels) => {
  if (!Array.isArray(labels) || labels.length === 0) throw new TypeError("an enumeration has a list of labels");
  return { tag: "enumeration", val: [...labels] };
};

/** What is read from each row. */
export const read = {
  ...each(readField),
  enumeration: (labels, path) => new Read(enumerationOf(labels), field(path)),
  host: readHost,
  lookup: {
    ...each(readLookup),
    enumeration: (labels, table, key, column) =>
      Object.assign(readLookup("utf8")(table, key, column), { kind: enumerationOf(labels) }),
  },
};

class Write {
  constructor(kind, path) {
    this.kind = kind;
    this.path = path;
  }
}

const writeField = (tag) => (path, options) => new Write(kindOf(tag, options), path);

/** What is written to each row. */
export const write = {
  ...each(writeField),
  enumeration: (labels, path) => new Write(enumerationOf(labels), path),
};

export const isRead = (value) => value instanceof Read;
export const isWrite = (value) => value instanceof Write;
