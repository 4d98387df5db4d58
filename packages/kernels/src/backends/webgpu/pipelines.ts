/**
 * Compiled programs of one device. Compilation never blocks: a pipeline is asked for when its program is first
 * launched, and the queue waits for it (queue.ts) while JavaScript goes on.
 */
import { LenggenError } from "../../errors";
import { type Program, shaderOf } from "./program";

/** A program on its way to being a pipeline. */
export interface Pipeline {
  readonly program: Program;
  /** Layout of its storage buffers, for bind groups. */
  readonly layout: GPUBindGroupLayout;
  /** Resolves when `compiled` or `failure` is set; never rejects. */
  readonly done: Promise<void>;
  compiled: GPUComputePipeline | undefined;
  failure: LenggenError | undefined;
}

const COMPUTE = 4; // GPUShaderStage.COMPUTE, which Node has no global for.

export class Pipelines {
  readonly #gpu: GPUDevice;
  readonly #pipelines = new Map<Program, Pipeline>();
  readonly #layouts = new Map<string, { group: GPUBindGroupLayout; pipeline: GPUPipelineLayout }>();
  readonly paramsLayout: GPUBindGroupLayout;

  constructor(gpu: GPUDevice) {
    this.#gpu = gpu;
    this.paramsLayout = gpu.createBindGroupLayout({
      label: "params",
      entries: [{ binding: 0, visibility: COMPUTE, buffer: { type: "uniform", hasDynamicOffset: true } }],
    });
  }

  get(program: Program): Pipeline {
    let found = this.#pipelines.get(program);
    if (!found) this.#pipelines.set(program, (found = this.#compile(program)));
    return found;
  }

  #compile(program: Program): Pipeline {
    const label = program.name;
    this.#gpu.pushErrorScope("validation");
    const layout = this.#layoutOf(program);
    const module = this.#gpu.createShaderModule({ label, code: shaderOf(program) });
    const invalid = this.#gpu.popErrorScope().catch(() => null);
    const compiling = this.#gpu.createComputePipelineAsync({ label, layout: layout.pipeline, compute: { module, entryPoint: "main" } });
    const finish = async (): Promise<void> => {
      try {
        pipeline.compiled = await compiling;
      } catch (error) {
        // The module's own error is the more telling one, where there is one.
        const reason = (await invalid)?.message ?? (error instanceof Error ? error.message : String(error));
        pipeline.failure = new LenggenError("E_SHADER", `webgpu: kernel ${program.name} does not compile on this device: ${reason.trim()}`,
          { cause: error });
      }
    };
    const pipeline: Pipeline = { program, layout: layout.group, compiled: undefined, failure: undefined,
      done: Promise.resolve().then(finish) };
    return pipeline;
  }

  #layoutOf({ bindings }: Program): { group: GPUBindGroupLayout; pipeline: GPUPipelineLayout } {
    const name = bindings.map(({ writable }) => (writable ? "w" : "r")).join("");
    let found = this.#layouts.get(name);
    if (!found) {
      const group = this.#gpu.createBindGroupLayout({
        label: name,
        entries: bindings.map(({ writable }, binding) => ({
          binding, visibility: COMPUTE, buffer: { type: writable ? "storage" as const : "read-only-storage" as const },
        })),
      });
      found = { group, pipeline: this.#gpu.createPipelineLayout({ label: name, bindGroupLayouts: [group, this.paramsLayout] }) };
      this.#layouts.set(name, found);
    }
    return found;
  }
}
