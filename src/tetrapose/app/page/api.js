// The studio's server, asked with plain values. Errors carry its one line.

const HEADERS = { "X-Tetrapose": "1" };

async function asked(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { ...options, headers: { ...HEADERS, ...options.headers } });
  } catch {
    throw new Error("the studio does not answer; is it still running?");
  }
  if (response.ok) return response;
  let words = `the studio answered ${response.status}`;
  try { words = (await response.json()).error || words; } catch { /* not its own answer */ }
  throw new Error(words);
}

const json = async (path, options) => (await asked(path, options)).json();
const body = (content) => ({ body: JSON.stringify(content), headers: { "Content-Type": "application/json" } });
const at = (...parts) => "/api/" + parts.map(encodeURIComponent).join("/");

export const state = () => json("/api/state");
export const upload = (file) => json("/api/pictures", { method: "POST", body: file, headers: { "X-Name": encodeURIComponent(file.name || "picture") } });
export const canvas = (width, height) => json("/api/canvas", { method: "POST", ...body({ width, height }) });
export const kept = (id) => json(at("pictures", id));
export const shown = (id) => at("pictures", id, "shown");
export const find = (id, skeleton, bbox = null) => json(at("pictures", id, "find"), { method: "POST", ...body({ skeleton, bbox }) });
// outlives the page that is left, but for what is too long: browsers refuse to keep 64 KiB or more alive
export const keep = (id, pose) => { const sent = body(pose); return json(at("pictures", id, "pose"), { method: "PUT", keepalive: new Blob([sent.body]).size < 60000, ...sent }); };
export const label = (id, pose) => json(at("pictures", id, "label"), { method: "POST", ...body(pose) });
export const convert = (pose, to) => json("/api/convert", { method: "POST", ...body({ pose, to }) });
export const check = (pose) => json("/api/check", { method: "POST", ...body(pose) });
export const coco = async (pose) => (await asked("/api/export/coco", { method: "POST", ...body(pose) })).blob();
export const posePicture = async (pose, style, hidden) => (await asked("/api/export/pose_picture", { method: "POST", ...body({ pose, style, hidden }) })).blob();
export const triplets = (library, part, start) => json(at("triplets", library, part, start));
export const tripletPicture = (library, part, key, column) => at("triplets", library, part, key, column);
export const openTriplet = (library, part, key) => json(at("triplets", library, part, key, "open"), { method: "POST" });
export const generatedPicture = (name) => at("generated", name);

// Pictures of a wish as they come, through Gradio's queue: a call, then its stream of events.
export async function* generate(wish) {
  const call = "/gradio/gradio_api/call/generate";
  const { event_id: id } = await json(call, { method: "POST", ...body({ data: [wish] }) });
  const reader = (await asked(`${call}/${id}`)).body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const events = text.split("\n\n");
    text = events.pop();
    for (const event of events) {
      const kind = /^event: (.*)$/m.exec(event)?.[1], data = /^data: (.*)$/m.exec(event)?.[1];
      if (kind === "error") throw new Error("the generator failed; the window where the studio runs shows why");
      if ((kind === "generating" || kind === "complete") && data && data !== "null") yield JSON.parse(data)[0];
      if (kind === "complete") return;
    }
  }
}
