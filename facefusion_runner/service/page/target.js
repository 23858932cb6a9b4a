/** The picture or film whose faces are replaced. */

import * as api from "./api.js";
import { byId, say, takeDrops } from "./dom.js";
import { addressOf, frameOf, isFilm, show, sizeOf, typeOf } from "./media.js";
import { whyNot } from "./upload_limits.js";
import { bytes, clock, listed } from "./words.js";

export class Target {
  file = null;
  /** What shows it; null where this browser cannot. */
  shown = null;
  #limits;
  #people;
  #changed;
  #search = new AbortController();

  /** @param {function()} changed called when there is another target */
  constructor(limits, people, changed) {
    this.#limits = limits;
    this.#people = people;
    this.#changed = changed;
    const input = byId("target");
    input.addEventListener("change", () => {
      if (input.files.length) this.choose(input.files[0]);
      input.value = "";
    });
    // Chosen before this script was there, or kept by the browser over a reload.
    if (input.files.length) input.dispatchEvent(new Event("change"));
    for (const place of ["target-step", "stage"]) takeDrops(byId(place), ([file]) => this.choose(file));
  }

  get isFilm() {
    return this.file !== null && isFilm(this.file);
  }

  async choose(file) {
    const reason = whyNot(file, this.#limits);
    say("target-problem", reason);
    if (reason) return;
    this.#search.abort();
    this.file = file;
    this.shown = null;
    this.#people.clear();
    byId("people-step").hidden = false;
    byId("target-step").classList.add("filled");
    byId("target-invite").textContent = file.name;
    byId("target-about").textContent = bytes(file.size);
    byId("target-change").hidden = false;
    const shown = await show(addressOf(file), typeOf(file));
    if (this.file !== file) return;
    this.shown = shown;
    if (shown) {
      const length = shown.duration ? clock(shown.duration) : "";
      byId("target-about").textContent = listed(sizeOf(shown).join(" × "), length, bytes(file.size));
    }
    this.#changed();
    this.look();
  }

  /** Finds the faces in the picture, or in what the film shows now. */
  async look() {
    this.#search.abort();
    this.#search = new AbortController();
    const { signal } = this.#search;
    const people = this.#people;
    say("people-problem", "");
    people.say("Looking for faces …");
    try {
      const seen = this.shown instanceof HTMLVideoElement ? await frameOf(this.shown) : this.file;
      const found = await api.faces(seen, { signal });
      if (signal.aborted) return;
      people.show(found);
      people.say(this.#hint(found.faces.length));
    } catch (failure) {
      if (signal.aborted) return;
      people.say("");
      say("people-problem", failure.message);
    }
  }

  #hint(count) {
    const film = this.shown instanceof HTMLVideoElement;
    if (count === 0) {
      return film ? "No face was found at this moment. Move to another one." : "No face was found in this picture.";
    }
    if (film) return "Found at this moment. A person who is picked is followed through the whole film.";
    return count === 1 ? "One face was found." : "Pick one, here or in the picture, or leave it at everyone.";
  }
}
