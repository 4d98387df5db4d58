/** The commands that go on with a saved project in a terminal, for the note in its archive. */
import { isSmall, phaseOptions, type Plan } from "./plan";
import { measuredLengths, type SplitText } from "./text";
import type { Phase } from "./training";

export interface SavedPhase extends Phase {
  readonly folder: string;
  /** Step of its last checkpoint. */
  readonly saved: number;
}

export function noteFor(plan: Plan, phases: readonly SavedPhase[], text: SplitText): string {
  const last = phases.at(-1);
  const { lengths, sequences } = measuredLengths(text.heldOut, plan.context);
  const lines = [
    "A run of train-in-a-tab. Each numbered folder is a run directory of lenggen.",
    "",
    "Load this archive in the page to go on there. To go on in a terminal, unpack it and, in this folder:",
    "",
    ...(last ? [
      "# Measure it on the part of the text that it was not trained on",
      `lenggen eval loss-by-position --checkpoint ${last.folder} --text ${text.heldOutName} --lengths ${lengths.join(",")} --samples `
        + `${sequences.length}`,
      "",
      "# Finish the run, if it was stopped before its end",
      resumeCommand(plan, last, text),
    ] : []),
    "",
  ];
  return lines.join("\n");
}

/** The command whose settings are those of a phase, so that it takes the phase's folder for a run of its own. */
function resumeCommand(plan: Plan, phase: SavedPhase, text: SplitText): string {
  const { steps, batch, context, seed, schedule, optimizer, methodOptions } = phaseOptions(plan, phase.method, phase.first);
  const flags: Record<string, string | number> = {
    out: phase.folder,
    text: text.trainName,
    method: phase.method,
    ...(phase.base === undefined ? {} : { checkpoint: phase.base }),
    // Of a small model the command line has no preset; the checkpoint has the configuration.
    ...(phase.base === undefined
      ? { model: isSmall(plan.model) ? `${phase.folder}/checkpoints/step-${phase.saved}/config.json` : plan.model } : {}),
    steps, batch, context, seed,
    "learning-rate": schedule.learningRate,
    warmup: schedule.warmup,
    "weight-decay": optimizer.weightDecay ?? 0,
  };
  const words = Object.entries(flags).map(([name, value]) => `--${name} ${value}`);
  for (const [name, value] of Object.entries(methodOptions)) words.push(`--set ${name}=${JSON.stringify(value)}`);
  return `lenggen ${phase.base === undefined ? "train" : "post-train"} ${words.join(" ")} --resume`;
}

