// A config: its types, said once, from which follow its check and its JSON Schema.

/** A config that is refused: where, as a JSON Pointer into it, and why. */
export class ConfigError extends Error {
  constructor(pointer, message) {
    super(message);
    this.name = "ConfigError";
    this.pointer = pointer;
  }
}

class Shape {
  constructor(schema, check, doc) {
    this.make = schema;
    this.check = check; // (value, pointer) => the value, or throws
    this.doc = doc;
    this.isOptional = false;
  }

  /** May be left out. */
  optional() {
    return Object.assign(new Shape(this.make, this.check, this.doc), { isOptional: true });
  }

  schema() {
    return this.doc === undefined ? this.make() : { ...this.make(), description: this.doc };
  }
}

const nameOf = (value) =>
  value === null ? "null" : Array.isArray(value) ? "a list" : { boolean: "a boolean", number: "a number", string: "a string", object: "an object" }[typeof value];

const simple = (type, what, is) => (doc) =>
  new Shape(() => ({ type }), (value, pointer) => {
    if (!is(value)) throw new ConfigError(pointer, `expected ${what}, found ${nameOf(value)}`);
    return value;
  }, doc);

const escapePointer = (name) => name.replaceAll("~", "~0").replaceAll("/", "~1");

function object(fields, doc) {
  const names = Object.keys(fields);
  const schema = () => ({
    type: "object",
    properties: Object.fromEntries(names.map((name) => [name, fields[name].schema()])),
    required: names.filter((name) => !fields[name].isOptional),
    additionalProperties: false,
  });
  const check = (value, pointer) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw new ConfigError(pointer, `expected an object, found ${nameOf(value)}`);
    }
    const checked = {};
    for (const [name, item] of Object.entries(value)) {
      const at = `${pointer}/${escapePointer(name)}`;
      if (!Object.hasOwn(fields, name)) throw new ConfigError(at, unknown(name, names));
      checked[name] = fields[name].isOptional && item === null ? undefined : fields[name].check(item, at);
    }
    const missing = names.find((name) => !fields[name].isOptional && !Object.hasOwn(value, name));
    if (missing !== undefined) throw new ConfigError(pointer, `missing field \`${missing}\``);
    return checked;
  };
  return new Shape(schema, check, doc);
}

function unknown(name, names) {
  const message = `unknown field \`${name}\`, expected one of ${names.map((it) => `\`${it}\``).join(", ")}`;
  const [nearest] = names.map((it) => [editDistance(name, it), it]).sort(([a], [b]) => a - b);
  const isNear = nearest !== undefined && nearest[0] <= 1 + nearest[1].length / 3;
  return isNear ? `${message}; did you mean \`${nearest[1]}\`?` : message;
}

// Levenshtein's.
function editDistance(a, b) {
  const row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 0; i < a.length; i++) {
    let diagonal = row[0];
    row[0] = i + 1;
    for (let j = 0; j < b.length; j++) {
      const replaced = diagonal + (a[i] === b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = Math.min(row[j + 1] + 1, row[j] + 1, replaced);
    }
  }
  return row[b.length];
}

/** The types of a config. Each takes a sentence that operators read. */
export const config = {
  number: simple("number", "a number", (value) => typeof value === "number"),
  integer: simple("integer", "an integer", Number.isSafeInteger),
  string: simple("string", "a string", (value) => typeof value === "string"),
  boolean: simple("boolean", "a boolean", (value) => typeof value === "boolean"),
  oneOf: (names, doc) =>
    new Shape(() => ({ type: "string", enum: [...names] }), (value, pointer) => {
      if (!names.includes(value)) throw new ConfigError(pointer, `expected one of ${names.join(", ")}`);
      return value;
    }, doc),
  list: (item, doc) =>
    new Shape(() => ({ type: "array", items: item.schema() }), (value, pointer) => {
      if (!Array.isArray(value)) throw new ConfigError(pointer, `expected a list, found ${nameOf(value)}`);
      return value.map((it, i) => item.check(it, `${pointer}/${i}`));
    }, doc),
  map: (item, doc) =>
    new Shape(() => ({ type: "object", additionalProperties: item.schema() }), (value, pointer) => {
      if (typeof value !== "object" || value === null || Array.isArray(value)) {
        throw new ConfigError(pointer, `expected an object, found ${nameOf(value)}`);
      }
      const checked = ([name, it]) => [name, item.check(it, `${pointer}/${escapePointer(name)}`)];
      return Object.fromEntries(Object.entries(value).map(checked));
    }, doc),
  object,
};

/** The checked config of a JSON text. */
export function parseConfig(shape, json) {
  return (shape ?? object({})).check(JSON.parse(json), "");
}
