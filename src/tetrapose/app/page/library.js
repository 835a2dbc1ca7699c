// Looking through triplets: a page of a shard at a time.

import * as api from "./api.js";

const $ = (id) => document.getElementById(id);
const COLUMNS = { original_image: "picture", conditioning_image: "pose picture", overlaid: "both" };

export function browse(libraries, open) {
  let page = null;
  const names = Object.keys(libraries);
  $("library").append(...names.map((name) => { const one = document.createElement("option"); one.value = one.textContent = name; return one; }));

  function words(text) { $("triplets-notice").textContent = text; $("triplets-notice").hidden = !text; }

  function row({ key, caption }) {
    const item = document.createElement("li"), three = document.createElement("div"), text = document.createElement("p"), foot = document.createElement("div"), code = document.createElement("span"), button = document.createElement("button");
    three.className = "three";
    for (const [column, what] of Object.entries(COLUMNS)) {
      const picture = document.createElement("img");
      picture.loading = "lazy";
      picture.alt = `${what} of ${key}`;
      picture.src = api.tripletPicture($("library").value, page.part, key, column);
      three.append(picture);
    }
    text.className = "caption";
    text.textContent = caption; // as text: a caption is somebody else's
    foot.className = "foot";
    code.className = "quiet";
    code.textContent = key;
    button.textContent = "Open in the editor";
    button.setAttribute("aria-label", `open ${key} in the editor`);
    button.addEventListener("click", async () => {
      try { open(await api.openTriplet($("library").value, page.part, key)); } catch (error) { words(error.message); }
    });
    foot.append(code, button);
    item.append(three, text, foot);
    return item;
  }

  async function load(part, start) {
    try {
      page = await api.triplets($("library").value, part, start);
    } catch (error) { words(error.message); $("rows").replaceChildren(); return; }
    words("");
    $("shard").max = page.parts;
    $("shard").value = page.part + 1;
    $("rows").replaceChildren(...page.rows.map(row));
    const last = Math.min(page.start + page.page, page.count);
    $("where").textContent = page.count ? `${page.start + 1} to ${last} of ${page.count} in ${page.name}` : `${page.name} is empty`;
    $("earlier").disabled = page.part === 0 && page.start === 0;
    $("later").disabled = page.part === page.parts - 1 && last >= page.count;
  }

  $("later").addEventListener("click", () => (page.start + page.page < page.count ? load(page.part, page.start + page.page) : load(page.part + 1, 0)));
  $("earlier").addEventListener("click", () => load(page.start > 0 ? page.part : page.part - 1, Math.max(0, page.start - page.page)));
  $("shard").addEventListener("change", (e) => load(Math.min(Math.max(1, +e.target.value || 1), page.parts) - 1, 0));
  $("library").addEventListener("change", () => load(0, 0));
  load(0, 0);
}
