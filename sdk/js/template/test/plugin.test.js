import assert from "node:assert/strict";
import { test } from "node:test";
import { run } from "tidegate-plugin/testing";

import plugin from "../src/plugin.js";

test("transactions are sized", () => {
  const time = { utc: "2026-03-01T12:00:00Z" };
  const [sized, refused] = run(plugin, { large: 100 }, [
    { amount: 250, currency: "USD", time },
    { amount: -1, time },
  ]);
  assert.deepEqual(sized.records, [
    { amount: 250, currency: "USD", time, size: "large", is_foreign: true, day: "2026-03-01" },
  ]);
  assert.deepEqual(refused.findings, [{ rule: "negative-amount", detail: "" }]);
});
