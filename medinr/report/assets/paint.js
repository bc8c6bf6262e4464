// Codes to colours: the grey window, and overlays whose scales never follow the window.

function greys(scale, window) {
  const [low, high, levels] = scale;
  const table = new Uint8ClampedArray(levels);
  const span = Math.max(window[1] - window[0], 1e-30);
  for (let c = 0; c < levels; c += 1) {
    table[c] = (255 * (low + (c * (high - low)) / (levels - 1) - window[0])) / span;
  }
  return table;
}

// Below the reference blue, above it orange; the stronger, the further from it.
function differenceColour(share, out) {
  const above = share > 0;
  out[0] = above ? 255 : 40;
  out[1] = above ? 140 : 150;
  out[2] = above ? 20 : 255;
  out[3] = Math.min(Math.abs(share), 1);
}

function uncertaintyColour(share, out) {
  const s = Math.min(Math.max(share, 0), 1);
  const t = Math.max(0, 2 * s - 1);
  out[0] = 190 + 65 * t;
  out[1] = 60 + 175 * t;
  out[2] = 190 - 110 * t;
  out[3] = Math.min(1, 2 * s);
}

// Paint a method of a slice into ImageData, with its overlay.
function paint(target, facts, data, name, window, overlay) {
  const codes = data.grey.get(name);
  const table = greys(facts.scale, window);
  const reference = data.grey.get("reference");
  const step = (facts.scale[1] - facts.scale[0]) / (facts.scale[2] - 1);
  const uncertainty = overlay === "uncertainty" ? data.uncertainty.get(name) : undefined;
  const colour = [0, 0, 0, 0];
  const pixels = target.data;
  for (let i = 0, p = 0; i < codes.length; i += 1, p += 4) {
    const grey = table[codes[i]];
    colour[3] = 0;
    if (overlay === "difference") differenceColour(((codes[i] - reference[i]) * step) / facts.error, colour);
    else if (uncertainty) uncertaintyColour(uncertainty[i] / (facts.uncertainty[2] - 1), colour);
    const a = colour[3];
    pixels[p] = grey + a * (colour[0] - grey);
    pixels[p + 1] = grey + a * (colour[1] - grey);
    pixels[p + 2] = grey + a * (colour[2] - grey);
    pixels[p + 3] = 255;
  }
}

function surface(facts) {
  const canvas = document.createElement("canvas");
  [canvas.height, canvas.width] = facts.shape;
  return canvas;
}

function painted(facts, data, name, window, overlay) {
  const canvas = surface(facts);
  const context = canvas.getContext("2d");
  const target = context.createImageData(canvas.width, canvas.height);
  paint(target, facts, data, name, window, overlay);
  context.putImageData(target, 0, 0);
  return canvas;
}
