// The page: what its buttons do, and what is asked of the server when.

import * as api from "./api.js";
import { Editor, spoken } from "./editor.js";
import { toPlain, fromPlain, placed, completed, bounds } from "./pose.js";
import { browse } from "./library.js";

const $ = (id) => document.getElementById(id);
const editor = new Editor($("canvas"));
let skeletons = {}, state = null, saving = null, making = false;
window.studio = { editor }; // for whoever measures

// --- words to the user ---
function notice(words, bad = false) {
  const one = $("notice");
  one.textContent = words;
  one.classList.toggle("bad", bad);
  one.classList.add("fresh"); // stays in sight wherever the panel is scrolled to; good news for a while
  one.hidden = !words;
  clearTimeout(notice.fading);
  if (!bad) notice.fading = setTimeout(() => one.classList.remove("fresh"), 6000);
}
function announce(words) { $("announce").textContent = words; }

async function busy(words, work) {
  if ($("notice").classList.contains("bad")) notice(""); // what went wrong before is over
  $("busy-text").textContent = words;
  $("busy").hidden = false;
  try { return await work(); }
  catch (error) { notice(error.message, true); return null; }
  finally { $("busy").hidden = true; }
}

function make(name, attributes = {}, ...children) {
  const one = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) one.addEventListener(key.slice(2), value);
    else if (value === true || value === false) one.toggleAttribute(key, value);
    else one.setAttribute(key, value);
  }
  one.append(...children); // texts become text nodes: never markup
  return one;
}

// --- pictures in ---
const pose = () => toPlain(editor.picture, editor.skeleton, editor.animals);

async function open(file) {
  if (!file) return;
  if ($("pose").hidden) show(tabs[0]); // the button stands above the triplets too
  notice("");
  if (/\.json$/i.test(file.name)) { await busy("Reading", () => openJson(file)); return; }
  const most = state?.limits.megabytes ?? 25;
  if (file.size > most * 1e6) { notice(`${file.name}: ${(file.size / 1e6).toFixed(1)} MB; at most ${most} are taken`, true); return; }
  const began = performance.now();
  const picture = await busy("Opening", () => api.upload(file));
  if (!picture) return;
  begin(picture, skeletons[$("skeleton").value], []);
  await find(null, began);
}

async function openJson(file) {
  if (file.size > 4e6) throw new Error(`${file.name}: too long to be a pose`);
  let content;
  try { content = JSON.parse(await file.text()); } catch { throw new Error(`${file.name}: not valid JSON`); }
  const { pose: checked } = await api.check(content);
  const skeleton = skeletons[checked.skeleton], { width, height } = checked.picture;
  const same = editor.picture && editor.picture.width === width && editor.picture.height === height;
  if (!same) begin(await api.canvas(width, height), skeleton, []);
  editor.edit(() => { editor.skeleton = skeleton; editor.animals = fromPlain(checked, skeleton); });
  $("skeleton").value = skeleton.name;
}

function begin(picture, skeleton, animals) {
  if (saving) keepNow(); // what was done to the picture before, while it is still the editor's
  notice("");
  $("mapped").textContent = "";
  $("welcome").hidden = true;
  editor.load(picture, skeleton, animals, picture.blank ? "" : api.shown(picture.id));
  $("skeleton").value = skeleton.name;
  history.replaceState(null, "", `#${picture.id}`);
  document.title = `${picture.name} · tetrapose studio`;
  refresh();
}

async function find(bbox = null, began = performance.now()) {
  const { picture, skeleton } = editor;
  const loading = state?.models === "loading" ? "Models are being loaded, then the animals are looked for" : "Looking for animals";
  const answer = await busy(loading, () => api.find(picture.id, skeleton.name, bbox));
  if (!answer || editor.picture !== picture) return;
  const animals = fromPlain(answer.pose, skeletons[answer.pose.skeleton]);
  if (!answer.found) { notice("No animal found. Drag a box around one with “Find in a box”, or add a preset."); return; }
  if (bbox) animals.forEach((animal) => editor.add(animal));
  else editor.edit(() => { editor.animals = animals; editor.skeleton = skeletons[answer.pose.skeleton]; editor.active = 0; editor.chosen = -1; });
  const count = animals.length;
  window.studio.seconds = (performance.now() - began) / 1000;
  notice(`${count} ${count === 1 ? "animal" : "animals"} found. Drag what is not right.`);
}

async function startBlank(width = 768, height = 768) {
  const picture = await busy("Opening", () => api.canvas(width, height));
  if (!picture) return;
  begin(picture, skeletons[$("skeleton").value], []);
  addPreset($("preset").value || "side");
  editor.history.clear();
  refresh();
}

function addPreset(view) {
  const preset = editor.skeleton.presets[view], { width, height } = editor.picture;
  if (!preset) { notice(`${editor.skeleton.name} has no preset; choose a quadruped of 21 points or more`, true); return; }
  editor.add({ label: "animal", bbox: null, points: placed(preset, width, height) });
}

// What was done is kept by the server a moment later, so that a reload finds it.
function keepSoon() {
  clearTimeout(saving);
  saving = setTimeout(keepNow, 300);
}
function keepNow() {
  clearTimeout(saving);
  saving = null;
  if (editor.picture) api.keep(editor.picture.id, pose()).catch((error) => notice(error.message, true));
}

// --- the panel ---
function refresh() {
  const there = Boolean(editor.picture), any = editor.animals.some((a) => a.points.some(Boolean));
  $("undo").disabled = !editor.history.past.length;
  $("redo").disabled = !editor.history.future.length;
  $("mirror").disabled = !editor.animal;
  $("find").disabled = $("draw-box").disabled = !there || editor.picture.blank;
  $("save-label").disabled = !any || editor.picture.blank;
  for (const id of ["export-json", "export-coco", "export-picture"]) $(id).disabled = !any;
  $("make").disabled = !any || making;
  $("make").textContent = making ? "Generating" : "Generate";
  $("place-missing").disabled = !editor.animal || !editor.animal.points.some(Boolean) || editor.animal.points.every(Boolean);
  if (editor.skeleton) $("skeleton").value = editor.skeleton.name;
  listAnimals();
  listPoints();
  chosen();
}

function listAnimals() {
  const rows = editor.animals.map((animal, a) => make("li", {},
    make("button", { class: "pick", "aria-pressed": String(a === editor.active), "aria-label": `animal ${a + 1}, ${animal.label}`, onclick: () => { editor.choose(a, -1, false); editor.draw(); refresh(); } }, `${a + 1}`),
    make("input", { value: animal.label, maxlength: "120", "aria-label": `kind of animal ${a + 1}`, onchange: (e) => editor.edit(() => { editor.animals[a].label = e.target.value.trim() || "animal"; }) }),
    make("button", { class: "away", "aria-label": `remove animal ${a + 1}`, title: "Remove", onclick: () => editor.remove(a) }, "×")));
  const held = $("animals").contains(document.activeElement);
  $("animals").replaceChildren(...(rows.length ? rows : [make("li", { class: "quiet" }, "None yet.")]));
  if (held) $("animals").querySelector("button")?.focus();
}

function listPoints() {
  const animal = editor.animal, skeleton = editor.skeleton;
  if (!animal) { $("point-list").replaceChildren(); $("points-count").textContent = ""; return; }
  const held = $("point-list").contains(document.activeElement) ? document.activeElement.dataset.key : null;
  $("points-count").textContent = `${animal.points.filter(Boolean).length} of ${skeleton.names.length}`;
  $("point-list").replaceChildren(...skeleton.names.map((name, k) => {
    const p = animal.points[k], words = !p ? "place" : p[2] === 2 ? "visible" : "hidden";
    const dot = make("i", { "aria-hidden": "true" });
    if (p) dot.style.background = `rgb(${skeleton.colours[k]})`;
    return make("li", { "data-point": k }, dot,
      make("button", { class: "name", "data-key": `n${k}`, title: skeleton.sites[k], disabled: !p, onclick: () => editor.choose(editor.active, k) }, spoken(name)),
      make("button", { class: "state", "data-key": `s${k}`, "aria-label": `${spoken(name)}: ${words}`, onclick: () => (p ? editor.hide(k) : placeOne(k)) }, words));
  }));
  if (held) $("point-list").querySelector(`[data-key="${held}"]`)?.focus({ preventScroll: true });
}

function guesses() {
  return completed(editor.animal.points, Object.values(editor.skeleton.presets), editor.skeleton);
}

function placeOne(k) {
  const animal = editor.animal, box = bounds(animal.points) || [0, 0, editor.picture.width - 1, editor.picture.height - 1];
  const guess = guesses()[k] || [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2, 2];
  editor.edit(() => { animal.points = animal.points.map((p, i) => (i === k ? [guess[0], guess[1], 2] : p)); editor.chosen = k; });
  editor.choose(editor.active, k);
}

function chosen() {
  const k = editor.chosen, p = editor.animal?.points[k];
  $("hide").disabled = !p;
  $("hide").lastElementChild.textContent = p && p[2] === 1 ? "Show" : "Hide";
  for (const row of $("point-list").children) row.classList.toggle("chosen", +row.dataset.point === k);
}

// --- ways out ---
function download(blob, suffix) {
  const stem = (editor.picture.name.replace(/\.[^.]*$/, "").replace(/[^\p{L}\p{N} _-]+/gu, "_").trim() || "pose").slice(0, 80);
  const link = make("a", { href: URL.createObjectURL(blob), download: `${stem}${suffix}` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

async function moveTo(name) {
  const target = skeletons[name];
  if (!editor.picture || !editor.animals.length) { editor.skeleton = target; refresh(); return; }
  const answer = await busy("Moving to the other skeleton", () => api.convert(pose(), name));
  if (!answer) { $("skeleton").value = editor.skeleton.name; return; }
  editor.edit(() => { editor.skeleton = target; editor.animals = fromPlain(answer.pose, target); editor.chosen = -1; });
  const { exact, near, absent, lost } = answer.grades;
  const parts = [`${exact.length} points exact`];
  if (near.length) parts.push(`near: ${near.map(spoken).join(", ")}`);
  if (absent.length) parts.push(`not there before: ${absent.map(spoken).join(", ")}`);
  if (lost.length) parts.push(`left behind: ${lost.map(spoken).join(", ")}`);
  $("mapped").textContent = `${parts.join("; ")}.`;
}

async function generate() {
  const wish = { prompt: $("prompt").value, pose: pose(), count: +$("count").value, seed: +$("seed").value };
  making = true;
  refresh();
  await busy("Generating", async () => {
    for await (const step of api.generate(wish)) {
      if (step.error) throw new Error(step.error);
      $("made").replaceChildren(...step.pictures.map((name, i) => make("a", { href: api.generatedPicture(name), target: "_blank", rel: "noopener" }, make("img", { src: api.generatedPicture(name), alt: `generated picture ${i + 1}: ${wish.prompt}` }))));
      announce(`${step.pictures.length} of ${step.wanted} pictures`);
    }
  });
  making = false;
  refresh();
}

// --- wiring ---
const clicks = {
  undo: () => editor.undo(), redo: () => editor.redo(), hide: () => editor.hide(), mirror: () => editor.mirror(),
  "zoom-in": () => editor.zoom(1.4), "zoom-out": () => editor.zoom(1 / 1.4), "zoom-fit": () => editor.fit(),
  bones: () => setBones(!editor.bones), find: () => find(), add: () => (editor.picture ? addPreset($("preset").value) : startBlank()),
  blank: () => startBlank(), "draw-box": () => setBoxing(!editor.boxing), make: generate,
  "place-missing": () => { const all = guesses(); editor.edit(() => { editor.animal.points = all; }); },
  "export-json": () => download(new Blob([JSON.stringify(pose(), null, 1)], { type: "application/json" }), ".pose.json"),
  "export-coco": async () => { const blob = await busy("Writing", () => api.coco(pose())); if (blob) download(blob, ".coco.json"); },
  "export-picture": async () => { const blob = await busy("Drawing", () => api.posePicture(pose(), $("style").value, $("hidden-points").value)); if (blob) download(blob, ".pose.png"); },
  "save-label": async () => {
    const saved = await busy("Saving", () => api.label(editor.picture.id, pose()));
    if (saved) notice(`Saved. ${saved.spec} holds ${saved.animals} ${saved.animals === 1 ? "animal" : "animals"} on ${saved.pictures} ${saved.pictures === 1 ? "picture" : "pictures"}.`);
  },
};
for (const [id, act] of Object.entries(clicks)) $(id).addEventListener("click", act);

function setBones(on) { editor.bones = on; $("bones").setAttribute("aria-pressed", String(on)); }
function setBoxing(on) { editor.boxing = on; $("draw-box").setAttribute("aria-pressed", String(on)); $("view").classList.toggle("boxing", on); if (on) notice("Drag a box around the animal."); }

for (const id of ["open", "choose"]) $(id).addEventListener("change", (e) => { open(e.target.files[0]); e.target.value = ""; });
$("skeleton").addEventListener("change", (e) => moveTo(e.target.value));
editor.addEventListener("change", () => {
  refresh();
  keepSoon();
  const k = editor.chosen, p = editor.animal?.points[k];
  if (p) announce(`${spoken(editor.skeleton.names[k])}, ${p[2] === 2 ? "visible" : "hidden"}, ${Math.round(p[0])}, ${Math.round(p[1])}`);
});
editor.addEventListener("choose", () => { chosen(); listAnimals(); if ($("points-count").dataset.animal !== String(editor.active)) { $("points-count").dataset.animal = editor.active; listPoints(); chosen(); } });
editor.addEventListener("zoom", (e) => { $("zoom").textContent = `${Math.round(100 * e.detail)}%`; });
editor.addEventListener("box", (e) => { setBoxing(false); find(e.detail); });
editor.addEventListener("leave", () => $("undo").disabled ? $("find").focus() : $("undo").focus());

const canvas = $("canvas");
for (const kind of ["dragenter", "dragover"]) document.addEventListener(kind, (e) => { e.preventDefault(); canvas.classList.add("over"); });
document.addEventListener("dragleave", (e) => { if (!e.relatedTarget) canvas.classList.remove("over"); });
document.addEventListener("drop", (e) => { e.preventDefault(); canvas.classList.remove("over"); open(e.dataTransfer.files[0]); });
document.addEventListener("paste", (e) => { const file = [...(e.clipboardData?.files || [])][0]; if (file) open(file); });

document.addEventListener("keydown", (e) => {
  if (e.target.closest("input, textarea, select")) return;
  const key = e.key.toLowerCase(), control = e.ctrlKey || e.metaKey;
  const act = control
    ? { z: () => (e.shiftKey ? editor.redo() : editor.undo()), y: () => editor.redo() }[key]
    : e.altKey ? null : { m: () => editor.mirror(), b: () => setBones(!editor.bones), "+": () => editor.zoom(1.4), "=": () => editor.zoom(1.4), "-": () => editor.zoom(1 / 1.4), 0: () => editor.fit() }[key];
  if (act && editor.picture && !$("pose").hidden) { e.preventDefault(); act(); }
});
window.addEventListener("pagehide", () => { if (saving) keepNow(); });

const tabs = [$("tab-pose"), $("tab-triplets")];
function show(tab) {
  for (const one of tabs) {
    const on = one === tab;
    one.setAttribute("aria-selected", String(on));
    one.tabIndex = on ? 0 : -1;
    $(one.getAttribute("aria-controls")).hidden = !on;
  }
  tab.focus();
  if (tab === tabs[0]) editor.fit();
}
tabs.forEach((tab, i) => {
  tab.addEventListener("click", () => show(tab));
  tab.addEventListener("keydown", (e) => { if (e.key === "ArrowRight" || e.key === "ArrowLeft") show(tabs[1 - i]); });
});

async function watchModels() {
  for (;;) {
    const { models } = state;
    $("models").textContent = models === "loading" ? "Models are being loaded" : models === "ready" ? "Ready" : models;
    $("models").classList.toggle("ready", models === "ready");
    if (models !== "loading") return;
    await new Promise((done) => setTimeout(done, 700));
    try { state = { ...state, models: (await api.state()).models }; } catch (error) { $("models").textContent = error.message; return; }
  }
}

async function start() {
  state = await api.state();
  skeletons = Object.fromEntries(state.skeletons.map((one) => [one.name, one]));
  const option = (one) => make("option", { value: one.name }, `${one.names.length} points · ${one.name}`);
  const posing = state.skeletons.filter((one) => one.presets.side), rest = state.skeletons.filter((one) => !one.presets.side);
  $("skeleton").append(make("optgroup", { label: "With presets" }, ...posing.map(option)), make("optgroup", { label: "Others" }, ...rest.map(option)));
  $("preset").append(...Object.entries(state.presets).map(([view, title]) => make("option", { value: view }, title)));
  $("style").append(...state.styles.map((name) => make("option", { value: name }, name)));
  if (state.generator) { $("generate").hidden = false; $("generator").textContent = state.generator; }
  const libraries = Object.keys(state.triplets);
  if (libraries.length) {
    $("tabs").hidden = false;
    browse(state.triplets, (opened) => {
      const skeleton = skeletons[opened.pose.skeleton];
      show(tabs[0]);
      begin(opened, skeleton, fromPlain(opened.pose, skeleton));
      keepSoon();
    });
  }
  refresh();
  watchModels();
  const id = location.hash.slice(1);
  if (/^[0-9a-f]{20}$/.test(id)) {
    const kept = await busy("Opening", () => api.kept(id));
    if (kept) {
      const skeleton = skeletons[kept.pose?.skeleton || $("skeleton").value];
      begin(kept, skeleton, kept.pose ? fromPlain(kept.pose, skeleton) : []);
    }
  }
}

start().catch((error) => notice(error.message, true));
