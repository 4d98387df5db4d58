/** Another process that goes on with a saved stream: `node child.js <folder> <from> <to>` prints the last hidden states as JSON. */
import { open } from "@lenggen/kernels";
import { resumeStream } from "../src/node/index";
import { go, model, parametersOn } from "../src/node/streams.fixture";

const [folder, from, to] = process.argv.slice(2) as [string, string, string];
const device = await open("reference");
const parameters = parametersOn(device);
const resumed = await resumeStream(folder, model, parameters);
const { hidden } = await go(resumed.model, parameters, device, Number(from), Number(to), resumed.state);
process.stdout.write(JSON.stringify([...(await hidden.read())]));
await resumed.store?.close();
