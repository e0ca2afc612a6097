// State as a type: its fields one after the other, numbers little-endian, lengths as u32, a byte
// before what may be absent, with nothing to say which is which. The same in every SDK, so a plugin
// that is written again in another language goes on with its states.

import { decodeUtf8, encodeUtf8 } from "./utf8.js";

class Writer {
  bytes = new Uint8Array(64);
  view = new DataView(this.bytes.buffer);
  length = 0;

  room(count) {
    const at = this.length;
    this.length += count;
    if (this.length > this.bytes.length) {
      const grown = new Uint8Array(Math.max(this.length, 2 * this.bytes.length));
      grown.set(this.bytes);
      this.bytes = grown;
      this.view = new DataView(grown.buffer);
    }
    return at;
  }
}

class Reader {
  at = 0;

  constructor(bytes) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  take(count) {
    const at = this.at;
    this.at += count;
    if (this.at > this.bytes.length) throw new RangeError(WRONG_VERSION);
    return at;
  }
}

const WRONG_VERSION = "the stored state is not one of this state version";

const number = (width, set, get, initial) => ({
  initial: () => initial,
  encode: (value, to) => {
    const at = to.room(width); // first: it may move the view
    to.view[set](at, value, true);
  },
  decode: (from) => from.view[get](from.take(width), true),
});

const u32 = number(4, "setUint32", "getUint32", 0);

const bool = {
  initial: () => false,
  encode: (value, to) => {
    const at = to.room(1);
    to.view.setUint8(at, value ? 1 : 0);
  },
  decode: (from) => {
    const byte = from.view.getUint8(from.take(1));
    if (byte > 1) throw new RangeError(WRONG_VERSION);
    return byte === 1;
  },
};

/** The types of a state. */
export const state = {
  u8: number(1, "setUint8", "getUint8", 0),
  u16: number(2, "setUint16", "getUint16", 0),
  u32,
  i8: number(1, "setInt8", "getInt8", 0),
  i16: number(2, "setInt16", "getInt16", 0),
  i32: number(4, "setInt32", "getInt32", 0),
  /** A bigint. */
  u64: number(8, "setBigUint64", "getBigUint64", 0n),
  /** A bigint. */
  i64: number(8, "setBigInt64", "getBigInt64", 0n),
  f32: number(4, "setFloat32", "getFloat32", 0),
  f64: number(8, "setFloat64", "getFloat64", 0),
  bool,
  text: {
    initial: () => "",
    encode: (value, to) => {
      const bytes = encodeUtf8(value);
      u32.encode(bytes.length, to);
      const at = to.room(bytes.length);
      to.bytes.set(bytes, at);
    },
    decode: (from) => {
      const length = u32.decode(from);
      const at = from.take(length);
      return decodeUtf8(from.bytes.subarray(at, at + length));
    },
  },
  option: (item) => ({
    initial: () => undefined,
    encode: (value, to) => {
      bool.encode(value !== undefined && value !== null, to);
      if (value !== undefined && value !== null) item.encode(value, to);
    },
    decode: (from) => (bool.decode(from) ? item.decode(from) : undefined),
  }),
  list: (item) => ({
    initial: () => [],
    encode: (values, to) => {
      u32.encode(values.length, to);
      for (const value of values) item.encode(value, to);
    },
    decode: (from) => {
      const length = u32.decode(from);
      const values = [];
      for (let i = 0; i < length; i++) values.push(item.decode(from));
      return values;
    },
  }),
  struct: (fields) => {
    const entries = Object.entries(fields);
    return {
      initial: () => Object.fromEntries(entries.map(([name, item]) => [name, item.initial()])),
      encode: (value, to) => {
        for (const [name, item] of entries) item.encode(value[name], to);
      },
      decode: (from) => Object.fromEntries(entries.map(([name, item]) => [name, item.decode(from)])),
    };
  },
};

/** The states of a batch's keys: decoded once, changed row by row, sent back where bytes changed. */
export class KeyedStates {
  #before;
  #codec;
  #now = [];

  constructor(states, codec) {
    this.#before = states;
    this.#codec = codec;
  }

  #bytes(key) {
    const { offsets, bytes } = this.#before.values;
    return bytes.subarray(offsets[key], offsets[key + 1]);
  }

  ofRow(row) {
    const key = this.#before.rows[row];
    if (this.#now[key] === undefined) {
      const bytes = this.#bytes(key);
      if (bytes.length === 0) {
        this.#now[key] = this.#codec.initial();
      } else {
        const reader = new Reader(bytes);
        this.#now[key] = this.#codec.decode(reader);
        if (reader.at !== bytes.length) throw new RangeError(WRONG_VERSION);
      }
    }
    return this.#now[key];
  }

  changed() {
    const keys = [];
    const offsets = [];
    const all = new Writer();
    for (let key = 0; key < this.#now.length; key++) {
      if (this.#now[key] === undefined) continue;
      const start = all.length;
      this.#codec.encode(this.#now[key], all);
      const before = this.#bytes(key);
      const after = all.bytes.subarray(start, all.length);
      if (before.length === after.length && before.every((byte, i) => byte === after[i])) {
        all.length = start;
        continue;
      }
      if (keys.length === 0) offsets.push(0);
      keys.push(key);
      offsets.push(all.length);
    }
    return { keys, values: { offsets, bytes: all.bytes.slice(0, all.length) } };
  }
}
