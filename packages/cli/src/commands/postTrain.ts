import { check, dispose, type Parameters } from "@lenggen/kernels";
import { join } from "node:path";
import type { CommandSpec } from "../command";
import { findCheckpoint, loadCheckpoint, readJson, runOf } from "../models";
import { wholeNumber } from "../parse";
import { readText } from "../text";
import { runTraining } from "../training";
import { addTrainingOptions, METHODS, reportTraining, sharedPlan, type SharedOptions } from "./trainOptions";

/** Part of the base run's steps that post-training takes unless told. */
const SHARE = 0.05;

export const postTrain: CommandSpec = {
  name: "post-train",
  summary: "Train a trained model on, with initial states from a method, so that it holds beyond its training length.",
  examples: ["lenggen post-train --method state-passing --checkpoint runs/base --out runs/passed --steps 100 --learning-rate 0.0003"],
  define: (command) =>
    addTrainingOptions(
      command
        .requiredOption("--method <name>", `source of initial states: ${METHODS.join(", ")}`)
        .requiredOption("--checkpoint <folder>", "where to start: a run directory (its last checkpoint) or a checkpoint's folder")
        .option("--steps <n>", "updates in all; 5% of the base run's unless given", wholeNumber("--steps", 1)),
      { defaults: { learningRate: 3e-4 }, context: "bytes per sequence; the base run's unless given" },
    ),
  async run(context, _, given) {
    const { text: source, out: folder, resume, ...options } = given as unknown as SharedOptions;
    const { checkpoint } = given as { checkpoint: string };
    const base = await findCheckpoint(checkpoint);
    const recorded = await recordedSettings(base);
    const length = options.context ?? recorded.context;
    const steps = options.steps ?? (recorded.steps === undefined ? undefined : Math.max(1, Math.round(SHARE * recorded.steps)));
    check(length !== undefined && steps !== undefined, "E_ARGUMENT", () => `${base} lies in no run directory, so --context and --steps must be given`);
    const plan = sharedPlan(given, length);
    const text = await readText(source, length + 1);
    const device = await context.openDevice();
    const { model, parameters } = await loadCheckpoint(base, device);
    const outcome = await runTraining(
      device,
      {
        ...plan,
        label: plan.method,
        model: model,
        text,
        steps,
        seed: context.common.seed,
        folder,
        resume,
        parameters: () => Promise.resolve<Parameters>(parameters),
        settings: { base },
      },
      context.signal,
    );
    dispose([outcome.parameters, parameters]);
    reportTraining(context, device, folder, steps, outcome);
  },
};

/** Context and steps of the run that a checkpoint belongs to. */
async function recordedSettings(checkpoint: string): Promise<{ context?: number; steps?: number }> {
  const run = runOf(checkpoint);
  if (run === undefined) return {};
  const { settings } = (await readJson(join(run, "run.json"))) as { settings?: { steps?: unknown; data?: { context?: unknown } } };
  const whole = (value: unknown): number | undefined => (Number.isSafeInteger(value) ? (value as number) : undefined);
  return { context: whole(settings?.data?.context), steps: whole(settings?.steps) };
}
