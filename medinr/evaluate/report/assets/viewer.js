// The viewer: one slice, two methods beside a swipe line, one window for both.

const find = (id) => document.getElementById(id);
const report = JSON.parse(find("data").textContent);
const view = {
  cell: 0, left: "", right: "", window: [0, 1], swipe: 0.5, zoom: 1, x: 0, y: 0, overlay: "none", drag: "window",
};
let shown = null; // pictures of the slice on the canvas
let layers = null; // the two painted methods
let turn = 0; // counts slices asked for, so that a late one does not replace a newer one

const minus = (text) => String(text).replace("-", "\u2212");
function number(value) {
  const size = Math.abs(value);
  if (size >= 100 || value === 0) return minus(value.toFixed(0));
  return minus(size >= 0.01 ? value.toPrecision(3) : value.toExponential(1));
}
const cellNow = () => report.cells[view.cell];
const titled = (name) => (name === "reference" ? "reference" : name);

function options(select, pairs, chosen) {
  select.replaceChildren(...pairs.map(([value, words]) => {
    const option = document.createElement("option");
    option.value = value;
    option.textContent = words;
    return option;
  }));
  select.value = chosen;
}

function scoreWords(name) {
  const found = cellNow().scores[name];
  if (!found) return "";
  const parts = [];
  if (found.psnr !== undefined) parts.push(`${found.psnr.toFixed(2)} dB`);
  if (found.ssim !== undefined) parts.push(`SSIM ${found.ssim.toFixed(3)}`);
  return parts.join(", ");
}

function cellsOf(task, scan) {
  return report.cells.map((cell, k) => [cell, k])
    .filter(([cell]) => cell.task === task && (scan === undefined || cell.scan === scan));
}

// Fill task, patient, slice and method choices for the slice now shown.
function fillChoices() {
  const cell = cellNow();
  options(find("pick-task"), Object.entries(report.tasks).filter(([task]) => cellsOf(task).length), cell.task);
  const scans = new Map(cellsOf(cell.task).map(([one]) => [one.scan, one.patient]));
  options(find("pick-scan"), [...scans], cell.scan);
  options(find("pick-slice"), cellsOf(cell.task, cell.scan).map(([one, k]) => [k, one.slice]), view.cell);
  const names = cell.images.map((name) => [name, titled(name)]);
  options(find("pick-left"), names, view.left);
  options(find("pick-right"), names, view.right);
  options(find("preset"), [["", "own"], ...cell.presets.map(([name], k) => [k, name])], "");
  find("doubt").disabled = !cell.doubts.length;
  find("doubt-label").title = cell.doubts.length ? `given by ${cell.doubts.join(", ")}` : "no method of this slice gave one";
  const [dy, dx] = cell.spacing;
  find("series").textContent = [cell.series, `${cell.shape[0]} x ${cell.shape[1]} pixels of ${+dy.toFixed(3)} x ${+dx.toFixed(3)} mm`, cell.unit]
    .filter(Boolean).join("; ");
}

function fitRanges() {
  const cell = cellNow();
  const [low, high] = cell.scale;
  const span = Math.max(high - low, cell.window[1] - cell.window[0]);
  const level = find("level");
  const width = find("width");
  level.min = Math.min(low, cell.window[0]);
  level.max = Math.max(high, cell.window[1]);
  width.min = span / 500;
  width.max = 1.5 * span;
  for (const input of [level, width]) input.step = span / 1000;
}

// Show a slice. Methods stay chosen where the slice has them; the window stays unless the scan or unit changes.
async function showCell(index) {
  const before = cellNow();
  const fresh = shown === null;
  view.cell = index;
  const cell = cellNow();
  const mine = (turn += 1);
  const has = (name) => cell.images.includes(name);
  const methods = cell.images.slice(1);
  const second = methods.includes("medinr") ? "medinr" : methods[methods.length - 1] ?? "reference";
  if (!has(view.right)) view.right = second;
  if (!has(view.left)) view.left = methods.find((name) => name !== view.right) ?? "reference";
  if (fresh || before.scan !== cell.scan || before.task !== cell.task) view.window = [...cell.window];
  if (view.overlay === "uncertainty" && !cell.doubts.length) setOverlay("none");
  fillChoices();
  fitRanges();
  for (const panel of document.querySelectorAll("[data-cell]")) panel.hidden = Number(panel.dataset.cell) !== index;
  const data = await pictures(index, cell);
  if (mine !== turn) return;
  shown = data;
  fillStrip();
  repaint();
}

// Paint both methods anew (window, overlay or method changed), then place them.
function repaint() {
  if (!shown) return;
  const cell = cellNow();
  layers = [view.left, view.right].map((name) => painted(cell, shown, name, view.window, view.overlay));
  const level = (view.window[0] + view.window[1]) / 2;
  const width = view.window[1] - view.window[0];
  find("level").value = level;
  find("width").value = width;
  find("level-out").textContent = `${number(level)} ${cell.unit}`;
  find("width-out").textContent = `${number(width)} ${cell.unit}`;
  const match = cell.presets.findIndex((p) => Math.abs(p[1] - view.window[0]) + Math.abs(p[2] - view.window[1]) < width / 1e3);
  find("preset").value = match < 0 ? "" : String(match);
  for (const name of ["left", "right"]) {
    find(`pick-${name}`).value = view[name];
    find(`name-${name}`).textContent = [titled(view[name]), scoreWords(view[name])].filter(Boolean).join(": ");
  }
  paintStrip();
  showBar();
  place();
}

// Draw the layers at this zoom, position and swipe.
function place() {
  if (!layers) return;
  const cell = cellNow();
  const [rows, columns] = cell.shape;
  const [dy, dx] = cell.spacing;
  const canvas = find("canvas");
  const wide = Math.max(1, Math.round(find("stage").clientWidth * (window.devicePixelRatio || 1)));
  const tall = Math.max(1, Math.round((wide * rows * dy) / (columns * dx)));
  if (canvas.width !== wide || canvas.height !== tall) [canvas.width, canvas.height] = [wide, tall];
  const room = 1 - 1 / view.zoom;
  view.x = Math.min(Math.max(view.x, 0), room);
  view.y = Math.min(Math.max(view.y, 0), room);
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  const edge = Math.round(view.swipe * wide);
  layers.forEach((layer, side) => {
    context.save();
    context.beginPath();
    context.rect(side ? edge : 0, 0, side ? wide - edge : edge, tall);
    context.clip();
    context.drawImage(layer, -view.x * view.zoom * wide, -view.y * view.zoom * tall, wide * view.zoom, tall * view.zoom);
    context.restore();
  });
  const divider = find("divider");
  divider.style.left = `${100 * view.swipe}%`;
  find("swipe").value = Math.round(100 * view.swipe);
  find("swipe-out").textContent = `${Math.round(100 * view.swipe)} %`;
  find("zoom").value = view.zoom;
  find("zoom-out").textContent = `${view.zoom.toFixed(2)}x`;
  const over = view.overlay === "none" ? "" : `, overlay ${view.overlay}`;
  const words = `${report.tasks[cell.task]}, ${cell.patient}, slice ${cell.slice}: `
    + `left ${titled(view.left)}, right ${titled(view.right)}${over}`;
  canvas.setAttribute("aria-label", words);
  if (find("status").textContent !== words) find("status").textContent = words;
}

function showBar() {
  const cell = cellNow();
  const kind = view.overlay;
  find("bar").hidden = kind === "none";
  if (kind === "none") return;
  find("bar-ramp").dataset.kind = kind;
  const end = kind === "difference" ? cell.error : cell.doubt[1];
  find("bar-low").textContent = kind === "difference" ? `\u2212${number(end)} ${cell.unit}` : "0";
  find("bar-high").textContent = `${kind === "difference" ? "+" : ""}${number(end)} ${cell.unit}`;
  const lacking = [view.left, view.right].filter((name) => kind === "uncertainty" && !cell.doubts.includes(name));
  find("bar-name").textContent = kind === "difference"
    ? "image \u2212 reference; the scale is a tenth of the first window, the same for every method"
    : `uncertainty as the method gave it${lacking.length ? `; none from ${lacking.join(", ")}` : ""}`;
}

function setOverlay(kind) {
  const input = document.querySelector(`input[name="overlay"][value="${kind}"]`);
  if (input.disabled) return;
  input.checked = true;
  view.overlay = kind;
  repaint();
}

function fillStrip() {
  const cell = cellNow();
  find("strip").replaceChildren(...cell.images.map((name) => {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.name = name;
    const canvas = surface(cell);
    canvas.setAttribute("aria-hidden", "true");
    canvas.style.aspectRatio = `${cell.shape[1] * cell.spacing[1]} / ${cell.shape[0] * cell.spacing[0]}`;
    const words = document.createElement("span");
    words.textContent = titled(name);
    const score = document.createElement("span");
    score.textContent = scoreWords(name);
    button.append(canvas, words, score);
    button.addEventListener("click", () => {
      view.right = name;
      repaint();
    });
    return button;
  }));
}

function paintStrip() {
  const cell = cellNow();
  for (const button of find("strip").children) {
    const canvas = button.firstChild;
    const context = canvas.getContext("2d");
    const target = context.createImageData(canvas.width, canvas.height);
    paint(target, cell, shown, button.dataset.name, view.window, view.overlay);
    context.putImageData(target, 0, 0);
    button.setAttribute("aria-pressed", String(button.dataset.name === view.right));
  }
}
