/** Reads and asks for the page; the model stays for the next question. */
import type { DeviceChoice } from "../shared/figure";
import { bytesAt, deviceOf, serve } from "../shared/worker";
import { openReader, readAndAsk, type Reader, type Told } from "./reading";

export interface Request {
  readonly device: DeviceChoice;
  readonly text: string;
  readonly name: string;
  /** Addresses of the model's configuration and weights. */
  readonly model: { readonly config: string; readonly weights: string };
}

let reader: Promise<Reader> | undefined;

async function open({ device, model }: Request): Promise<Reader> {
  const [config, weights] = await Promise.all([bytesAt(model.config), bytesAt(model.weights)]);
  return openReader(new TextDecoder().decode(config), weights, await deviceOf(device));
}

serve<Request, Told | { readonly kind: "device"; readonly description: string }>(async (request, tell) => {
  const opened = await (reader ??= open(request));
  tell({ kind: "device", description: (await deviceOf(request.device)).description });
  await readAndAsk(opened, request.text, request.name, tell);
});
