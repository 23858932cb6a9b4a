/** The pictures of the face that is put in. */

import * as api from "./api.js";
import { byId, element, say, takeDrops } from "./dom.js";
import { addressOf } from "./media.js";
import { whyNot } from "./upload_limits.js";

export class Sources {
  #chosen = [];
  #limits;

  constructor(limits) {
    this.#limits = limits;
    const input = byId("source");
    input.multiple = limits.max_sources !== 1;
    if (!input.multiple) byId("source-hint").hidden = true;
    input.addEventListener("change", () => {
      this.add([...input.files]);
      input.value = "";
    });
    // Chosen before this script was there, or kept by the browser over a reload.
    if (input.files.length) input.dispatchEvent(new Event("change"));
    takeDrops(byId("source-step"), (files) => this.add(files));
  }

  get files() {
    return this.#chosen.map(({ file }) => file);
  }

  add(files) {
    say("source-problem", "");
    if (this.#limits.max_sources === 1 && files.length) this.#chosen = [];
    for (const file of files) {
      const reason = whyNot(file, this.#limits);
      if (reason) say("source-problem", reason);
      else if (this.#limits.max_sources && this.#chosen.length >= this.#limits.max_sources) {
        say("source-problem", `The service takes ${this.#limits.max_sources} pictures of the face, not more.`);
      } else this.#look({ file, note: "", fits: true });
    }
    this.#draw();
  }

  /** Says at once where a picture shows no face. */
  async #look(source) {
    this.#chosen.push(source);
    try {
      const found = await api.faces(source.file);
      if (found.faces.length === 1) return;
      source.fits = found.faces.length > 0;
      source.note = source.fits ? "The largest face is taken." : "No face was found.";
    } catch (failure) {
      if (![413, 415, 422].includes(failure.status)) return;
      source.fits = false;
      source.note = failure.message;
    }
    if (this.#chosen.includes(source)) this.#draw();
  }

  #draw() {
    const list = byId("sources");
    list.replaceChildren(...this.#chosen.map((source) => this.#tile(source)));
    const some = this.#chosen.length > 0;
    byId("source-step").classList.toggle("filled", some);
    const more = this.#limits.max_sources === 1 ? "Change" : "Add another";
    byId("source-invite").textContent = some ? more : "Choose a picture of a face";
    const noted = this.#chosen.filter(({ note }) => note);
    byId("source-hint").textContent = noted.length
      ? noted.map(({ file, note }) => `${file.name}: ${note}`).join(" ")
      : "One is enough. Several pictures of the same person are better.";
  }

  #tile(source) {
    const button = element("button", { type: "button", className: "remove", textContent: "×" });
    button.setAttribute("aria-label", `Remove ${source.file.name}`);
    button.addEventListener("click", () => {
      this.#chosen = this.#chosen.filter((other) => other !== source);
      this.#draw();
      byId("source").focus();
    });
    const picture = element("img", { src: addressOf(source.file), alt: source.file.name });
    const tile = element("li", { className: "tile" }, picture, button);
    tile.classList.toggle("unfit", !source.fits);
    return tile;
  }
}
