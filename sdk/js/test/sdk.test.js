import assert from "node:assert/strict";
import { test } from "node:test";

import { config, ConfigError, plugin, read, remove, state, write } from "../src/index.js";
import { parsePath } from "../src/path.js";
import { Harness, run } from "../src/testing.js";
import { decodeUtf8, encodeUtf8, pushUtf8 } from "../src/utf8.js";

const price = plugin({
  name: "price",
  version: "1.0.0",
  summary: "Works out what an order comes to.",
  config: config.object({ bands: config.list(config.object({ label: config.string() })).optional() }),
  reads: {
    price: read.float64(),
    quantity: read.int64(),
    country: read.utf8("customer.country").optional(),
    status: read.enumeration(["open", "paid"]).optional(),
  },
  writes: { total: write.float64(), is_domestic: write.boolean(), status: write.enumeration(["open", "paid"]) },
  rules: {
    "nothing-ordered": { field: "quantity", text: "Something is ordered." },
    odd: { severity: "warn", text: "It is even." },
  },
  transform(row, call) {
    if (row.quantity < 1) return call.reject("nothing-ordered", "it is below one");
    if (row.quantity % 2 === 1) call.find("odd");
    const why = call.absence("country");
    return {
      total: row.price * row.quantity,
      is_domestic: why === "null" ? null : why === undefined ? row.country === "DE" : undefined,
      status: row.status === "open" ? "paid" : row.status === "paid" ? remove : undefined,
    };
  },
});

test("rows are read, judged and written", () => {
  const outcomes = run(price, {}, [
    { price: 2.5, quantity: 2, customer: { country: "DE" }, status: "open" },
    { price: 1, quantity: 1, customer: { country: null }, status: "lost" },
    { price: 1, quantity: 2, customer: { country: "größer" }, status: "paid" },
    { price: 1, quantity: 0 },
    { price: 1 },
  ]);
  assert.deepEqual(outcomes, [
    { verdict: "emit", findings: [], records: [{ price: 2.5, quantity: 2, customer: { country: "DE" }, status: "paid", total: 5, is_domestic: true }] },
    { verdict: "emit", findings: [{ rule: "odd", detail: "" }], records: [{ price: 1, quantity: 1, customer: { country: null }, status: "lost", total: 1, is_domestic: null }] },
    { verdict: "emit", findings: [], records: [{ price: 1, quantity: 2, customer: { country: "größer" }, total: 2, is_domestic: false }] },
    { verdict: "reject", findings: [{ rule: "nothing-ordered", detail: "it is below one" }], records: [] },
    { verdict: "reject", findings: [{ rule: "required", detail: "quantity" }], records: [] },
  ]);
});

test("configs are refused with a place", () => {
  const refused = (value, pointer, word) =>
    assert.throws(() => new Harness(price, value), (error) => error instanceof ConfigError && error.pointer === pointer && error.message.includes(word));
  refused({ bandz: [] }, "/bandz", "did you mean `bands`?");
  refused({ bands: [{ label: "a" }, { label: 3 }] }, "/bands/1/label", "expected a string, found a number");
  refused({ bands: [{}] }, "/bands/0", "missing field `label`");
  refused([], "", "expected an object, found a list");
});

test("states stay", () => {
  const streak = plugin({
    name: "streak",
    version: "1.0.0",
    summary: "Counts failed logins in a row.",
    reads: { user: read.utf8(), failed: read.boolean() },
    writes: { failures: write.int64() },
    key: ["user"],
    state: state.struct({ failures: state.u32 }),
    transform(row, _call, kept) {
      kept.failures = row.failed ? kept.failures + 1 : 0;
      return { failures: kept.failures };
    },
  });
  const harness = new Harness(streak);
  harness.run([{ user: "a", failed: true }, { user: "b", failed: true }]);
  const [, last] = harness.run([{ user: "a", failed: true }, { user: "a", failed: true }]);
  assert.equal(last.records[0].failures, 3);
});

test("rows split, and one of which nothing is left says why", () => {
  const split = plugin({
    name: "split",
    version: "1.0.0",
    summary: "A row for each item.",
    reads: { items: read.json() },
    writes: { item: write.json() },
    rules: { empty: { text: "There is something in it." } },
    fanOut: true,
    transform(row, call) {
      const items = JSON.parse(row.items);
      return items.length === 0 ? call.drop("empty") : items.map((item) => ({ item: JSON.stringify(item) }));
    },
  });
  const [none, two] = run(split, {}, [{ items: [] }, { items: [1, "ü"] }]);
  assert.equal(none.verdict, "drop");
  assert.deepEqual(two.records.map(({ item }) => item), [1, "ü"]);
});

test("a plugin that remembers batches is impure", () => {
  let seen = 0;
  const counts = plugin({
    name: "counts", version: "1.0.0", summary: "Counts.", reads: { a: read.int64() }, writes: { n: write.int64() },
    transform: () => ({ n: ++seen }),
  });
  assert.throws(() => run(counts, {}, [{ a: 1 }]), /impure/);
});

test("mistakes in a definition are named", () => {
  const made = (more) => () => plugin({ name: "a", version: "1", summary: "", reads: { a: read.int64() }, transform: () => ({}), ...more });
  assert.throws(made({ key: ["b"], state: state.u8 }), /`key` names `b`, which is not read/);
  assert.throws(made({ key: ["a"] }), /keeps `state`/);
  assert.throws(made({ rules: { r: {} } }), /has no text/);
  assert.throws(() => read.host("@now"), /no host value/);
  assert.throws(() => read.timestamp("a", { format: "unix" }), /no format/);
});

test("paths are those of RFC 9535", () => {
  const keys = (text) => parsePath(text).map(({ val }) => val);
  assert.deepEqual(keys("$"), []);
  assert.deepEqual(keys("$.items[0].sku"), ["items", 0, "sku"]);
  assert.deepEqual(keys("['a.b'][\"c\\u00e9\"]"), ["a.b", "cé"]);
  assert.deepEqual(keys("['it\\'s'].größe"), ["it's", "größe"]);
  for (const text of ["", "a..b", "a.*", "a[-1]", "a[01]", "a['b", "a-b", "a[b]", "a[4294967296]", "['\\x']", "['\\ud83d']"]) {
    assert.throws(() => parsePath(text), /is not a path/, text);
  }
});

test("text is text without an engine's help", () => {
  for (const text of ["", "abc", "größe", "\uffff😀", "\ud800"]) {
    const bytes = [];
    pushUtf8(text, bytes);
    assert.deepEqual(Uint8Array.from(bytes), encodeUtf8(text));
    assert.equal(decodeUtf8(Uint8Array.from(bytes)), text.toWellFormed?.() ?? text.replace("\ud800", "\ufffd"));
  }
});
