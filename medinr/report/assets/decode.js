// Pictures: base64 -> inflate -> two planes of bytes -> prediction undone (see medinr/report/pictures.py).

async function inflate(text) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i += 1) bytes[i] = raw.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function unpredict(planes, rows, columns) {
  const count = rows * columns;
  const codes = new Uint16Array(count);
  for (let y = 0, i = 0; y < rows; y += 1) {
    for (let x = 0; x < columns; x += 1, i += 1) {
      const whole = planes[i] | (planes[count + i] << 8);
      const left = x ? codes[i - 1] : y ? codes[i - columns] : 0;
      const above = y ? codes[i - columns] : left;
      const corner = x && y ? codes[i - columns - 1] : y ? above : left;
      const low = Math.min(left, above);
      const high = Math.max(left, above);
      const guess = corner >= high ? low : corner <= low ? high : left + above - corner;
      codes[i] = guess + ((whole >> 1) ^ -(whole & 1));
    }
  }
  return codes;
}

const decoded = new Map();

// Pictures of a slice by name, decoded once; only the last few slices are kept.
function pictures(number, facts) {
  if (!decoded.has(number)) {
    const texts = document.getElementById(`pixels-${number}`).textContent.trim().split("\n");
    const [rows, columns] = facts.shape;
    const work = texts.map(async (text) => unpredict(await inflate(text), rows, columns));
    decoded.set(number, Promise.all(work).then((all) => {
      const grey = new Map(facts.images.map((name, k) => [name, all[k]]));
      const uncertainty = new Map(facts.uncertainties.map((name, k) => [name, all[facts.images.length + k]]));
      return { grey, uncertainty };
    }));
    if (decoded.size > 12) decoded.delete(decoded.keys().next().value);
  }
  return decoded.get(number);
}
