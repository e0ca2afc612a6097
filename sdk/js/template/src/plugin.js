// {{name}} sizes transactions up.

import { config, plugin, read, write } from "tidegate-plugin";

const DAY = 86_400_000_000; // microseconds

export default plugin({
  name: "{{name}}",
  version: "0.1.0",
  summary: "Sizes transactions up.",
  mayBePassedBy: true,

  // What the operator writes under `config`, and the sentences that they read.
  config: config.object({ large: config.number("Amounts from here on are large.") }),

  // The members of these names, or where a path says. A row without a required one is rejected.
  reads: {
    amount: read.float64(),
    currency: read.utf8().optional(),
    at: read.timestamp("time.utc"),
  },
  writes: {
    size: write.enumeration(["small", "large"]),
    is_foreign: write.boolean(),
    day: write.date(),
  },
  rules: {
    "negative-amount": { field: "amount", text: "The amount is not negative." },
  },

  transform(row, call) {
    if (row.amount < 0) return call.reject("negative-amount");
    return {
      size: row.amount >= call.config.large ? "large" : "small",
      is_foreign: row.currency === undefined ? undefined : row.currency !== "EUR", // undefined leaves it
      day: Math.floor(row.at / DAY),
    };
  },
});
