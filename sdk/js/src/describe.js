// From a definition to the contract's `about` and `description`, with every mistake named.

import { isRead, isWrite } from "./fields.js";
import { parsePath } from "./path.js";

const DIMENSIONS = ["completeness", "validity", "uniqueness", "consistency", "timeliness", "accuracy"];
const SEVERITIES = ["info", "warn", "reject"];

export function describe(definition) {
  const { name, version, summary, reads, writes = {}, rules = {}, key = [], transform } = definition;
  const fail = (what) => {
    throw new TypeError(`plugin ${name ?? "without a name"}: ${what}`);
  };
  for (const [what, text] of Object.entries({ name, version, summary })) {
    if (typeof text !== "string") fail(`\`${what}\` is a string`);
  }
  if (typeof transform !== "function") fail("`transform` is a function of a row and a call");
  const describedReads = Object.entries(reads ?? fail("`reads` says what is read")).map(([field, it]) => {
    if (!isRead(it)) fail(`\`reads.${field}\` is made by \`read\``);
    return { from: it.from(field), kind: it.kind, required: it.required };
  });
  const describedWrites = Object.entries(writes).map(([field, it]) => {
    if (!isWrite(it)) fail(`\`writes.${field}\` is made by \`write\``);
    return { path: it.path === undefined ? [{ tag: "key", val: field }] : parsePath(it.path), kind: it.kind };
  });
  const describedRules = Object.entries(rules).map(([id, rule]) => {
    const { dimension = "validity", severity = "reject", field, text } = rule;
    if (!DIMENSIONS.includes(dimension)) fail(`the dimension of \`${id}\` is one of ${DIMENSIONS.join(", ")}`);
    if (!SEVERITIES.includes(severity)) fail(`the severity of \`${id}\` is one of ${SEVERITIES.join(", ")}`);
    if (typeof text !== "string") fail(`\`${id}\` has no text for people`);
    return { id, dimension, severity, field: field === undefined ? undefined : parsePath(field), text };
  });
  const keyIndices = key.map((field) => {
    const index = Object.keys(reads).indexOf(field);
    return index < 0 ? fail(`\`key\` names \`${field}\`, which is not read`) : index;
  });
  const keepsState = definition.state !== undefined;
  if (keepsState !== keyIndices.length > 0) fail("a plugin that keeps `state`, and no other, has a `key`");

  const isDocument = (origin) => origin.tag === "field" && origin.val.length === 0;
  const capabilities = Object.entries({
    state: keepsState,
    "fan-out": definition.fanOut === true,
    document: describedReads.some((it) => isDocument(it.from)) || describedWrites.some((it) => it.path.length === 0),
    lookups: describedReads.some((it) => it.from.tag === "lookup"),
  }).filter(([, asked]) => asked).map(([capability]) => capability);
  return {
    about: {
      name,
      version,
      summary,
      configSchema: JSON.stringify(definition.config?.schema() ?? { type: "object", properties: {}, additionalProperties: false }),
      capabilities,
      stateVersion: keepsState ? definition.stateVersion ?? 1 : 0,
      mayBePassedBy: definition.mayBePassedBy === true,
    },
    reads: describedReads,
    writes: describedWrites,
    rules: describedRules,
    state: keepsState ? { key: keyIndices } : undefined,
  };
}
