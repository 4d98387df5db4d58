/**
 * The `lenggen` command: reads the command line, runs one command and turns what happens into one line on stderr and an exit
 * code (0 done, 1 failed, 2 wrong usage, 130 interrupted).
 */
import { inspect } from "node:util";
import { LenggenError, nearest } from "@lenggen/kernels";
import { Command, CommanderError } from "commander";
import { type CommandSpec, type CommonOptions, Devices, type SavingOptions } from "./command";
import { bench } from "./commands/bench";
import { convert } from "./commands/convert";
import { doctor } from "./commands/doctor";
import { evaluate } from "./commands/eval";
import { generateText } from "./commands/generate";
import { postTrain } from "./commands/postTrain";
import { reproduce } from "./commands/reproduce";
import { train } from "./commands/train";
import { type Interrupts, watchInterrupts } from "./interrupt";
import { inOptions } from "./optionNames";
import { Output } from "./output";
import { wholeNumber } from "./parse";
import { EXIT, exitCodeOf, pageOfError, UsageError } from "./usage";
import { site, version } from "./package";

const COMMANDS: readonly CommandSpec[] = [doctor, train, postTrain, evaluate, generateText, convert, bench, reproduce];

/** Runs the command line `argv` (without node and script) and sets the process's exit code. Never throws. */
export async function main(argv: readonly string[]): Promise<void> {
  const json = argv.includes("--json");
  process.stdout.on("error", onStdoutError);
  process.stderr.on("error", () => {}); // a run goes on when its terminal is gone
  quietVulkan();
  try {
    await program().parseAsync(argv, { from: "user" });
    process.exitCode ??= EXIT.done;
  } catch (error) {
    process.exitCode = report(error, argv, json);
  }
}

function program(): Command {
  const lenggen = new Command("lenggen")
    .description("Sequence models that keep working far beyond the length they were trained on.")
    .version(version, "-V, --version", "print the version")
    .helpCommand("help [command]", "Show this, or a command's options and an example; the same as --help.")
    .exitOverride()
    .configureOutput({ outputError: () => {} }); // report() says it
  for (const spec of COMMANDS) lenggen.addCommand(commandOf(spec));
  return lenggen.addHelpText("after",
    "\nExit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.\nlenggen <command> --help shows a command's options and an example.");
}

function commandOf(spec: CommandSpec): Command {
  const command = new Command(spec.name).description(spec.summary).exitOverride().configureOutput({ outputError: () => {} });
  return spec
    .define(command)
    .option("--device <name>", "cpu, webgpu or reference; the first of them that works here unless given")
    .option("--threads <n>", "worker threads of the cpu device; all cores unless given. Results do not depend on it",
      wholeNumber("--threads", 1, 256))
    .option("--seed <n>", "where random numbers start", wholeNumber("--seed", 0), 0)
    .option("--json", "print one JSON document on stdout and everything else on stderr", false)
    .addHelpText("after", `\nFor example:\n${spec.examples.map((line) => `  ${line}`).join("\n")}`)
    .action(() => execute(spec, command));
}

/** Of the command that runs. */
let interrupts: Interrupts | undefined;
let options: Command["options"] = [];

async function execute(spec: CommandSpec, command: Command): Promise<void> {
  const common = { ...command.opts<CommonOptions>(), seedGiven: command.getOptionValueSource("seed") === "cli" };
  const out = new Output(common.json);
  const devices = new Devices(common, out);
  ({ options } = command);
  const { signal, stop } = (interrupts = watchInterrupts({ userSignals: command.opts<Partial<SavingOptions>>().saveOnSignal }));
  try {
    await spec.run({ out, common, signal, openDevice: (options) => devices.open(options) }, command.args, command.opts());
    if (signal.aborted) process.exitCode = EXIT.interrupted;
  } finally {
    stop();
    devices.closeAll();
  }
}

/** Says what went wrong, in one line, and gives the exit code. */
function report(error: unknown, argv: readonly string[], json: boolean): number {
  if (error instanceof CommanderError && error.exitCode === 0) return EXIT.done; // --help, --version
  const known = error instanceof CommanderError ? usageOf(error, argv) : error;
  if (known === undefined) return EXIT.usage; // no command: commander has shown the help
  const exitCode = exitCodeOf(known);
  const code = known instanceof LenggenError ? known.code : "E_INTERNAL";
  const message = inOptions((known instanceof Error ? known.message : inspect(known)).replaceAll(/\s*\n\s*/g, " "), options);
  const page = pageOfError(code, site);
  process.stderr.write(`lenggen: ${message} [${code}]${page === undefined ? "" : ` ${page}`}\n`);
  if (process.env.LENGGEN_DEBUG && known instanceof Error) process.stderr.write(`${known.stack}\n`);
  if (json) process.stdout.write(`${JSON.stringify({ error: { code, message, page } })}\n`);
  return exitCode;
}

/** Commander's complaints in our words. */
function usageOf(error: CommanderError, argv: readonly string[]): UsageError | undefined {
  if (error.code === "commander.help") return undefined;
  if (error.code === "commander.unknownCommand") {
    const names = COMMANDS.map(({ name }) => name);
    const given = argv.find((argument) => !argument.startsWith("-")) ?? "";
    return new UsageError(`no command is named "${given}"${nearest(given, names)}; there are ${names.join(", ")}`, "E_UNKNOWN_NAME");
  }
  return new UsageError(error.message.replace(/^error: /, "").replace(/\(Did you mean (.+?)\?\)/, '(did you mean "$1"?)'));
}

/** Mesa's Vulkan asks the screen which GPU to take, and complains on the console where there is none; this goes without asking. */
function quietVulkan(): void {
  const { env, platform } = process;
  if (platform === "linux" && !env.XDG_RUNTIME_DIR && !env.DISPLAY && !env.MESA_VK_DEVICE_SELECT) env.NODEVICE_SELECT ??= "1";
}

/**
 * A reader such as `head` closed the pipe, or the terminal is gone: nobody listens any more. Anything else, such as a full disk, has cost
 * the result, and is reported. What is being saved is saved all the same.
 */
function onStdoutError({ code, message }: NodeJS.ErrnoException): void {
  if (code === "EIO") return;
  const gone = code === "EPIPE";
  if (!gone) process.stderr.write(`lenggen: what was to be printed can't be written: ${message} [E_IO]\n`);
  if (!interrupts?.signal.aborted) process.exit(gone ? EXIT.done : EXIT.failed);
}
