// Write Tidegate plugins in JavaScript: what is read, what is written, and a function.
//
// `plugin` takes all that a plugin is and checks it. The modules beside it are one concern each:
// `fields` (reads and writes), `config`, `state`, `loop` (a batch in, a reply out), `component` (what
// the contract asks for). Nothing in here imports the host: a component is given it when it is built,
// so that `node --test` runs the same modules.

import { Component } from "./component.js";
import { config, ConfigError } from "./config.js";
import { read, remove, write } from "./fields.js";
import { describe } from "./describe.js";
import { log } from "./log.js";
import { Loop, refuse } from "./loop.js";
import { state } from "./state.js";

export { config, ConfigError, log, read, remove, state, write };

/** Makes a plugin. See index.d.ts for what it takes. */
export function plugin(definition) {
  const description = describe(definition);
  return {
    ...definition,
    description,
    configure: (json) => new Loop(definition, description, definition.config, json),
    component: (host) => new Component(definition, description, host),
  };
}

/** What a function is called with besides its row, for tests that call it themselves. */
export function call(definition, config = {}) {
  const found = [];
  return {
    config,
    found,
    find: (rule, detail = "") => void found.push({ rule, detail }),
    reject: (rule, detail = "") => refuse("reject", rule, detail),
    drop: (rule, detail = "") => refuse("drop", rule, detail),
    absence: () => undefined,
  };
}
