/**
 * A compute shader with its interface: what it binds, which numbers it takes, and how it starts. The families write
 * only `fn run(group: u32, lane: u32)`; the text around it comes from {@link shaderOf}.
 */
import type { NumberKind, Signature } from "../../signature";

/**
 * Element type of a bound buffer. A view of vectors needs a tensor whose size is a multiple of 4. Tensors of f16 are bound as `f16`
 * or `vec4h` where the device has the feature shader-f16, else as words of two numbers, `u32` or `vec2u`: see half.ts.
 */
export type BindingType = "f32" | "i32" | "u32" | "vec4f" | "vec4u" | "vec2u" | "f16" | "vec4h";
/** Type of a number that travels with a launch. */
export type ParamType = "u32" | "i32" | "f32";

type Bindings = Readonly<Record<string, BindingType | undefined>>;
type Params = Readonly<Record<string, ParamType>>;

/** What a family says about one of its kernels. */
export interface ProgramSpec<R extends Bindings, W extends Bindings, P extends Params> {
  /** The kernel's name in errors and profiles. */
  readonly name: string;
  /** Buffers that are only read, in the shader `name: array<type>`; one that is undefined is left out. */
  readonly reads: R;
  /** Buffers that are written, and may be read before. With the others at most 8, WebGPU's default limit. */
  readonly writes: W;
  /** Numbers, in the shader `params.name`. `params.groups`, the number of groups, is always there. */
  readonly params: P;
  /** Invocations of a group, at most 256; in the shader `WORKGROUP`. */
  readonly workgroup: number;
  /** Needs the feature `subgroups`: the shader has `subgroup_lane` and `subgroup_size`. */
  readonly subgroups?: boolean;
  /** Declarations and `fn run(group: u32, lane: u32)`, called once per invocation with group < params.groups, uniformly. */
  readonly code: string;
}

/** A shader and its interface, made once and kept: devices know their compiled pipelines by this object. */
export interface Program<R extends Bindings = Bindings, W extends Bindings = Bindings,
  P extends Params = Params> extends ProgramSpec<R, W, P> {
  readonly bindings: readonly { readonly name: string; readonly type: BindingType; readonly writable: boolean }[];
  readonly numbers: readonly { readonly name: string; readonly type: ParamType }[];
}

export function program<R extends Bindings, W extends Bindings, P extends Params>(spec: ProgramSpec<R, W, P>): Program<R, W, P> {
  const present = (bindings: Bindings, writable: boolean) =>
    Object.entries(bindings).flatMap(([name, type]) => (type ? [{ name, type, writable }] : []));
  return {
    ...spec,
    bindings: [...present(spec.reads, false), ...present(spec.writes, true)],
    numbers: [{ name: "groups", type: "u32" as const }, ...Object.entries(spec.params).map(([name, type]) => ({ name, type }))],
  };
}

type TypeOf<N extends NumberKind> = N extends "real" ? "f32" : N extends "int" ? "i32" : "u32";
type Declared<S extends Signature, More extends Params> = Program<
  { readonly [N in keyof S["reads"]]: BindingType }, { readonly [N in keyof S["writes"]]: BindingType },
  { readonly [N in keyof S["numbers"]]: TypeOf<S["numbers"][N]> } & More
>;

/**
 * The program of a kernel that is one: its bindings and numbers are those that are declared, single elements of f32 or i32, and `more`
 * numbers that the launch counts. Kernels of several programs or variants write their interfaces themselves.
 */
export function declaredProgram<S extends Signature, const More extends Params>(
  name: string, signature: S,
  { more, ...rest }: { readonly more: More } & Pick<ProgramSpec<Bindings, Bindings, Params>, "workgroup" | "code">,
): Declared<S, More> {
  const typed = (tensors: Readonly<Record<string, string>>): Bindings =>
    Object.fromEntries(Object.entries(tensors).map(([tensor, text]) => [tensor, text.startsWith("i32") ? "i32" : "f32"]));
  const numbers = Object.fromEntries(Object.entries(signature.numbers).map(([number, kind]) =>
    [number, kind === "real" ? "f32" as const : kind === "int" ? "i32" as const : "u32" as const]));
  const [reads, writes, params] = [typed(signature.reads), typed(signature.writes), { ...numbers, ...more }];
  return program({ name, reads, writes, params, ...rest }) as Declared<S, More>;
}

type Plain = string | number | boolean;

/**
 * A family of programs by plain values (flags, sizes, function names), or by one object of them: each is made at its first use and
 * kept.
 */
export function variants<A extends readonly Plain[] | readonly [object],
  P extends Program>(make: (...values: A) => P): (...values: A) => P {
  const made = new Map<string, P>();
  return (...values) => {
    const name = JSON.stringify(values);
    let found = made.get(name);
    if (!found) made.set(name, (found = make(...values)));
    return found;
  };
}

/** The whole WGSL text of a program. */
export function shaderOf({ bindings, numbers, workgroup, subgroups, code }: Program): string {
  const builtins = [
    "@builtin(workgroup_id) group_id: vec3u",
    "@builtin(num_workgroups) group_counts: vec3u",
    "@builtin(local_invocation_index) lane: u32",
    ...(subgroups ? ["@builtin(subgroup_invocation_id) lane_in_subgroup: u32", "@builtin(subgroup_size) lanes_in_subgroup: u32"] : []),
  ];
  return [
    subgroups ? "enable subgroups;" : "",
    bindings.some(({ type }) => type === "f16" || type === "vec4h") ? "enable f16;" : "",
    `struct Params { ${numbers.map(({ name, type }) => `${name}: ${type}`).join(", ")} }`,
    ...bindings.map(({ name, type, writable }, i) =>
      `@group(0) @binding(${i}) var<storage, ${writable ? "read_write" : "read"}> ${name}: array<${type}>;`),
    "@group(1) @binding(0) var<uniform> params: Params;",
    `const WORKGROUP = ${workgroup}u;`,
    subgroups ? "var<private> subgroup_lane: u32;\nvar<private> subgroup_size: u32;" : "",
    code,
    `@compute @workgroup_size(${workgroup})`,
    `fn main(${builtins.join(", ")}) {`,
    subgroups ? "  subgroup_lane = lane_in_subgroup;\n  subgroup_size = lanes_in_subgroup;" : "",
    // Many groups are spread over two dimensions, which may launch a few too many.
    "  let group = group_id.x + group_id.y * group_counts.x;",
    "  if (group < params.groups) { run(group, lane); }",
    "}",
  ].filter((line) => line !== "").join("\n");
}
