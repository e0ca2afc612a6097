// The conformance plugin in JavaScript: sdk/conformance/README.md says what it does.

import { config, ConfigError, plugin, read, remove, state, write } from "../../../js/src/index.js";

const SIZES = ["small", "medium", "large"];

export default plugin({
  name: "conformance",
  version: "1.0.0",
  summary: "Answers the conformance cases.",
  mayBePassedBy: true,

  config: config.object({
    factor: config.number("What floats are multiplied by; above zero."),
    bands: config
      .list(config.object({ label: config.string(), below: config.number().optional() }), "Nothing is done with them.")
      .optional(),
  }),
  check({ factor }) {
    if (factor <= 0) throw new ConfigError("/factor", "it is not above zero");
  },

  reads: {
    key: read.utf8(),
    action: read.utf8(),
    boolean: read.boolean("kinds.boolean").optional(),
    int64: read.int64("kinds.int64").optional(),
    float64: read.float64("kinds.float64").optional(),
    timestamp: read.timestamp("kinds.timestamp").optional(),
    unix: read.timestamp("kinds.unix", { format: "unix-milliseconds" }).optional(),
    date: read.date("kinds.date").optional(),
    text: read.utf8("['a.b'][0].text").optional(),
    size: read.enumeration(SIZES, "kinds.size").optional(),
    json: read.json("kinds.json").optional(),
    batchTime: read.host("@batch-time"),
    risk: read.lookup.float64("merchants", "merchant.id", "risk").optional(),
  },
  writes: {
    boolean: write.boolean("out.boolean"),
    int64: write.int64("out.int64"),
    float64: write.float64("out.float64"),
    timestamp: write.timestamp("out.timestamp"),
    unix: write.timestamp("out.unix", { format: "unix-milliseconds" }),
    date: write.date("out.date"),
    text: write.utf8("out.text"),
    size: write.enumeration(SIZES, "out.size"),
    json: write.json("out.json"),
    risk: write.float64("out.risk"),
    absent: write.utf8("out.absent"),
    count: write.int64("out.count"),
    child: write.int64("out.child"),
    at: write.timestamp("out.at"),
  },
  rules: {
    refused: { field: "action", text: "The action is not to refuse." },
    gone: { dimension: "completeness", severity: "info", text: "The row is wanted." },
    noted: { dimension: "consistency", severity: "warn", field: "['a.b'][0].text", text: "There is nothing to note." },
  },
  key: ["key"],
  state: state.struct({ count: state.u32, total: state.f64, last: state.option(state.text), seen: state.list(state.i64) }),
  stateVersion: 3,
  fanOut: true,

  transform(row, call, history) {
    let children = 1;
    switch (row.action) {
      case "reject":
        return call.reject("refused");
      case "reject-with-detail":
        call.find("noted", "before it");
        return call.reject("refused", "größer als gedacht");
      case "drop":
        return call.drop("gone");
      case "note":
        call.find("noted");
        break;
      case "note-with-detail":
        call.find("noted", "zwölf");
        call.find("noted");
        break;
      case "split":
        children = row.int64 ?? 0;
        if (children === 0) call.find("gone", "without children");
        break;
      case "panic":
        throw new Error("asked to panic");
      case "peek":
        break;
      default:
        count(history, row);
    }
    const written = { ...answer(row, call), count: history.count };
    return Array.from({ length: children }, (_, child) => ({ ...written, child }));
  },
});

function count(history, row) {
  history.count += 1;
  history.total += row.float64 ?? 0;
  history.last = row.text ?? history.last;
  if (row.int64 !== undefined) history.seen = [...history.seen, BigInt(row.int64)].slice(-3);
}

function answer(row, call) {
  const absent = [];
  // What was read into what is written: a value into a value, a null into a null, another type into
  // a removal; what is missing, out of range or malformed is left as it is.
  const to = (name, change) => {
    const value = row[name];
    if (value !== undefined) return change(value);
    const why = call.absence(name);
    absent.push(`${name} ${why}`);
    return why === "null" ? null : why === "of another type" ? remove : undefined;
  };
  return {
    boolean: to("boolean", (value) => !value),
    int64: to("int64", (value) => value),
    float64: to("float64", (value) => value * call.config.factor),
    timestamp: to("timestamp", (value) => value + 1),
    unix: to("unix", (value) => value),
    date: to("date", (value) => value + 1),
    text: to("text", (value) => `${value}!`),
    size: to("size", (value) => SIZES[(SIZES.indexOf(value) + 1) % 3]),
    json: to("json", (value) => `[${value}]`),
    risk: to("risk", (value) => value),
    absent: absent.join(", "),
    at: row.batchTime,
  };
}
