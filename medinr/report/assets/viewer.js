// The viewer: one slice, two methods beside a swipe line, one window for both.

const find = (id) => document.getElementById(id);
const report = JSON.parse(find("data").textContent);
const view = {
  case: 0, left: "", right: "", window: [0, 1], swipe: 0.5, zoom: 1, x: 0, y: 0, overlay: "none", drag: "window",
};
let shown = null; // pictures of the slice on the canvas
let layers = null; // the two painted methods
let requests = 0; // slices requested so far, so that one decoded late does not replace a newer one

const minus = (text) => String(text).replace("-", "\u2212");
function number(value) {
  const size = Math.abs(value);
  if (size >= 100 || value === 0) return minus(value.toFixed(0));
  return minus(size >= 0.01 ? value.toPrecision(3) : value.toExponential(1));
}
const caseNow = () => report.cases[view.case];
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
  const found = caseNow().scores[name];
  if (!found) return "";
  const parts = [];
  if (found.psnr !== undefined) parts.push(`${found.psnr.toFixed(2)} dB`);
  if (found.ssim !== undefined) parts.push(`SSIM ${found.ssim.toFixed(3)}`);
  return parts.join(", ");
}

function casesOf(task, scan) {
  return report.cases.map((facts, k) => [facts, k])
    .filter(([facts]) => facts.task === task && (scan === undefined || facts.scan === scan));
}

// Fill task, patient, slice and method choices for the slice now shown.
function fillChoices() {
  const facts = caseNow();
  options(find("pick-task"), Object.entries(report.tasks).filter(([task]) => casesOf(task).length), facts.task);
  const scans = new Map(casesOf(facts.task).map(([one]) => [one.scan, one.patient]));
  options(find("pick-scan"), [...scans], facts.scan);
  options(find("pick-slice"), casesOf(facts.task, facts.scan).map(([one, k]) => [k, one.slice]), view.case);
  const names = facts.images.map((name) => [name, titled(name)]);
  options(find("pick-left"), names, view.left);
  options(find("pick-right"), names, view.right);
  options(find("preset"), [["", "own"], ...facts.presets.map(([name], k) => [k, name])], "");
  find("uncertainty").disabled = !facts.uncertainties.length;
  find("uncertainty-label").title = facts.uncertainties.length ? `given by ${facts.uncertainties.join(", ")}` : "no method of this slice gave one";
  const [dy, dx] = facts.spacing;
  find("series").textContent = [facts.series, `${facts.shape[0]} x ${facts.shape[1]} pixels of ${+dy.toFixed(3)} x ${+dx.toFixed(3)} mm`, facts.unit]
    .filter(Boolean).join("; ");
}

function fitRanges() {
  const facts = caseNow();
  const [low, high] = facts.scale;
  const span = Math.max(high - low, facts.window[1] - facts.window[0]);
  const level = find("level");
  const width = find("width");
  level.min = Math.min(low, facts.window[0]);
  level.max = Math.max(high, facts.window[1]);
  width.min = span / 500;
  width.max = 1.5 * span;
  for (const input of [level, width]) input.step = span / 1000;
}

// Show a slice. Methods stay chosen where the slice has them; the window stays unless the scan or unit changes.
async function showCase(index) {
  const before = caseNow();
  const fresh = shown === null;
  view.case = index;
  const facts = caseNow();
  const request = (requests += 1);
  const has = (name) => facts.images.includes(name);
  const methods = facts.images.slice(1);
  const second = methods.includes("medinr") ? "medinr" : methods[methods.length - 1] ?? "reference";
  if (!has(view.right)) view.right = second;
  if (!has(view.left)) view.left = methods.find((name) => name !== view.right) ?? "reference";
  if (fresh || before.scan !== facts.scan || before.task !== facts.task) view.window = [...facts.window];
  if (view.overlay === "uncertainty" && !facts.uncertainties.length) setOverlay("none");
  fillChoices();
  fitRanges();
  for (const panel of document.querySelectorAll("[data-case]")) panel.hidden = Number(panel.dataset.case) !== index;
  const data = await pictures(index, facts);
  if (request !== requests) return;
  shown = data;
  fillStrip();
  repaint();
}

// Paint both methods anew (window, overlay or method changed), then place them.
function repaint() {
  if (!shown) return;
  const facts = caseNow();
  layers = [view.left, view.right].map((name) => painted(facts, shown, name, view.window, view.overlay));
  const level = (view.window[0] + view.window[1]) / 2;
  const width = view.window[1] - view.window[0];
  find("level").value = level;
  find("width").value = width;
  find("level-out").textContent = `${number(level)} ${facts.unit}`;
  find("width-out").textContent = `${number(width)} ${facts.unit}`;
  const match = facts.presets.findIndex((p) => Math.abs(p[1] - view.window[0]) + Math.abs(p[2] - view.window[1]) < width / 1e3);
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
  const facts = caseNow();
  const [rows, columns] = facts.shape;
  const [dy, dx] = facts.spacing;
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
  const words = `${report.tasks[facts.task]}, ${facts.patient}, slice ${facts.slice}: `
    + `left ${titled(view.left)}, right ${titled(view.right)}${over}`;
  canvas.setAttribute("aria-label", words);
  if (find("status").textContent !== words) find("status").textContent = words;
}

function showBar() {
  const facts = caseNow();
  const kind = view.overlay;
  find("bar").hidden = kind === "none";
  if (kind === "none") return;
  find("bar-ramp").dataset.kind = kind;
  const end = kind === "difference" ? facts.error : facts.uncertainty[1];
  find("bar-low").textContent = kind === "difference" ? `\u2212${number(end)} ${facts.unit}` : "0";
  find("bar-high").textContent = `${kind === "difference" ? "+" : ""}${number(end)} ${facts.unit}`;
  const lacking = [view.left, view.right].filter((name) => kind === "uncertainty" && !facts.uncertainties.includes(name));
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
  const facts = caseNow();
  find("strip").replaceChildren(...facts.images.map((name) => {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.name = name;
    const canvas = surface(facts);
    canvas.setAttribute("aria-hidden", "true");
    canvas.style.aspectRatio = `${facts.shape[1] * facts.spacing[1]} / ${facts.shape[0] * facts.spacing[0]}`;
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
  const facts = caseNow();
  for (const button of find("strip").children) {
    const canvas = button.firstChild;
    const context = canvas.getContext("2d");
    const target = context.createImageData(canvas.width, canvas.height);
    paint(target, facts, shown, button.dataset.name, view.window, view.overlay);
    context.putImageData(target, 0, 0);
    button.setAttribute("aria-pressed", String(button.dataset.name === view.right));
  }
}
