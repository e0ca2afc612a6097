// Text and its bytes. An engine for small things has no TextDecoder, and its own way is faster than
// a polyfill's for what most texts are: ASCII.

const decoder = typeof TextDecoder === "undefined" ? undefined : new TextDecoder();
const encoder = typeof TextEncoder === "undefined" ? undefined : new TextEncoder();

/** More arguments than this at once overflow a small stack. */
const CHUNK = 4096;

/** Whether bytes are the characters of their text one by one. */
export function isAscii(bytes) {
  for (let i = 0; i < bytes.length; i++) {
    if (bytes[i] >= 0x80) return false;
  }
  return true;
}

export function decodeAscii(bytes) {
  if (bytes.length <= CHUNK) return String.fromCharCode.apply(undefined, bytes);
  let text = "";
  for (let at = 0; at < bytes.length; at += CHUNK) {
    text += String.fromCharCode.apply(undefined, bytes.subarray(at, at + CHUNK));
  }
  return text;
}

/** The text of bytes that are UTF-8, as the host has checked. */
export function decodeUtf8(bytes) {
  if (decoder) return decoder.decode(bytes);
  let text = "";
  for (let i = 0; i < bytes.length; ) {
    const first = bytes[i];
    let code = first;
    let more = 0;
    if (first >= 0xf0) [code, more] = [first & 0x07, 3];
    else if (first >= 0xe0) [code, more] = [first & 0x0f, 2];
    else if (first >= 0xc0) [code, more] = [first & 0x1f, 1];
    for (let j = 1; j <= more; j++) code = (code << 6) | (bytes[i + j] & 0x3f);
    text += String.fromCodePoint(code);
    i += more + 1;
  }
  return text;
}

/** The bytes of a text. Half a surrogate pair becomes U+FFFD, as everywhere on the web. */
export function encodeUtf8(text) {
  if (encoder) return encoder.encode(text);
  const bytes = [];
  pushUtf8(text, bytes);
  return Uint8Array.from(bytes);
}

/** Appends the bytes of a text to a list. */
export function pushUtf8(text, bytes) {
  for (let i = 0; i < text.length; i++) {
    let code = text.charCodeAt(i);
    if (code < 0x80) {
      bytes.push(code);
      continue;
    }
    if (code >= 0xd800 && code < 0xe000) {
      const low = text.charCodeAt(i + 1);
      if (code < 0xdc00 && low >= 0xdc00 && low < 0xe000) {
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        i++;
      } else {
        code = 0xfffd;
      }
    }
    if (code < 0x800) bytes.push(0xc0 | (code >> 6), 0x80 | (code & 0x3f));
    else if (code < 0x10000) bytes.push(0xe0 | (code >> 12), 0x80 | ((code >> 6) & 0x3f), 0x80 | (code & 0x3f));
    else bytes.push(0xf0 | (code >> 18), 0x80 | ((code >> 12) & 0x3f), 0x80 | ((code >> 6) & 0x3f), 0x80 | (code & 0x3f));
  }
}
