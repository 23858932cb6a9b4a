/** The slider between before and after. */

import { byId } from "./dom.js";

const INTRO_MS = 1100;

const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

function place(percent) {
  byId("split").value = percent;
  byId("frame").style.setProperty("--split", `${percent}%`);
  byId("split").setAttribute("aria-valuetext", `${Math.round(percent)} %`);
}

export class Compare {
  #moving = 0;

  constructor() {
    const split = byId("split");
    split.addEventListener("input", () => {
      cancelAnimationFrame(this.#moving);
      place(Number(split.value));
    });
    place(50);
  }

  /** Uncovers the result once, from the right to `rest`, where a face is half old and half new. */
  begin(rest) {
    cancelAnimationFrame(this.#moving);
    const end = 100 * Math.min(0.95, Math.max(0.05, rest));
    if (calm()) return place(end);
    const start = performance.now();
    const step = (now) => {
      const done = Math.min(1, (now - start) / INTRO_MS);
      place(end + (100 - end) * (1 - done) ** 3);
      if (done < 1) this.#moving = requestAnimationFrame(step);
    };
    place(100);
    this.#moving = requestAnimationFrame(step);
  }
}
