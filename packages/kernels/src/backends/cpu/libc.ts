/** Which C library Node stands on. Binaries that were linked against glibc do not load on musl, Alpine's. */

/** What the answer is read from: Node's own report, and the names of the files in /lib. */
interface System {
  readonly platform: string;
  report(): { readonly header?: { readonly glibcVersionRuntime?: string }; readonly sharedObjects?: readonly string[] } | undefined;
  libraries(): Promise<readonly string[]>;
}

const HERE: System = {
  platform: globalThis.process?.platform ?? "browser",
  report() {
    const report = process.report as typeof process.report & { excludeNetwork?: boolean };
    // Otherwise it asks for the names of all network interfaces, which can take seconds.
    report.excludeNetwork = true;
    return report.getReport();
  },
  async libraries() {
    const { readdir } = await import("node:fs/promises");
    return readdir("/lib").catch(() => []);
  },
};

/** Whether this is a Linux on musl. One that has both is what Node itself was linked against. */
export async function isMusl(system: System = HERE): Promise<boolean> {
  if (system.platform !== "linux") return false;
  const report = system.report();
  if (report?.header?.glibcVersionRuntime) return false;
  return [...(report?.sharedObjects ?? []), ...(await system.libraries())].some((file) => /(ld-musl-|libc\.musl-)/.test(file));
}
