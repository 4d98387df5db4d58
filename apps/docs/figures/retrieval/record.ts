/** One reading, and its still. */
import type { Recording, RecordedFiles } from "../shared/recording";
import { stillOfReading } from "./matrix";
import { openReader, readAndAsk } from "./reading";
import { FIRST_BYTES, FIRST_KEYS, FIRST_NAME, type Landmark, plain, type Recorded } from "./text";

export async function record({ device, text: novel, file, command, note }: Recording): Promise<RecordedFiles> {
  note("retrieval");
  const reader = await openReader(new TextDecoder().decode(await file("made/drt.json")), await file("made/drt.safetensors"), device);
  let text = plain(new TextDecoder().decode(novel.subarray(0, FIRST_BYTES)));
  for (const [from, key] of FIRST_KEYS.toReversed()) {
    const at = text.indexOf(" ", from) + 1;
    text = `${text.slice(0, at)}${key} ${text.slice(at)}`;
  }
  const landmarks: Landmark[] = [];
  let answer = "";
  await readAndAsk(reader, text, FIRST_NAME, (told) => {
    if (told.kind === "landmark") landmarks.push(told.landmark);
    else answer = told.answer;
  });
  const recorded: Recorded = { device: device.description, command, text, name: FIRST_NAME, landmarks, answer };
  return { "retrieval/recorded.json": `${JSON.stringify(recorded)}\n`, "retrieval/still.svg": stillOfReading(recorded) };
}
