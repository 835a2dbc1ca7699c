// The picture with its animals: drawing, pointer and keyboard. Nothing here asks the server.
//
// The picture's pixels are the world; `view` {s, x, y} maps them to the screen: s * p + (x, y).

import { jointed, mirrored, pulled, History } from "./pose.js";

const SVG = "http://www.w3.org/2000/svg";
const RADIUS = 6.5, GRAB = { mouse: 14, pen: 18, touch: 30 };
const WORDS = { 2: "visible", 1: "hidden" };

function element(name, attributes = {}, parent = null) {
  const one = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) one.setAttribute(key, value);
  if (parent) parent.append(one);
  return one;
}

const rgb = (c) => `rgb(${c[0]},${c[1]},${c[2]})`;
export const spoken = (name) => name.replaceAll("_", " ");

export class Editor extends EventTarget {
  constructor(canvas) {
    super();
    this.canvas = canvas;
    for (const id of ["view", "world", "photo", "ground", "limbs", "points", "frame"]) this[id] = canvas.querySelector(`#${id}`);
    this.svg = this.view;
    this.at = { s: 1, x: 0, y: 0 };
    this.picture = null; this.skeleton = null; this.animals = [];
    this.active = 0; this.chosen = -1; this.bones = false; this.boxing = false;
    this.history = new History();
    this.pointers = new Map();
    this.drag = null;
    this.timings = []; // milliseconds of the last drag events, for whoever measures
    this.listen();
  }

  // --- what is shown ---
  load(picture, skeleton, animals, address) {
    this.picture = picture;
    this.skeleton = skeleton;
    this.animals = animals;
    this.active = 0; this.chosen = -1;
    this.history.clear();
    const { width, height } = picture;
    for (const one of [this.photo, this.ground]) {
      one.setAttribute("x", -0.5); one.setAttribute("y", -0.5);
      one.setAttribute("width", width); one.setAttribute("height", height);
    }
    this.ground.toggleAttribute("hidden", !picture.blank);
    this.photo.toggleAttribute("hidden", picture.blank);
    this.photo.setAttribute("preserveAspectRatio", "none");
    if (!picture.blank) this.photo.setAttribute("href", address);
    this.fit();
    this.draw();
  }

  get animal() { return this.animals[this.active] || null; }

  snapshot() {
    return { skeleton: this.skeleton, active: this.active, chosen: this.chosen, animals: this.animals.map((a) => ({ ...a, points: a.points.map((p) => p && [...p]) })) };
  }

  restore(state) {
    ({ skeleton: this.skeleton, active: this.active, chosen: this.chosen, animals: this.animals } = state);
    this.draw();
    this.tell("change");
  }

  // Change the animals by a function, to be undone as one; equal kinds in quick succession are one.
  edit(change, kind = "") {
    const before = this.snapshot();
    change();
    this.history.add(before, kind);
    this.active = Math.min(this.active, Math.max(this.animals.length - 1, 0));
    this.draw();
    this.tell("change");
  }

  undo() { const state = this.history.undo(this.snapshot()); if (state) this.restore(state); }
  redo() { const state = this.history.redo(this.snapshot()); if (state) this.restore(state); }

  tell(kind, detail = null) { this.dispatchEvent(new CustomEvent(kind, { detail })); }

  draw() {
    const held = document.activeElement?.closest?.(".point") && this.svg.contains(document.activeElement);
    this.limbs.replaceChildren();
    this.points.replaceChildren();
    this.nodes = this.animals.map((animal, a) => this.drawAnimal(animal, a));
    if (held && this.chosen >= 0) this.nodes[this.active]?.points[this.chosen]?.focus({ preventScroll: true });
  }

  drawAnimal(animal, a) {
    const { edges, names, colours } = this.skeleton, active = a === this.active;
    const limbs = element("g", { class: active ? "" : "other" }, this.limbs), group = element("g", { class: active ? "" : "other", role: "group", "aria-label": `${animal.label}, animal ${a + 1}` }, this.points);
    const lines = edges.map(([i, j]) => {
      if (!animal.points[i] || !animal.points[j]) return null;
      const outer = this.skeleton.sides[j] === "middle" ? i : j;
      return { i, j, casing: element("line", { class: "casing" }, limbs), limb: element("line", { class: "limb", stroke: rgb(colours[outer]) }, limbs) };
    }).filter(Boolean);
    const points = animal.points.map((point, k) => {
      if (!point) return null;
      const node = element("g", { class: "point", "data-animal": a, "data-point": k, role: "button", tabindex: active ? 0 : -1 }, group);
      element("circle", { class: "halo2", r: RADIUS + 5.5 }, node);
      element("circle", { class: "halo", r: RADIUS + 3.5 }, node);
      element("circle", { class: "dot", r: RADIUS, fill: rgb(colours[k]) }, node);
      element("circle", { class: "rim", r: RADIUS - 1.7 }, node);
      const tag = element("text", { x: RADIUS + 8, y: 4 }, node);
      tag.textContent = spoken(names[k]);
      return node;
    });
    // over a point that is not there, a faint line joins what it would have joined
    animal.points.forEach((point, k) => {
      const ends = edges.filter((e) => e.includes(k)).map(([i, j]) => (i === k ? j : i));
      if (!point && ends.length === 2 && animal.points[ends[0]] && animal.points[ends[1]]) lines.push({ i: ends[0], j: ends[1], casing: element("line", { class: "bridge" }, limbs) });
    });
    const nodes = { lines, points };
    for (const line of lines) this.placeLine(animal, line);
    animal.points.forEach((_, k) => this.placePoint(animal, nodes, k, a));
    return nodes;
  }

  placeLine(animal, line) {
    const [x1, y1, v1] = animal.points[line.i], [x2, y2, v2] = animal.points[line.j];
    for (const one of [line.casing, line.limb].filter(Boolean)) {
      one.setAttribute("x1", x1); one.setAttribute("y1", y1);
      one.setAttribute("x2", x2); one.setAttribute("y2", y2);
    }
    line.limb?.classList.toggle("unsure", v1 === 1 || v2 === 1);
  }

  placePoint(animal, nodes, k, a) {
    const node = nodes.points[k], point = animal.points[k];
    if (!node || !point) return;
    node.setAttribute("transform", `translate(${point[0]} ${point[1]}) scale(${1 / this.at.s})`);
    node.classList.toggle("unseen", point[2] === 1);
    node.classList.toggle("chosen", a === this.active && k === this.chosen);
    node.setAttribute("aria-label", `${spoken(this.skeleton.names[k])}, ${WORDS[point[2]]}, ${Math.round(point[0])}, ${Math.round(point[1])}`);
  }

  // Move what is drawn to where the active animal's points are, without drawing anew.
  follow(start) {
    const nodes = this.nodes[this.active], animal = this.animal, moved = new Set();
    animal.points.forEach((p, k) => { if (p !== start[k]) { moved.add(k); this.placePoint(animal, nodes, k, this.active); } });
    for (const line of nodes.lines) if (moved.has(line.i) || moved.has(line.j)) this.placeLine(animal, line);
  }

  choose(a, k, focus = true) {
    const other = a !== this.active;
    this.active = a; this.chosen = k;
    if (other) this.draw();
    else this.nodes.forEach((nodes, n) => nodes.points.forEach((node, i) => node?.classList.toggle("chosen", n === a && i === k)));
    if (focus && k >= 0) this.nodes[a]?.points[k]?.focus({ preventScroll: true });
    this.tell("choose");
  }

  // --- zoom and pan ---
  fit() {
    if (!this.picture) return;
    const box = this.svg.getBoundingClientRect(), { width, height } = this.picture, pad = 14;
    const s = Math.min((box.width - 2 * pad) / width, (box.height - 2 * pad) / height);
    this.fitted = s > 0 && Number.isFinite(s) ? s : 1;
    this.look(this.fitted, (box.width - this.fitted * (width - 1)) / 2, (box.height - this.fitted * (height - 1)) / 2);
  }

  look(s, x, y) {
    this.at = { s, x, y };
    this.world.setAttribute("transform", `translate(${x} ${y}) scale(${s})`);
    const scale = 1 / s;
    for (const nodes of this.nodes || []) {
      for (const node of nodes.points) node?.setAttribute("transform", node.getAttribute("transform").replace(/scale\(.*\)/, `scale(${scale})`));
    }
    this.tell("zoom", s / (this.fitted || 1));
  }

  zoom(factor, middle = null) {
    if (!this.picture) return;
    const box = this.svg.getBoundingClientRect();
    const [mx, my] = middle || [box.width / 2, box.height / 2], { s, x, y } = this.at;
    const next = Math.min(Math.max(s * factor, this.fitted / 4), Math.max(this.fitted * 40, 8)), f = next / s;
    this.look(next, mx - f * (mx - x), my - f * (my - y));
  }

  screen(event) {
    const box = this.svg.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  toPicture([u, v]) { return [(u - this.at.x) / this.at.s, (v - this.at.y) / this.at.s]; }

  // --- pointer ---
  listen() {
    const svg = this.svg;
    svg.addEventListener("pointerdown", (e) => this.down(e));
    svg.addEventListener("pointermove", (e) => this.move(e));
    for (const kind of ["pointerup", "pointercancel"]) svg.addEventListener(kind, (e) => this.up(e));
    svg.addEventListener("wheel", (e) => { e.preventDefault(); this.zoom(Math.exp(-e.deltaY * (e.deltaMode ? 0.05 : 0.0016)), this.screen(e)); }, { passive: false });
    svg.addEventListener("focusin", (e) => {
      const node = e.target.closest(".point");
      if (node && !this.drag) this.choose(+node.dataset.animal, +node.dataset.point, false);
    });
    svg.addEventListener("keydown", (e) => this.key(e));
    new ResizeObserver(() => this.picture && this.fit()).observe(this.canvas);
  }

  // The name of what a click would take.
  hover(hit) {
    const node = hit && this.nodes[hit.a]?.points[hit.k];
    if (node === this.hovered) return;
    this.hovered?.classList.remove("near");
    node?.classList.add("near");
    this.hovered = node;
  }

  // The point under the pointer: the active animal's where two are as near.
  under(event) {
    const [u, v] = this.screen(event), reach = GRAB[event.pointerType] || 14;
    let best = null;
    this.animals.forEach((animal, a) => animal.points.forEach((p, k) => {
      if (!p) return;
      const far = Math.hypot(this.at.s * p[0] + this.at.x - u, this.at.s * p[1] + this.at.y - v) + (a === this.active ? 0 : 3);
      if (far <= reach && (!best || far < best.far)) best = { a, k, far };
    }));
    return best;
  }

  down(event) {
    if (!this.picture || (event.button && event.pointerType === "mouse" && event.button !== 1)) return;
    this.svg.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.screen(event));
    if (this.pointers.size === 2) { this.letGo(); this.pinch = this.spread(); return; }
    const hit = event.button === 1 || this.boxing ? null : this.under(event);
    const from = this.toPicture(this.screen(event));
    if (hit) {
      event.preventDefault();
      this.choose(hit.a, hit.k);
      const p = this.animal.points[hit.k];
      this.drag = { kind: "point", k: hit.k, dx: p[0] - from[0], dy: p[1] - from[1], before: this.snapshot(), start: this.animal.points, plan: jointed(this.animal.points, this.skeleton), moved: false };
    } else {
      this.drag = { kind: this.boxing ? "box" : "pan", from, at: this.screen(event), moved: false };
      this.svg.classList.add("panning");
    }
  }

  move(event) {
    if (!this.pointers.has(event.pointerId)) { if (event.pointerType === "mouse" && this.picture) this.hover(this.under(event)); return; }
    const began = performance.now(), here = this.screen(event);
    this.pointers.set(event.pointerId, here);
    if (this.pinch && this.pointers.size === 2) {
      const now = this.spread();
      this.look(this.at.s, this.at.x + now.middle[0] - this.pinch.middle[0], this.at.y + now.middle[1] - this.pinch.middle[1]);
      this.zoom(now.far / this.pinch.far, now.middle);
      this.pinch = now;
      return;
    }
    const drag = this.drag;
    if (!drag) return;
    if (drag.kind === "pan") {
      this.look(this.at.s, this.at.x + here[0] - drag.at[0], this.at.y + here[1] - drag.at[1]);
      drag.at = here;
    } else if (drag.kind === "box") {
      this.frameFrom(drag.from, this.toPicture(here));
    } else {
      const [x, y] = this.toPicture(here);
      this.moveTo(drag.k, drag.start, this.within([x + drag.dx, y + drag.dy]), drag.plan);
      this.timings.push(performance.now() - began);
      if (this.timings.length > 500) this.timings.shift();
    }
    drag.moved = true;
  }

  up(event) {
    if (!this.pointers.delete(event.pointerId)) return;
    this.pinch = null;
    const drag = this.drag;
    this.letGo();
    if (!drag || !drag.moved) return;
    if (drag.kind === "point") { this.history.add(drag.before); this.tell("change"); }
    if (drag.kind === "box") {
      const [x, y] = this.toPicture(this.screen(event)), [u, v] = drag.from;
      const box = [Math.min(x, u), Math.min(y, v), Math.max(x, u), Math.max(y, v)].map((c, i) => Math.min(Math.max(c, -0.5), (i % 2 ? this.picture.height : this.picture.width) - 0.5));
      if (box[2] - box[0] > 4 && box[3] - box[1] > 4) this.tell("box", box);
    }
  }

  letGo() {
    // a second finger during a drag makes it a pinch: what was dragged stays where it is
    if (this.drag?.kind === "point" && this.drag.moved && this.pointers.size === 2) { this.history.add(this.drag.before); this.tell("change"); }
    this.drag = null;
    this.frame.setAttribute("hidden", "");
    this.svg.classList.remove("panning");
  }

  spread() {
    const [a, b] = [...this.pointers.values()];
    return { far: Math.max(Math.hypot(a[0] - b[0], a[1] - b[1]), 1), middle: [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2] };
  }

  frameFrom([u, v], [x, y]) {
    this.frame.removeAttribute("hidden");
    const set = { x: Math.min(u, x), y: Math.min(v, y), width: Math.abs(u - x), height: Math.abs(v - y) };
    for (const [key, value] of Object.entries(set)) this.frame.setAttribute(key, value);
  }

  // Points may lie beside the picture (a paw outside the frame), not beyond half of it.
  within([x, y]) {
    const { width, height } = this.picture;
    return [Math.min(Math.max(x, -width / 2), 1.5 * width), Math.min(Math.max(y, -height / 2), 1.5 * height)];
  }

  moveTo(k, start, [x, y], plan = undefined) {
    const animal = this.animal;
    if (this.bones) animal.points = pulled(start, k, [x, y], this.skeleton, plan);
    else { animal.points = start.slice(); animal.points[k] = [x, y, start[k][2]]; }
    this.follow(start);
  }

  // --- what buttons and keys do ---
  nudge(dx, dy) {
    const k = this.chosen, p = this.animal?.points[k];
    if (!p) return;
    const before = this.snapshot();
    this.moveTo(k, this.animal.points, this.within([p[0] + dx, p[1] + dy]));
    this.history.add(before, `nudge ${this.active} ${k}`);
    this.tell("change");
  }

  // hidden or visible; `away` takes a hidden point away altogether
  hide(k = this.chosen, away = false) {
    const p = this.animal?.points[k];
    if (!p) return;
    this.edit(() => { this.animal.points = this.animal.points.map((q, i) => (i !== k ? q : away && p[2] === 1 ? null : [p[0], p[1], away ? 1 : 3 - p[2]])); });
    if (!this.animal.points[k]) this.choose(this.active, -1, false);
  }

  mirror() {
    if (this.animal) this.edit(() => { this.animal.points = mirrored(this.animal.points, this.skeleton.flip); });
  }

  add(animal) {
    this.edit(() => { this.animals = [...this.animals, animal]; this.active = this.animals.length - 1; this.chosen = -1; });
  }

  remove(a) {
    this.edit(() => { this.animals = this.animals.filter((_, n) => n !== a); this.chosen = -1; if (this.active > a) this.active -= 1; });
  }

  key(event) {
    const step = event.shiftKey ? 10 : 1, plain = !event.ctrlKey && !event.metaKey && !event.altKey;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (plain && moves[event.key] && this.chosen >= 0) { event.preventDefault(); this.nudge(...moves[event.key]); }
    else if (event.key === "Delete" || event.key === "Backspace") { event.preventDefault(); this.hide(this.chosen, true); }
    else if (plain && (event.key === "h" || event.key === "H" || event.key === "Enter" || event.key === " ")) { event.preventDefault(); this.hide(); }
    else if (event.key === "Escape") { event.preventDefault(); this.choose(this.active, -1, false); this.tell("leave"); }
  }
}
