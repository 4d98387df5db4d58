/**
 * Python's pickle format (protocol 2) read as data. A pickle is a program for a stack machine; this one knows only those of its
 * instructions that dictionaries of tensors are made of, and refuses every other by its name. It calls nothing: a name that the program
 * wants to call is looked up in the caller's table, and refused by name when it is not there.
 *
 * Why no library: pickleparser (0.2) knows all instructions, makes a class for every name unless told otherwise, copies attributes onto
 * objects, and takes an empty stack for undefined; jpickle (0.4) does not know the instruction by which tensors name their data. Neither
 * says at which byte it fails, and less than thirty instructions are needed.
 */
import { check, LenggenError } from "../errors";
import { quote } from "../strictJson";

/** A pickled tuple; lists are arrays. */
export class Tuple {
  constructor(readonly items: readonly unknown[]) {}
}

/** A pickled dictionary. A class of its own, so that it is nothing else. */
export class Dictionary extends Map<unknown, unknown> {}

/** A name that a pickle may use: what calling it means, if it may be called. */
export class Name {
  constructor(
    readonly name: string,
    readonly call?: (args: readonly unknown[]) => unknown,
  ) {}
}

export interface PickleNames {
  /** What a pickle may name, by "module name". */
  readonly names: ReadonlyMap<string, Name>;
  /** What it means by an object that lies outside of it. */
  outside(id: unknown): unknown;
  /** Whether an object may be given attributes, which are then left out. */
  ignoresAttributes(object: unknown): boolean;
}

/** Why a value can't be what it is used as; {@link unpickle} says where. */
export class Misuse extends Error {}

/** Instructions by their code, by the names that Python gives them. */
const OPCODES: Readonly<Record<number, string>> = {
  0x28: "MARK", 0x29: "EMPTY_TUPLE", 0x2e: "STOP", 0x47: "BINFLOAT", 0x4a: "BININT", 0x4b: "BININT1", 0x4d: "BININT2", 0x4e: "NONE",
  0x51: "BINPERSID", 0x52: "REDUCE", 0x55: "SHORT_BINSTRING", 0x58: "BINUNICODE", 0x5d: "EMPTY_LIST", 0x61: "APPEND", 0x62: "BUILD",
  0x63: "GLOBAL", 0x65: "APPENDS", 0x68: "BINGET", 0x6a: "LONG_BINGET", 0x71: "BINPUT", 0x72: "LONG_BINPUT", 0x73: "SETITEM",
  0x74: "TUPLE", 0x75: "SETITEMS", 0x7d: "EMPTY_DICT", 0x80: "PROTO", 0x85: "TUPLE1", 0x86: "TUPLE2", 0x87: "TUPLE3", 0x88: "NEWTRUE",
  0x89: "NEWFALSE", 0x8a: "LONG1",
};

/** Those that are refused, for messages. */
const REFUSED: Readonly<Record<number, string>> = {
  0x30: "POP", 0x31: "POP_MARK", 0x32: "DUP", 0x42: "BINBYTES", 0x43: "SHORT_BINBYTES", 0x46: "FLOAT", 0x49: "INT", 0x4c: "LONG",
  0x50: "PERSID", 0x53: "STRING", 0x54: "BINSTRING", 0x56: "UNICODE", 0x64: "DICT", 0x67: "GET", 0x69: "INST", 0x6c: "LIST", 0x6f: "OBJ",
  0x70: "PUT", 0x81: "NEWOBJ", 0x82: "EXT1", 0x83: "EXT2", 0x84: "EXT4", 0x8b: "LONG4", 0x8c: "SHORT_BINUNICODE", 0x8d: "BINUNICODE8",
  0x8e: "BINBYTES8", 0x8f: "EMPTY_SET", 0x90: "ADDITEMS", 0x91: "FROZENSET", 0x92: "NEWOBJ_EX", 0x93: "STACK_GLOBAL", 0x94: "MEMOIZE",
  0x95: "FRAME", 0x96: "BYTEARRAY8", 0x97: "NEXT_BUFFER", 0x98: "READONLY_BUFFER",
};

const PROTOCOL = 2;
const NEWLINE = 10;
/** Longest module or name. */
const LONGEST_NAME = 256;

/**
 * Reads one pickle from byte `start` on: its value, and where it ends. Memory stays within a fixed multiple of the bytes read. Throws
 * `E_FORMAT`, which begins with `what`.
 */
export function unpickle(bytes: Uint8Array, start: number, names: PickleNames, what: string): { value: unknown; end: number } {
  const machine = new Machine(bytes, start, names, what);
  return { value: machine.run(), end: machine.at };
}

class Machine {
  at: number;
  /** Where the instruction that runs began. */
  #instruction: number;
  readonly #view: DataView;
  readonly #decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  readonly #stack: unknown[] = [];
  /** How long the stack was at each mark. */
  readonly #marks: number[] = [];
  readonly #memo = new Map<number, unknown>();

  constructor(
    private readonly bytes: Uint8Array,
    start: number,
    private readonly names: PickleNames,
    private readonly what: string,
  ) {
    this.at = this.#instruction = start;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  run(): unknown {
    for (;;) {
      this.#instruction = this.at;
      const code = this.#byte();
      const opcode = OPCODES[code];
      if (opcode === undefined) {
        const name = REFUSED[code] ?? `0x${code.toString(16)}`;
        throw this.#error(`has the instruction ${name}, which no dictionary of tensors needs; pickles with anything else are not read`);
      }
      if (opcode === "STOP") {
        const value = this.#pop();
        check(this.#stack.length === 0 && this.#marks.length === 0, "E_FORMAT", () => this.#text("ends with more than one value"));
        return value;
      }
      try {
        this.#step(opcode);
      } catch (error) {
        throw error instanceof Misuse ? this.#error(error.message) : error;
      }
    }
  }

  #step(opcode: string): void {
    const stack = this.#stack;
    switch (opcode) {
      case "PROTO": {
        const protocol = this.#byte();
        if (protocol !== PROTOCOL) throw new Misuse(`is of protocol ${protocol}; PyTorch saves in ${PROTOCOL} unless asked to otherwise`);
        return;
      }
      case "NONE": return void stack.push(null);
      case "NEWTRUE": return void stack.push(true);
      case "NEWFALSE": return void stack.push(false);
      case "BININT": return void stack.push(this.#view.getInt32(this.#take(4), true));
      case "BININT1": return void stack.push(this.#byte());
      case "BININT2": return void stack.push(this.#view.getUint16(this.#take(2), true));
      case "LONG1": return void stack.push(this.#long(this.#byte()));
      case "BINFLOAT": return void stack.push(this.#view.getFloat64(this.#take(8), false));
      case "BINUNICODE": return void stack.push(this.#string(this.#view.getUint32(this.#take(4), true)));
      case "SHORT_BINSTRING": return void stack.push(this.#string(this.#byte()));
      case "EMPTY_TUPLE": return void stack.push(new Tuple([]));
      case "EMPTY_LIST": return void stack.push([]);
      case "EMPTY_DICT": return void stack.push(new Dictionary());
      case "MARK": return void this.#marks.push(stack.length);
      case "TUPLE": return void stack.push(new Tuple(this.#popToMark()));
      case "TUPLE1": case "TUPLE2": case "TUPLE3": {
        const items: unknown[] = [];
        for (let i = Number(opcode.at(-1)); i > 0; i--) items.unshift(this.#pop());
        return void stack.push(new Tuple(items));
      }
      case "APPEND": return this.#append([this.#pop()]);
      case "APPENDS": return this.#append(this.#popToMark());
      case "SETITEM": {
        const value = this.#pop();
        return this.#set([this.#pop(), value]);
      }
      case "SETITEMS": return this.#set(this.#popToMark());
      case "BINGET": return this.#get(this.#byte());
      case "LONG_BINGET": return this.#get(this.#view.getUint32(this.#take(4), true));
      case "BINPUT": return void this.#memo.set(this.#byte(), this.#top());
      case "LONG_BINPUT": return void this.#memo.set(this.#view.getUint32(this.#take(4), true), this.#top());
      case "GLOBAL": return void stack.push(this.#name());
      case "REDUCE": {
        const [args, callee] = [this.#pop(), this.#pop()];
        if (!(args instanceof Tuple)) throw new Misuse("calls something without a tuple of arguments");
        if (!(callee instanceof Name && callee.call)) {
          throw new Misuse(`calls ${callee instanceof Name ? callee.name : "a value"}, which is nothing to be called`);
        }
        return void stack.push(callee.call(args.items));
      }
      case "BUILD": {
        this.#pop();
        if (!this.names.ignoresAttributes(this.#top())) throw new Misuse("gives attributes to a value that has none");
        return;
      }
      case "BINPERSID": return void stack.push(this.names.outside(this.#pop()));
      default: throw new Misuse(`has the instruction ${opcode} in a wrong place`);
    }
  }

  #text(fault: string): string {
    return `${this.what}: its pickle ${fault} (byte ${this.#instruction})`;
  }

  #error(fault: string): LenggenError {
    return new LenggenError("E_FORMAT", this.#text(fault));
  }

  /** The place of so many bytes, which are then behind. */
  #take(count: number): number {
    const start = this.at;
    check(start + count <= this.bytes.length, "E_FORMAT", () => this.#text("is cut short"));
    this.at += count;
    return start;
  }

  #byte(): number {
    return this.bytes[this.#take(1)]!;
  }

  #string(length: number): string {
    const start = this.#take(length);
    try {
      return this.#decoder.decode(this.bytes.subarray(start, start + length));
    } catch {
      throw new Misuse("has a text that is not valid UTF-8");
    }
  }

  /** A whole number of any length, as a number where it fits one. */
  #long(length: number): number | bigint {
    const start = this.#take(length);
    let value = 0n;
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.bytes[start + i]!);
    value = BigInt.asIntN(8 * length, value);
    const short = Number(value);
    return Number.isSafeInteger(short) ? short : value;
  }

  #name(): Name {
    const [module, name] = [this.#line(), this.#line()];
    const found = this.names.names.get(`${module} ${name}`);
    if (!found) {
      throw new Misuse(`names ${quote(`${module}.${name}`)}, which no dictionary of tensors needs; nothing in a pickle is run, and one `
        + "with other names is not read");
    }
    return found;
  }

  #line(): string {
    const end = this.bytes.subarray(this.at, this.at + LONGEST_NAME).indexOf(NEWLINE);
    if (end < 0) throw new Misuse("has a name without an end");
    const text = this.#string(end);
    this.at++;
    return text;
  }

  #pop(): unknown {
    this.#top();
    return this.#stack.pop();
  }

  #top(): unknown {
    if (this.#stack.length <= (this.#marks.at(-1) ?? 0)) throw this.#error("takes a value where there is none");
    return this.#stack.at(-1);
  }

  #popToMark(): unknown[] {
    const mark = this.#marks.pop();
    if (mark === undefined) throw new Misuse("takes values up to a mark that it never made");
    return this.#stack.splice(mark);
  }

  #append(values: readonly unknown[]): void {
    const list = this.#top();
    if (!Array.isArray(list)) throw new Misuse("appends to what is no list");
    for (const value of values) list.push(value);
  }

  #set(pairs: readonly unknown[]): void {
    const dictionary = this.#top();
    if (!(dictionary instanceof Dictionary)) throw new Misuse("sets an item of what is no dictionary");
    if (pairs.length % 2 !== 0) throw new Misuse("has a key without a value");
    for (let i = 0; i < pairs.length; i += 2) {
      const key = pairs[i];
      if (dictionary.has(key)) throw new Misuse(`has ${typeof key === "string" ? `the key ${quote(key)}` : "a key"} twice in a dictionary`);
      dictionary.set(key, pairs[i + 1]);
    }
  }

  #get(index: number): void {
    if (!this.#memo.has(index)) throw new Misuse(`looks up value ${index}, which it never put away`);
    this.#stack.push(this.#memo.get(index));
  }
}
