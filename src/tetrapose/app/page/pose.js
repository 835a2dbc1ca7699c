// Poses as plain values, and everything that is computed from them without a page.
//
// An animal is {label, bbox, points}: points[k] is [x, y, v] in pixels of the picture (the centre of
// the top-left one is 0, 0), v 2 visible or 1 hidden, or null where there is none. Functions give
// new points and leave their arguments alone.

export const FORMAT = "tetrapose-pose/1";

export function toPlain(picture, skeleton, animals) {
  return {
    format: FORMAT,
    skeleton: skeleton.name,
    picture: { name: picture.name, width: picture.width, height: picture.height },
    animals: animals.map((animal) => ({
      label: animal.label,
      bbox: animal.bbox,
      keypoints: Object.fromEntries(skeleton.names.map((name, k) => [name, rounded(animal.points[k])])),
    })),
  };
}

export function fromPlain(content, skeleton) {
  return content.animals.map((animal) => ({
    label: animal.label,
    bbox: animal.bbox,
    points: skeleton.names.map((name) => animal.keypoints[name] || null),
  }));
}

function rounded(point) {
  return point && [Math.round(point[0] * 100) / 100, Math.round(point[1] * 100) / 100, point[2]];
}

export function bounds(points) {
  const there = points.filter(Boolean);
  if (!there.length) return null;
  const xs = there.map((p) => p[0]), ys = there.map((p) => p[1]);
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
}

// The animal facing the other way, in its place: left and right change names.
export function mirrored(points, flip) {
  const box = bounds(points);
  if (!box) return points;
  return points.map((_, k) => {
    const p = points[flip[k]];
    return p && [box[0] + box[2] - p[0], p[1], p[2]];
  });
}

// A preset (points in 0..1 of its longer side) in the middle of a picture.
export function placed(preset, width, height) {
  const box = bounds(preset.map((p) => p && [p[0], p[1], 2]));
  const scale = 0.7 * Math.min(width / (box[2] - box[0]), height / (box[3] - box[1]));
  const x = (width - 1 - scale * (box[0] + box[2])) / 2, y = (height - 1 - scale * (box[1] + box[3])) / 2;
  return preset.map((p) => p && [x + scale * p[0], y + scale * p[1], 2]);
}

// Missing points where the best fitting of some presets has them, as hidden; the rest as it is.
// Each preset is tried as it is and mirrored, under the affine map of least squares. A point between
// two that are there divides the way between them as the preset's does.
export function completed(points, presets, { flip, edges }) {
  let best = null;
  for (const preset of presets) {
    for (const form of [preset, mirrored(preset.map((p) => p && [p[0], p[1], 2]), flip)]) {
      const pairs = points.map((p, k) => [form[k], p]).filter(([a, b]) => a && b);
      const map = affine(pairs);
      if (!map) continue;
      const miss = pairs.reduce((sum, [a, b]) => sum + distance(map(a), b) ** 2, 0) / pairs.length;
      if (!best || miss < best.miss) best = { miss, map, form };
    }
  }
  if (!best) return points;
  return points.map((p, k) => p || (best.form[k] && [...(between(points, best.form, k, edges) || best.map(best.form[k])), 1]));
}

function between(points, form, k, edges) {
  const ends = edges.filter((e) => e.includes(k)).map(([i, j]) => (i === k ? j : i));
  if (ends.length !== 2 || !ends.every((end) => points[end] && form[end])) return null;
  const [a, b] = ends, u = distance(form[a], form[k]), v = distance(form[k], form[b]);
  const share = u + v > 0 ? u / (u + v) : 0.5;
  return [0, 1].map((i) => points[a][i] + share * (points[b][i] - points[a][i]));
}

function affine(pairs) {
  if (pairs.length < 4) return null;
  const m = [[0, 0, 0], [0, 0, 0], [0, 0, 0]], r = [[0, 0], [0, 0], [0, 0]];
  for (const [a, b] of pairs) {
    const row = [a[0], a[1], 1];
    for (let i = 0; i < 3; i++) {
      for (let j = 0; j < 3; j++) m[i][j] += row[i] * row[j];
      for (let j = 0; j < 2; j++) r[i][j] += row[i] * b[j];
    }
  }
  const [[a, b, c], [d, e, f], [g, h, i]] = m;
  const inverse = [[e * i - f * h, c * h - b * i, b * f - c * e], [f * g - d * i, a * i - c * g, c * d - a * f], [d * h - e * g, b * g - a * h, a * e - b * d]];
  const det = a * inverse[0][0] + b * inverse[1][0] + c * inverse[2][0];
  if (Math.abs(det) < 1e-9) return null;
  const s = [0, 1, 2].map((u) => [0, 1].map((v) => [0, 1, 2].reduce((sum, w) => sum + inverse[u][w] * r[w][v], 0) / det));
  return ([x, y]) => [s[0][0] * x + s[1][0] * y + s[2][0], s[0][1] * x + s[1][1] * y + s[2][1]];
}

function distance(a, b) {
  return Math.hypot(a[0] - b[0], a[1] - b[1]);
}

// --- bones of constant length -------------------------------------------------------------------
// A bone that lies on no ring of bones turns about its inner end. Bones on a ring (eyes, ears and
// nose) keep their lengths only together: such a block turns as one. So a body is a tree of blocks,
// grown from a root in the trunk: of each point we need the block that hangs it, and where that
// block itself hangs (its joint).

// [{joint, block}] by point: `joint` the point its block turns about (-1 at a root).
export function jointed(points, skeleton) {
  const n = points.length, near = points.map(() => []);
  for (const [a, b] of skeleton.edges) {
    if (points[a] && points[b]) { near[a].push(b); near[b].push(a); }
  }
  const blocks = biconnected(near);
  const joint = new Array(n).fill(-1), block = new Array(n).fill(-1), seen = new Array(n).fill(false);
  const inner = (k) => (skeleton.parts[k] === "trunk" ? 0 : 1);
  const order = [...points.keys()].filter((k) => points[k]).sort((a, b) => inner(a) - inner(b) || near[b].length - near[a].length);
  for (const root of order) {
    if (seen[root]) continue;
    seen[root] = true;
    const queue = [root];
    while (queue.length) {
      const from = queue.shift();
      for (const [index, members] of blocks.entries()) {
        if (!members.has(from) || index === block[from]) continue;
        for (const k of members) {
          if (!seen[k]) { seen[k] = true; joint[k] = from; block[k] = index; queue.push(k); }
        }
      }
    }
  }
  return { joint, block };
}

function biconnected(near) {
  const n = near.length, depth = new Array(n).fill(-1), low = new Array(n).fill(0), stack = [], blocks = [];
  function visit(k, parent, at) {
    depth[k] = low[k] = at;
    for (const other of near[k]) {
      if (depth[other] < 0) {
        stack.push([k, other]);
        visit(other, k, at + 1);
        low[k] = Math.min(low[k], low[other]);
        if (low[other] >= at) {
          const members = new Set();
          for (let edge; (edge = stack.pop()); ) {
            members.add(edge[0]).add(edge[1]);
            if (edge[0] === k && edge[1] === other) break;
          }
          blocks.push(members);
        }
      } else if (other !== parent && depth[other] < at) {
        stack.push([k, other]);
        low[k] = Math.min(low[k], depth[other]);
      }
    }
  }
  for (let k = 0; k < n; k++) if (depth[k] < 0 && near[k].length) visit(k, -1, 0);
  return blocks;
}

// The points after point k was pulled towards (x, y), all bones as long as before: up to three
// joints of its limb bend (FABRIK), what hangs on them turns with them. A root moves everything that
// hangs on it. Source: Aristidou and Lasenby, FABRIK: A fast, iterative solver for the inverse
// kinematics problem, Graphical Models 73 (2011).
// `plan` is what `jointed` gives, where it is at hand.
export function pulled(points, k, [x, y], skeleton, plan = jointed(points, skeleton), reach = 3) {
  const { joint, block } = plan;
  const chain = [k];
  while (chain.length <= reach && joint[chain[0]] >= 0) {
    chain.unshift(joint[chain[0]]);
    if (skeleton.parts[chain[0]] === "trunk") break;
  }
  if (chain.length === 1) return shifted(points, hanging(k, joint), x - points[k][0], y - points[k][1]);
  const at = solved(chain.map((c) => points[c]), [x, y]);
  const out = points.slice();
  // each block of the chain turns as the way from its joint to the chain's next point did
  for (let i = 1; i < chain.length; i++) {
    const pivot = points[chain[i - 1]], old = points[chain[i]];
    const turn = Math.atan2(at[i][1] - at[i - 1][1], at[i][0] - at[i - 1][0]) - Math.atan2(old[1] - pivot[1], old[0] - pivot[0]);
    const cos = Math.cos(turn), sin = Math.sin(turn);
    const moved = members(chain[i], chain[i - 1], block, joint, i + 1 < chain.length ? chain[i + 1] : -1);
    for (const m of moved) {
      const dx = points[m][0] - pivot[0], dy = points[m][1] - pivot[1];
      out[m] = [at[i - 1][0] + cos * dx - sin * dy, at[i - 1][1] + sin * dx + cos * dy, points[m][2]];
    }
  }
  return out;
}

// What turns with the block between two points of a chain: the block, and all that hangs on it
// other than the chain's next block.
function members(point, pivot, block, joint, next) {
  const out = [];
  for (let m = 0; m < block.length; m++) {
    let child = -1;
    for (let up = m; up >= 0; child = up, up = joint[up]) {
      if (block[up] === block[point] && joint[up] === pivot) {
        if (!(next >= 0 && up === point && child >= 0 && block[child] === block[next])) out.push(m);
        break;
      }
    }
  }
  return out;
}

function hanging(k, joint) {
  const out = new Set();
  for (let m = 0; m < joint.length; m++) {
    for (let up = m; up >= 0; up = joint[up]) if (up === k) { out.add(m); break; }
  }
  return out;
}

function shifted(points, which, dx, dy) {
  return points.map((p, m) => (p && which.has(m) ? [p[0] + dx, p[1] + dy, p[2]] : p));
}

function solved(chain, target) {
  const lengths = chain.slice(1).map((p, i) => distance(p, chain[i]));
  const at = chain.map((p) => [p[0], p[1]]), last = at.length - 1, root = [...at[0]];
  const toward = (from, to, length) => {
    const far = distance(from, to);
    return far < 1e-9 ? [from[0] + length, from[1]] : [from[0] + ((to[0] - from[0]) * length) / far, from[1] + ((to[1] - from[1]) * length) / far];
  };
  for (let turn = 0; turn < 24; turn++) {
    at[last] = [...target];
    for (let i = last - 1; i >= 0; i--) at[i] = toward(at[i + 1], at[i], lengths[i]);
    at[0] = [...root];
    for (let i = 1; i <= last; i++) at[i] = toward(at[i - 1], at[i], lengths[i - 1]);
    if (distance(at[last], target) < 0.05) break;
  }
  return at;
}

// --- what was done, to be undone -----------------------------------------------------------------

export class History {
  constructor(most = 200) { this.most = most; this.past = []; this.future = []; }
  // `before` is the state to come back to; the same `kind` again within a second counts as one.
  add(before, kind = "", now = Date.now()) {
    const last = this.past[this.past.length - 1];
    this.future = [];
    if (kind && last && last.kind === kind && now - last.at < 1000) { last.at = now; return; }
    this.past.push({ state: before, kind, at: now });
    if (this.past.length > this.most) this.past.shift();
  }
  undo(present) { return this.step(this.past, this.future, present); }
  redo(present) { return this.step(this.future, this.past, present); }
  step(from, to, present) {
    const entry = from.pop();
    if (!entry) return null;
    to.push({ state: present, kind: "", at: 0 });
    return entry.state;
  }
  clear() { this.past = []; this.future = []; }
}
