/** Small helpers for the document. */

/** @returns {HTMLElement} the element of that id; ids are written in index.html. */
export const byId = (id) => document.getElementById(id);

/** An element with properties and children. */
export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** Shows one sentence in a place for problems; an empty one takes it away. */
export function say(id, sentence) {
  const place = byId(id);
  if (place.textContent !== sentence) place.textContent = sentence;
}

/** Takes files that are dropped onto an element. */
export function takeDrops(place, take) {
  let depth = 0;
  const mark = (change) => {
    depth = Math.max(0, depth + change);
    place.classList.toggle("dropping", depth > 0);
  };
  place.addEventListener("dragenter", () => mark(1));
  place.addEventListener("dragleave", () => mark(-1));
  place.addEventListener("drop", (event) => {
    mark(-depth);
    if (event.dataTransfer.files.length) take([...event.dataTransfer.files]);
  });
}
