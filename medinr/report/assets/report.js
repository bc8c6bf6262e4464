// Start: choices, sliders and theme.

function keep(name, value) {
  // Some browsers forbid storage to pages opened from a folder.
  try {
    if (value === undefined) return localStorage.getItem(name);
    localStorage.setItem(name, value);
  } catch { /* the choice then lasts as long as the page */ }
  return null;
}

function startTheme() {
  const button = find("theme");
  const words = { auto: "system", light: "light", dark: "dark" };
  let theme = keep("medinr-theme") ?? "auto";
  if (!(theme in words)) theme = "auto";
  const show = () => {
    document.documentElement.dataset.theme = theme;
    button.textContent = `Theme: ${words[theme]}`;
  };
  button.addEventListener("click", () => {
    const names = Object.keys(words);
    theme = names[(names.indexOf(theme) + 1) % names.length];
    keep("medinr-theme", theme);
    show();
  });
  button.hidden = false;
  show();
}

function startChoices() {
  find("pick-task").addEventListener("change", (event) => showCase(casesOf(event.target.value)[0][1]));
  find("pick-scan").addEventListener("change", (event) => showCase(casesOf(caseNow().task, event.target.value)[0][1]));
  find("pick-slice").addEventListener("change", (event) => showCase(Number(event.target.value)));
  for (const side of ["left", "right"]) {
    find(`pick-${side}`).addEventListener("change", (event) => {
      view[side] = event.target.value;
      repaint();
    });
  }
  find("preset").addEventListener("change", (event) => {
    const chosen = caseNow().presets[event.target.value];
    if (event.target.value !== "" && chosen) view.window = [chosen[1], chosen[2]];
    repaint();
  });
  find("swipe").addEventListener("input", (event) => swipeTo(event.target.value / 100));
  find("level").addEventListener("input", (event) => rewindow(Number(event.target.value), widthNow()));
  find("width").addEventListener("input", (event) => rewindow(levelNow(), Number(event.target.value)));
  find("zoom").addEventListener("input", (event) => zoomAt(event.target.value / view.zoom));
  find("reset").addEventListener("click", reset);
  for (const input of document.querySelectorAll('input[name="overlay"]')) {
    input.addEventListener("change", () => setOverlay(input.value));
  }
  const stage = find("stage");
  const drag = (kind) => {
    view.drag = kind;
    stage.dataset.drag = kind;
    document.querySelector(`input[name="drag"][value="${kind}"]`).checked = true;
  };
  for (const input of document.querySelectorAll('input[name="drag"]')) input.addEventListener("change", () => drag(input.value));
  // A finger on the image of a phone should still scroll the page up and down.
  drag(matchMedia("(pointer: coarse)").matches ? "swipe" : "window");
  stage.addEventListener("keydown", onKey);
  handlePointers(stage);
  new ResizeObserver(place).observe(stage);
}

startTheme();
find("viewer").hidden = false;
for (const note of document.querySelectorAll(".follows")) note.hidden = false;
startChoices();
if (!("DecompressionStream" in window)) find("readout").textContent = "This browser is too old to unpack the pictures.";
else showCase(0).then(() => {
  document.documentElement.dataset.ready = "yes";
  performance.mark("first-picture");
});
