/**
 * Random numbers with the bits that every device gives: the formulas and their order are those of ops/random.ts, in the
 * integer arithmetic of softFloat.ts. One invocation takes one block of Threefry, which is two numbers.
 */
import type { randomKernels } from "../../ops/random";
import type { Key } from "../../random";
import type { KernelsOf } from "../../signature";
import type { Tensor } from "../../tensor";
import { type Launcher, part, rowParts } from "./launcher";
import { program } from "./program";
import { floatBits, SOFT_FLOAT, softLiteral } from "./softFloat";

const WORKGROUP = 64;

/** `fn threefry(key: vec2u, counter: vec2u) -> vec2u`: a block of Threefry-2x32-20, see src/random.ts. */
export const THREEFRY = `
const ROTATIONS = array<vec4u, 2>(vec4u(13u, 15u, 26u, 6u), vec4u(17u, 29u, 16u, 24u));

fn threefry(key: vec2u, counter: vec2u) -> vec2u {
  var schedule = vec3u(key, key.x ^ key.y ^ 0x1bd11bdau);
  var x = counter + key;
  for (var i = 0u; i < 5u; i++) {
    let rotations = ROTATIONS[i & 1u];
    for (var j = 0u; j < 4u; j++) {
      x.x += x.y;
      x.y = ((x.y << rotations[j]) | (x.y >> (32u - rotations[j]))) ^ x.x;
    }
    schedule = schedule.yzx;
    x += schedule.xy + vec2u(0u, i + 1u);
  }
  return x;
}`;

const WORDS = `
${THREEFRY}

// out[i] = shift + scale * value(word i); the part's first number is of block first_block.
fn run(group: u32, lane: u32) {
  let block = group * WORKGROUP + lane;
  let words = threefry(vec2u(params.key_low, params.key_high), vec2u(params.first_block + block, 0u));
  for (var i = 0u; i < 2u; i++) {
    let at = 2u * block + i;
    if (at < params.size) { out[at] = soft_add(params.shift, soft_mul(params.scale, value(words[i]))); }
  }
}`;

const generator = (name: string, value: string) =>
  program({
    name,
    reads: {},
    writes: { out: "u32" },
    params: { size: "u32", first_block: "u32", key_low: "u32", key_high: "u32", shift: "u32", scale: "u32" },
    workgroup: WORKGROUP,
    code: SOFT_FLOAT + value + WORDS,
  });

const randomUniform = generator("randomUniform", `
fn value(word: u32) -> u32 { return soft_rounded(0u, -24, word >> 8u); }`);

// AS 241, PPND7, see ops/random.ts: numerators and denominators by rising powers; a leading 0 changes no bit.
const CENTRE = [[3.3871327179, 50.434271938, 159.29113202, 59.10937472], [1, 17.895169469, 78.757757664, 67.1875636]];
const TAIL = [[1.4234372777, 2.75681539, 1.3067284816, 0.17023821103], [1, 0.7370016425, 0.12021132975, 0]];
// 2·artanh(s) = s · (2 + 2/3 s² + 2/5 s⁴ + ...)
const LOGARITHM = [2, 2 / 3, 2 / 5, 2 / 7, 2 / 9];

// The standard normal number of a word.
const STANDARD_NORMAL = `
const COEFFICIENTS = array<u32, 21>(${[...CENTRE.flat(), ...TAIL.flat(), ...LOGARITHM].map(softLiteral).join(", ")});
const CENTRE = 0u;
const TAIL = 8u;
const LOGARITHM = 16u;

// The sum of COEFFICIENTS[first + k] * x^k for k <= degree.
fn polynomial(x: u32, first: u32, degree: u32) -> u32 {
  var sum = COEFFICIENTS[first + degree];
  for (var k = degree; k > 0u; k--) { sum = soft_add(soft_mul(sum, x), COEFFICIENTS[first + k - 1u]); }
  return sum;
}

// -ln(n * 2^-25) for whole n in 1 ... 2^24 - 1: n = m * 2^e with m in [sqrt(1/2), sqrt(2))
fn minus_log(n: u32) -> u32 {
  var e = 31u - countLeadingZeros(n);
  if (soft_rounded(0u, -i32(e), n) > ${softLiteral(Math.SQRT2)}) { e++; }
  let m = soft_rounded(0u, -i32(e), n);
  let s = soft_div(soft_add(m, ${softLiteral(-1)}), soft_add(m, ${softLiteral(1)}));
  let logarithm = soft_mul(s, polynomial(soft_mul(s, s), LOGARITHM, 4u));
  return soft_add(soft_mul(soft_rounded(0u, 0, 25u - e), ${softLiteral(Math.LN2)}), logarithm ^ SOFT_SIGN);
}

fn value(word: u32) -> u32 {
  let n = ((word >> 7u) & 0xfffffeu) | 1u;
  var factor = soft_rounded(0u, -25, 16777216u - n); // q = 1/2 - p
  var x: u32;
  var first = CENTRE;
  if (factor <= ${softLiteral(0.425)}) {
    x = soft_add(${softLiteral(0.180625)}, soft_mul(factor, factor) ^ SOFT_SIGN);
  } else {
    x = soft_add(soft_sqrt(minus_log(n)), ${softLiteral(-1.6)});
    first = TAIL;
    factor = ${softLiteral(1)};
  }
  let z = soft_div(soft_mul(factor, polynomial(x, first, 3u)), polynomial(x, first + 4u, 3u));
  return z ^ (~word & SOFT_SIGN);
}`;

const randomNormal = generator("randomNormal", STANDARD_NORMAL);

export const random = (gpu: Launcher): KernelsOf<typeof randomKernels> => {
  const generate = (kernel: typeof randomNormal, out: Tensor, [low, high]: Key, shift: number, scale: number): void => {
    // Blocks are counted in 32 bits: no device has a tensor of 2³³ numbers. Parts begin at even places.
    for (const { start, count } of rowParts(out.size, [1], gpu.maxBinding)) {
      const params = { size: count, first_block: start / 2, key_low: low, key_high: high, shift: floatBits(shift),
        scale: floatBits(scale) };
      gpu.run(kernel, { out: part(out, start, count) }, params, Math.ceil(count / (2 * WORKGROUP)));
    }
  };
  return {
    randomUniform: ({ out, key, low, range }) => generate(randomUniform, out, key, low, range),
    randomNormal: ({ out, key, mean, std }) => generate(randomNormal, out, key, mean, std),
  };
};
