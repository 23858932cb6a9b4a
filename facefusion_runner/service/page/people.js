/** The faces that were found in the target, and which of them are replaced. */

import { byId, element } from "./dom.js";
import { blobOf } from "./media.js";

const ALL = "all";

export class People {
  #found = { faces: [], width: 1, height: 1 };
  #choice = ALL;
  /** A face chosen at another moment of the film. */
  #kept = null;

  constructor() {
    byId("people").addEventListener("change", (event) => {
      this.#choice = event.target.value;
      this.#markBoxes();
    });
  }

  clear() {
    this.#choice = ALL;
    this.#kept = null;
    this.show({ faces: [], width: 1, height: 1 });
  }

  /** Shows the faces of the target, or of another moment of it. */
  show(found) {
    const before = this.#chosenFace();
    this.#kept = before;
    this.#choice = before ? "kept" : ALL;
    this.#found = found;
    this.#drawChoices();
    this.#drawBoxes();
  }

  say(text) {
    byId("people-hint").textContent = text;
  }

  /**
   * The choice as the service takes it.
   *
   * @param {boolean} byPosition whether the positions of the faces hold for the whole target
   * @returns {{select: ?string, reference: ?Blob}}
   */
  chosen(byPosition) {
    const face = this.#chosenFace();
    if (!face) return { select: null, reference: null };
    if (byPosition && face !== this.#kept) return { select: String(face.index), reference: null };
    return { select: "reference", reference: blobOf(face.thumbnail) };
  }

  /** Where the chosen face is, else the largest one, from 0 at the left to 1; the middle where none is. */
  get middle() {
    const { faces, width } = this.#found;
    const area = ({ box: [left, top, right, bottom] }) => (right - left) * (bottom - top);
    const largest = [...faces].sort((one, other) => area(other) - area(one))[0];
    const face = this.#chosenFace() ?? largest;
    return face ? (face.box[0] + face.box[2]) / 2 / width : 0.5;
  }

  #chosenFace() {
    if (this.#choice === ALL) return null;
    return this.#choice === "kept" ? this.#kept : this.#found.faces[Number(this.#choice)];
  }

  #drawChoices() {
    const faces = this.#found.faces.map((face, at) => [String(at), `Face ${at + 1} from the left`, face]);
    if (this.#kept) faces.unshift(["kept", "The face chosen before", this.#kept]);
    byId("people").replaceChildren(
      this.#choiceOf(ALL, element("span", { className: "everyone", textContent: "All" }), "Everyone"),
      ...faces.map(([value, name, face]) => this.#choiceOf(value, element("img", { src: face.thumbnail, alt: name }))),
    );
  }

  #choiceOf(value, shown, name = "") {
    const input = element("input", {
      type: "radio", name: "person", value, id: `person-${value}`, className: "visually-hidden",
      checked: this.#choice === value,
    });
    if (name) input.setAttribute("aria-label", name);
    return element("label", { className: "person" }, input, shown);
  }

  #drawBoxes() {
    const { faces, width, height } = this.#found;
    byId("boxes").replaceChildren(
      ...faces.map((face, at) => {
        const [left, top, right, bottom] = face.box;
        const box = element("label", { className: "box", htmlFor: `person-${at}` });
        box.setAttribute("aria-hidden", "true");
        box.style.left = `${(100 * left) / width}%`;
        box.style.top = `${(100 * top) / height}%`;
        box.style.width = `${(100 * (right - left)) / width}%`;
        box.style.height = `${(100 * (bottom - top)) / height}%`;
        return box;
      }),
    );
    this.#markBoxes();
  }

  #markBoxes() {
    for (const [at, box] of [...byId("boxes").children].entries()) {
      const chosen = this.#choice === ALL || this.#choice === String(at);
      box.classList.toggle("chosen", chosen);
    }
  }
}
