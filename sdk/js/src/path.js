// Paths: RFC 9535 singular queries whose leading `$.` may be left out, as `merchant.id`,
// `items[0].sku`, `['a.b'].c`; the whole record is `$`.

const NAME = /^[A-Za-z_\u0080-\u{10ffff}][\w\u0080-\u{10ffff}]*/u;
const INDEX = /^(0|[1-9]\d*)/;
const BLANK = /^[ \t\n\r]+/;
const QUOTED = /^(?:'(?:[^'\\\u0000-\u001f]|\\.)*'|"(?:[^"\\\u0000-\u001f]|\\.)*")/u;

/** The segments of a path, as the contract has them. */
export function parsePath(text) {
  const fail = (why) => {
    throw new TypeError(`\`${text}\` is not a path: ${why}`);
  };
  if (typeof text !== "string" || text === "") fail("it is empty; the whole record is `$`");
  const path = [];
  let rest = text.startsWith("$") ? text.slice(1) : text.startsWith("[") ? text : `.${text}`;
  const take = (pattern) => {
    const found = pattern.exec(rest)?.[0];
    if (found !== undefined) rest = rest.slice(found.length);
    return found;
  };
  while (rest !== "") {
    take(BLANK);
    if (take(/^\./) !== undefined) {
      const name = take(NAME);
      if (name === undefined) fail(/^[.*]/.test(rest) ? "it may select more than one field" : "a name with other characters stands in brackets: `['a-b']`");
      path.push({ tag: "key", val: name });
    } else if (take(/^\[/) !== undefined) {
      take(BLANK);
      const index = take(INDEX);
      const quoted = index === undefined ? take(QUOTED) : undefined;
      if (index !== undefined) {
        if (Number(index) > 0xffffffff) fail("the index is too large");
        path.push({ tag: "index", val: Number(index) });
      } else if (quoted !== undefined) {
        path.push({ tag: "key", val: unquote(quoted, fail) });
      } else {
        fail("it must name one field: `['name']` or `[0]`");
      }
      take(BLANK);
      if (take(/^\]/) === undefined) fail("`]` is missing after one name or index");
    } else {
      fail("a segment begins with `.` or `[`");
    }
  }
  return path;
}

// A quoted name is a JSON string but for its quotes: in either kind, its own is escaped.
function unquote(quoted, fail) {
  const quote = quoted[0];
  if (quote === '"' && quoted.includes("\\'") || quote === "'" && quoted.includes('\\"')) fail("a name contains an unknown escape");
  const inside = quoted.slice(1, -1).replaceAll("\\'", "'").replaceAll('\\"', '"').replaceAll('"', '\\"');
  try {
    const name = JSON.parse(`"${inside}"`);
    if (/\p{Surrogate}/u.test(name)) fail("a name contains half a surrogate pair");
    return name;
  } catch {
    return fail("a name contains an unknown escape");
  }
}
