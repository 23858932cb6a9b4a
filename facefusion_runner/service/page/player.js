/** Plays one film, or two that show the same moments. */

import { byId } from "./dom.js";
import { clock } from "./words.js";

const FAR = 0.25;
const NEAR = 0.015;
const REST_MS = 300;

export class Player {
  #film = null;
  #follower = null;
  /** Seconds by which the follower's moments come later. */
  #offset = 0;
  #end = new AbortController();
  #onRest = () => {};
  #resting = 0;

  constructor() {
    byId("play").addEventListener("click", () => this.#toggle());
    byId("seek").addEventListener("input", () => {
      if (!this.#film) return;
      this.#film.pause();
      this.#film.currentTime = Number(byId("seek").value);
    });
    byId("sound").addEventListener("click", () => {
      this.#film.muted = !this.#film.muted;
    });
  }

  get time() {
    return this.#film?.currentTime ?? 0;
  }

  /**
   * @param {?HTMLVideoElement} film null for a picture
   * @param {{follower: ?HTMLVideoElement, offset: number, onRest: function()}} how `onRest` is called when
   *   the film has come to rest at another moment
   */
  attach(film, { follower = null, offset = 0, onRest = () => {} } = {}) {
    clearTimeout(this.#resting);
    this.#end.abort();
    this.#end = new AbortController();
    this.#film?.pause();
    this.#follower?.pause();
    this.#film = film;
    this.#follower = follower;
    this.#offset = offset;
    this.#onRest = onRest;
    byId("player").hidden = film === null;
    if (film === null) return;
    this.mark({});
    film.muted = false;
    film.loop = true;
    if (follower) {
      follower.muted = true;
      follower.loop = false;
    }
    const { signal } = this.#end;
    for (const name of ["play", "pause", "timeupdate", "seeked", "volumechange", "durationchange"]) {
      film.addEventListener(name, () => this.#draw(), { signal });
    }
    film.addEventListener("seeking", () => this.#align(), { signal });
    film.addEventListener("seeked", () => film.paused && this.#rest(), { signal });
    film.addEventListener("pause", () => !film.seeking && this.#rest(), { signal });
    film.addEventListener("play", () => this.#run(signal), { signal });
    this.#align();
    this.#draw();
  }

  /** Marks the wanted part of the film. */
  mark({ start, end }) {
    const length = this.#film?.duration || 1;
    const share = (seconds) => `${Math.min(100, Math.max(0, (100 * seconds) / length))}%`;
    byId("seek").style.setProperty("--from", share(start || 0));
    byId("seek").style.setProperty("--to", share(end || length));
  }

  #toggle() {
    if (this.#film.paused) this.#film.play().catch(() => {});
    else this.#film.pause();
  }

  #rest() {
    this.#align();
    clearTimeout(this.#resting);
    this.#resting = setTimeout(this.#onRest, REST_MS);
  }

  #align() {
    if (this.#follower) this.#follower.currentTime = this.#film.currentTime + this.#offset;
  }

  /** Keeps the follower at the film's moments for as long as it plays. */
  #run(signal) {
    this.#follower?.play().catch(() => {});
    const step = () => {
      const film = this.#film;
      if (signal.aborted || film.paused) {
        this.#follower?.pause();
        return;
      }
      byId("seek").value = film.currentTime;
      if (this.#follower) {
        const ahead = this.#follower.currentTime - this.#offset - film.currentTime;
        if (Math.abs(ahead) > FAR) this.#align();
        this.#follower.playbackRate = Math.abs(ahead) > NEAR ? Math.min(1.1, Math.max(0.9, 1 - ahead)) : 1;
        if (this.#follower.paused && !this.#follower.ended) this.#follower.play().catch(() => {});
      }
      requestAnimationFrame(step);
    };
    step();
  }

  #draw() {
    const film = this.#film;
    const digits = film.duration < 60 ? 1 : 0;
    const length = Number.isFinite(film.duration) ? film.duration : 0;
    byId("seek").max = length;
    byId("seek").value = film.currentTime;
    byId("seek").setAttribute("aria-valuetext", clock(film.currentTime, 1));
    byId("clock").textContent = `${clock(film.currentTime, digits)} / ${clock(length, digits)}`;
    byId("play").setAttribute("aria-label", film.paused ? "Play" : "Pause");
    byId("play").classList.toggle("playing", !film.paused);
    byId("sound").setAttribute("aria-pressed", String(film.muted));
  }
}
