// Keys, pointers and wheel over the image.

function zoomAt(factor, cx = 0.5, cy = 0.5) {
  const zoom = Math.min(Math.max(view.zoom * factor, 1), 8);
  view.x += cx / view.zoom - cx / zoom;
  view.y += cy / view.zoom - cy / zoom;
  view.zoom = zoom;
  place();
}

function move(dx, dy) {
  view.x += dx / view.zoom;
  view.y += dy / view.zoom;
  place();
}

function swipeTo(share) {
  view.swipe = Math.min(Math.max(share, 0), 1);
  place();
}

function rewindow(level, width) {
  const least = Number(find("width").min);
  const half = Math.max(width, least) / 2;
  view.window = [level - half, level + half];
  repaint();
}

const levelNow = () => (view.window[0] + view.window[1]) / 2;
const widthNow = () => view.window[1] - view.window[0];

function reset() {
  Object.assign(view, { zoom: 1, x: 0, y: 0, swipe: 0.5, window: [...caseNow().window] });
  setOverlay("none");
}

function step(by) {
  const group = casesOf(caseNow().task, caseNow().scan).map(([, k]) => k);
  const next = group[group.indexOf(view.case) + by];
  if (next !== undefined) showCase(next);
}

function nextMethod(side) {
  const names = caseNow().images;
  view[side] = names[(names.indexOf(view[side]) + 1) % names.length];
  repaint();
}

const KEYS = {
  ArrowLeft: () => swipeTo(view.swipe - 0.05),
  ArrowRight: () => swipeTo(view.swipe + 0.05),
  ArrowUp: () => step(1),
  ArrowDown: () => step(-1),
  "+": () => zoomAt(1.25),
  "=": () => zoomAt(1.25),
  "-": () => zoomAt(0.8),
  "[": () => rewindow(levelNow(), widthNow() * 0.9),
  "]": () => rewindow(levelNow(), widthNow() / 0.9),
  ",": () => rewindow(levelNow() - 0.05 * widthNow(), widthNow()),
  ".": () => rewindow(levelNow() + 0.05 * widthNow(), widthNow()),
  a: () => nextMethod("left"),
  b: () => nextMethod("right"),
  d: () => setOverlay("difference"),
  u: () => setOverlay("uncertainty"),
  n: () => setOverlay("none"),
  0: reset,
};
const SHIFTED = {
  ArrowLeft: () => move(-0.05, 0), ArrowRight: () => move(0.05, 0), ArrowUp: () => move(0, -0.05), ArrowDown: () => move(0, 0.05),
};

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const act = (event.shiftKey && SHIFTED[event.key]) || KEYS[event.key] || KEYS[event.key.toLowerCase()];
  if (!act) return;
  event.preventDefault();
  act();
}

function readOut(event) {
  const facts = caseNow();
  const box = find("stage").getBoundingClientRect();
  const x = Math.floor(((event.clientX - box.left) / box.width / view.zoom + view.x) * facts.shape[1]);
  const y = Math.floor(((event.clientY - box.top) / box.height / view.zoom + view.y) * facts.shape[0]);
  if (!shown || x < 0 || y < 0 || x >= facts.shape[1] || y >= facts.shape[0]) return;
  const [low, high, levels] = facts.scale;
  const at = (name) => low + (shown.grey.get(name)[y * facts.shape[1] + x] * (high - low)) / (levels - 1);
  const names = [...new Set([view.left, view.right, "reference"])];
  find("readout").textContent = `column ${x}, row ${y}: ${names.map((name) => `${titled(name)} ${number(at(name))}`).join("; ")} ${facts.unit}`;
}

function handlePointers(stage) {
  const down = new Map();
  let spread = 0;
  const place2 = () => {
    const [p, q] = [...down.values()];
    return { gap: Math.hypot(p.x - q.x, p.y - q.y), x: (p.x + q.x) / 2, y: (p.y + q.y) / 2 };
  };
  let job = "";
  stage.addEventListener("pointerdown", (event) => {
    if (event.button > 0) return;
    down.set(event.pointerId, { x: event.clientX, y: event.clientY });
    stage.setPointerCapture(event.pointerId);
    job = find("divider").contains(event.target) ? "swipe" : view.drag;
    if (down.size === 2) spread = place2().gap;
  });
  stage.addEventListener("pointermove", (event) => {
    readOut(event);
    const last = down.get(event.pointerId);
    if (!last) return;
    const box = stage.getBoundingClientRect();
    const [dx, dy] = [(event.clientX - last.x) / box.width, (event.clientY - last.y) / box.height];
    down.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (down.size === 2) {
      const now = place2();
      zoomAt(now.gap / Math.max(spread, 1), (now.x - box.left) / box.width, (now.y - box.top) / box.height);
      spread = now.gap;
    } else if (job === "swipe") swipeTo((event.clientX - box.left) / box.width);
    else if (job === "pan") move(-dx, -dy);
    else {
      const span = caseNow().window[1] - caseNow().window[0];
      rewindow(levelNow() + dy * span, widthNow() + 2 * dx * span);
    }
  });
  for (const kind of ["pointerup", "pointercancel"]) stage.addEventListener(kind, (event) => down.delete(event.pointerId));
  stage.addEventListener("wheel", (event) => {
    // Without the focus the wheel scrolls the page, as readers who scroll past expect.
    if (document.activeElement !== stage) return;
    event.preventDefault();
    const box = stage.getBoundingClientRect();
    zoomAt(Math.exp(-event.deltaY / 500), (event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
  }, { passive: false });
}
