/** Landmarks and what they think of the chunks before them, as a table of tinted squares. */
import { escape, stillOf } from "../shared/chart";
import { askerOf, findingOf, picksOf, type Reading, verdictOf } from "./text";

const [WIDTH, TOP, BOTTOM] = [560, 24, 30];
/** Room for the names of landmarks. */
const left = 76;

/** Weights are seen better by their roots: most are small. */
const tint = (share: number): string => (0.06 + 0.94 * Math.sqrt(share)).toFixed(2);

/** What goes inside the `svg` element, and how high it is; `at` is the landmark that is looked at. */
export function matrixMarkup(reading: Reading, width: number, at: number): { readonly markup: string; readonly height: number } {
  const { landmarks } = reading;
  const columns = Math.max(1, landmarks.length - 1);
  const cell = Math.min(26, (width - left) / columns);
  const every = Math.max(1, Math.ceil(16 / cell));
  const bottom = TOP + landmarks.length * cell;
  const parts = landmarks.flatMap(({ shares }, row) => {
    const y = TOP + row * cell;
    const picked = new Set(picksOf(landmarks[row]!).map(({ chunk }) => chunk));
    const name = row >= landmarks.length - 2 ? ["question", "once more"][row - landmarks.length + 2]! : String(row + 1);
    const named = row >= landmarks.length - 2 ? cell >= 12 || row === landmarks.length - 1 : row % every === 0;
    return [
      ...(named || row === at ? [`<text class="${row === at ? "strong" : ""}" x="${left - 8}" y="${(y + cell / 2).toFixed(1)}" dy="0.34em" `
        + `text-anchor="end">${escape(name)}</text>`] : []),
      ...shares.map((share, column) => {
        const x = left + column * cell;
        const [atX, atY, side] = [x + 1, y + 1, cell - 2].map((value) => value.toFixed(1));
        const square = `x="${atX}" y="${atY}" width="${side}" height="${side}" rx="2"`;
        return `<rect class="score" ${square} fill-opacity="${tint(share)}"/>`
          + (picked.has(column) ? `<rect class="pick" ${square}/>` : "");
      }),
      ...(row === at ? [`<rect class="chosen" x="${left - 1}" y="${(y - 1).toFixed(1)}" width="${(shares.length * cell + 2).toFixed(1)}" `
        + `height="${(cell + 2).toFixed(1)}" rx="4"/>`] : []),
    ];
  });
  for (let column = 0; column < columns; column += every) {
    const x = (left + (column + 0.5) * cell).toFixed(1);
    parts.push(`<text x="${x}" y="${(bottom + 15).toFixed(1)}" text-anchor="middle">${column + 1}</text>`);
  }
  parts.push(`<text x="0" y="11">\u2193 landmark of chunk</text>`);
  parts.push(`<text x="${(left + columns * cell).toFixed(1)}" y="11" text-anchor="end">chunk that it scores \u2192</text>`);
  return { markup: parts.join(""), height: bottom + BOTTOM };
}

/** The whole in words. */
export function describe(reading: Reading, at: number): string {
  const { name, answer, landmarks } = reading;
  const asked = answer === undefined ? "" : ` Asked for ${name}, the model writes ${answer}: ${verdictOf(reading)}.`;
  return `The weights that ${landmarks.length} landmarks give to the chunks before them, at ${askerOf(reading, at)}. `
    + `${findingOf(reading, at)}${asked}`;
}

export function stillOfReading(reading: Reading): string {
  const at = reading.landmarks.length - 2;
  const { markup, height } = matrixMarkup(reading, WIDTH, at);
  const answer = `<text class="strong" x="0" y="${height + 12}">Asked for ${escape(reading.name)}, the model writes `
    + `${escape(reading.answer ?? "")}: ${escape(verdictOf(reading))}.</text>`;
  return stillOf(WIDTH, height + 22, describe(reading, at), markup + answer);
}
