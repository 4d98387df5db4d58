/**
 * Where the hub and its cache are, by the environment variables that Python's huggingface_hub reads, in its order. `@huggingface/hub`
 * knows the cache's but not HF_ENDPOINT, HF_TOKEN, the token's file or HF_HUB_OFFLINE: its callers pass them.
 */
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { check } from "@lenggen/kernels";
import { fileError } from "@lenggen/kernels/node";

export interface HubSettings {
  /** The folder with `models--owner--name`. */
  readonly cache: string;
  readonly endpoint: string;
  readonly token: string | undefined;
  /** The variable that forbids requests. */
  readonly offline: string | undefined;
  /** Whether files are put into snapshots themselves, not by links. */
  readonly noLinks: boolean;
  /** Milliseconds after which a server that says nothing counts as gone. */
  readonly patience: number;
}

const PUBLIC_HUB = "https://huggingface.co";
const PATIENCE_S = 30;

const isTrue = (value: string | undefined): boolean => /^(1|on|yes|true)$/i.test(value ?? "");

/** Reads the environment and, where it gives no token, the file that `hf auth login` writes. */
export async function hubSettings(env: NodeJS.ProcessEnv = process.env): Promise<HubSettings> {
  const home = expanded(env["HF_HOME"] || join(env["XDG_CACHE_HOME"] || join(userHome(env), ".cache"), "huggingface"), env);
  const endpoint = (env["HF_ENDPOINT"] || PUBLIC_HUB).replace(/\/+$/, "");
  check(URL.canParse(endpoint) && /^https?:/.test(endpoint), "E_ARGUMENT", () =>
    `HF_ENDPOINT is "${endpoint}", which is no address; right would be ${PUBLIC_HUB}, or a mirror's`);
  const seconds = Number(env["HF_HUB_DOWNLOAD_TIMEOUT"] || PATIENCE_S);
  return {
    cache: expanded(env["HF_HUB_CACHE"] || env["HUGGINGFACE_HUB_CACHE"] || join(home, "hub"), env),
    endpoint,
    token: await readToken(env, home),
    offline: ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"].find((name) => isTrue(env[name])),
    noLinks: isTrue(env["HF_HUB_DISABLE_SYMLINKS"]),
    patience: 1000 * (seconds > 0 ? seconds : PATIENCE_S),
  };
}

async function readToken(env: NodeJS.ProcessEnv, home: string): Promise<string | undefined> {
  if (isTrue(env["HF_HUB_DISABLE_IMPLICIT_TOKEN"])) return undefined;
  const given = clean(env["HF_TOKEN"] || env["HUGGING_FACE_HUB_TOKEN"]);
  if (given !== undefined) return given;
  const path = expanded(env["HF_TOKEN_PATH"] || join(home, "token"), env);
  try {
    return clean(await readFile(path, "utf8"));
  } catch (error) {
    if (["ENOENT", "ENOTDIR"].includes((error as NodeJS.ErrnoException).code ?? "")) return undefined;
    throw fileError("read", path, error);
  }
}

/** A token without line breaks, which come with copying and would break a request's header. */
const clean = (token: string | undefined): string | undefined => token?.replaceAll(/[\r\n]/g, "").trim() || undefined;

const userHome = (env: NodeJS.ProcessEnv): string => env["HOME"] || env["USERPROFILE"] || homedir();

/** A path with ~ and $VARIABLES in it, which a shell has not replaced. */
function expanded(path: string, env: NodeJS.ProcessEnv): string {
  return path.replace(/^~(?=[/\\]|$)/, userHome(env))
    .replaceAll(/\$(?:(\w+)|\{([^}]*)\})/g, (whole, plain?: string, braced?: string) => env[plain ?? braced ?? ""] ?? whole);
}
