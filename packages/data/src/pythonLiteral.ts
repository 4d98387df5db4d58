/** Python's string and bytes literals, as `repr` writes them, read strictly: data, never a program. */
import { check, LenggenError, quote } from "@lenggen/kernels";

const encoder = new TextEncoder();
const SHORT: Readonly<Record<string, number>> = { "\\": 0x5c, "'": 0x27, '"': 0x22, n: 10, r: 13, t: 9 };
/** Digits of the escapes that give a code. */
const DIGITS: Readonly<Record<string, number>> = { x: 2, u: 4, U: 8 };

/** The bytes of a literal `'...'`, `"..."`, `b'...'` or `b"..."`; of a string, its UTF-8. Throws `E_FORMAT` that begins with `where`. */
export function literalBytes(literal: string, where: string): Uint8Array {
  const fail = (why: string): never => {
    throw new LenggenError("E_FORMAT", `${where}: ${quote(literal)} is no literal of Python: ${why}`);
  };
  const isBytes = literal.startsWith("b");
  const body = isBytes ? literal.slice(1) : literal;
  const mark = body[0];
  if (body.length < 2 || (mark !== "'" && mark !== '"') || !body.endsWith(mark)) {
    fail("it needs to be in quotes, such as 'a' or b'\\xff'");
  }
  const inside = body.slice(1, -1);
  const bytes: number[] = [];
  let text = "";
  for (let i = 0; i < inside.length; i++) {
    const letter = inside[i]!;
    if (letter === mark) fail("a quote inside it has no backslash");
    if (letter !== "\\") {
      if (isBytes && letter.charCodeAt(0) > 126) fail("bytes are written in ASCII");
      if (isBytes) bytes.push(letter.charCodeAt(0));
      else text += letter;
      continue;
    }
    const kind = inside[++i] ?? fail("it ends in a backslash");
    let code: number;
    if (Object.hasOwn(SHORT, kind)) code = SHORT[kind]!;
    else {
      if (!Object.hasOwn(DIGITS, kind) || (isBytes && kind !== "x")) fail(`the escape \\${kind} is not one that repr writes`);
      const hex = inside.slice(i + 1, i + 1 + DIGITS[kind]!);
      if (hex.length < DIGITS[kind]! || !/^[0-9a-fA-F]+$/.test(hex)) fail(`\\${kind} needs ${DIGITS[kind]} hexadecimal digits`);
      code = Number.parseInt(hex, 16);
      i += hex.length;
      if (code > 0x10ffff) fail(`there is no character ${hex}`);
    }
    if (isBytes) bytes.push(code);
    else text += String.fromCodePoint(code);
  }
  if (isBytes) return Uint8Array.from(bytes);
  check(!/\p{Cs}/u.test(text), "E_FORMAT", () => `${where}: ${quote(literal)} holds half of a surrogate pair, which no text has`);
  return encoder.encode(text);
}
