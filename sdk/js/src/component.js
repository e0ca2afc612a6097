// What the contract asks of a component, over the loop.

import { ConfigError } from "./config.js";
import { logTo } from "./log.js";
import { Loop } from "./loop.js";

export class Component {
  #definition;
  #description;
  #host;
  #loop;

  constructor(definition, description, host) {
    this.#definition = definition;
    this.#description = description;
    this.#host = host;
    // Exported functions are called without `this`.
    this.describe = this.describe.bind(this);
    this.configure = this.configure.bind(this);
    this.transform = this.transform.bind(this);
    logTo((level, message) => host.log(level, message));
    withoutChance();
  }

  describe() {
    return this.#description.about;
  }

  configure(json) {
    try {
      this.#loop = new Loop(this.#definition, this.#description, this.#definition.config, json);
    } catch (error) {
      if (error instanceof ConfigError) throw { pointer: error.pointer, message: error.message };
      return this.#fault(undefined, error);
    }
    const { reads, writes, rules, state } = this.#description;
    return { reads, writes, rules, state };
  }

  transform(batch) {
    try {
      return this.#loop.transform(batch);
    } catch (error) {
      return this.#fault(this.#loop.currentRow, error);
    }
  }

  // The text of what is thrown is lost on the way out, so it is told before.
  #fault(row, error) {
    const text = error instanceof Error ? `${error.message}${placeOf(error)}` : String(error);
    this.#host.fault(row, text);
    throw error;
  }
}

/** The first line of a stack, where there is one. */
function placeOf(error) {
  const [place] = /\bat .*$/m.exec(error.stack ?? "") ?? [];
  return place === undefined ? "" : `, ${place.trim()}`;
}

/**
 * Takes away what would be the same in every instance, or differ from one replay to the next, and
 * looks as if it worked: the clock, which stands at the time of the build, and random numbers.
 */
function withoutChance() {
  const refuse = (what, instead) => () => {
    throw new Error(`a plugin has no ${what}: ${instead}`);
  };
  const noClock = refuse("clock", 'read `read.host("@batch-time")`');
  const RealDate = Date;
  globalThis.Date = new Proxy(RealDate, {
    construct: (target, values, of) => (values.length === 0 ? noClock() : Reflect.construct(target, values, of)),
    apply: noClock,
    get: (target, property) => (property === "now" ? noClock : Reflect.get(target, property)),
  });
  const noChance = refuse("random numbers", "hash what you read");
  Math.random = noChance;
  replace("performance", { now: noClock });
  replace("crypto", { getRandomValues: noChance, randomUUID: noChance });
}

function replace(name, value) {
  if (name in globalThis) Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
}
