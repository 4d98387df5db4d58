/**
 * Where words go. Without `--json`, results go to stdout and everything about the run to stderr. With it, stdout gets
 * exactly one JSON document and all words go to stderr.
 */
export class Output {
  #documents = 0;
  constructor(
    readonly json: boolean,
    private readonly stdout: NodeJS.WritableStream = process.stdout,
    private readonly stderr: NodeJS.WritableStream = process.stderr,
  ) {}

  /** A line of the result, for people. */
  print(line = ""): void {
    (this.json ? this.stderr : this.stdout).write(`${line}\n`);
  }

  /** A line about the run: warnings, places of files. */
  note(line: string): void {
    this.stderr.write(`${line}\n`);
  }

  /** The result for programs; written only with `--json`, and only once. */
  document(value: unknown): void {
    if (!this.json || this.#documents++ > 0) return;
    this.stdout.write(`${JSON.stringify(value)}\n`);
  }
}
