/** Pictures and films as the browser shows them. */

import { element } from "./dom.js";

const FILMS = /\.(mp4|m4v|mov|mkv|webm|gif|avi)$/i;
const LONGEST_SIDE = 1920;
const PATIENCE = 8000;
const addresses = new WeakMap();

/** An address of a file of the user's, for as long as the page is open. */
export function addressOf(file) {
  if (!addresses.has(file)) addresses.set(file, URL.createObjectURL(file));
  return addresses.get(file);
}

/** Whether the service takes a file for a film. */
export const isFilm = (file) => file.type.startsWith("video/") || FILMS.test(file.name);

/**
 * An element that shows an address, once it can.
 *
 * @param {string} type media type; a gif is a picture here, for that is how browsers show it
 * @returns {Promise<?(HTMLImageElement|HTMLVideoElement)>} null where this browser cannot show it
 */
export async function show(address, type) {
  if (type.startsWith("image/")) {
    const picture = element("img", { src: address, alt: "" });
    return picture.decode().then(() => picture, () => null);
  }
  const film = element("video", { src: address, playsInline: true, preload: "auto" });
  film.disablePictureInPicture = true;
  const ready = await new Promise((resolve) => {
    film.addEventListener("loadeddata", () => resolve(film.videoWidth > 0));
    film.addEventListener("error", () => resolve(false));
    setTimeout(() => resolve(film.videoWidth > 0), PATIENCE);
  });
  return ready ? film : null;
}

/** Media type of a file, guessed from its name where the browser has none. */
export function typeOf(file) {
  if (file.type) return file.type;
  return isFilm(file) ? "video/mp4" : "image/jpeg";
}

/** Width and height of what an element shows. */
export const sizeOf = (shown) =>
  shown instanceof HTMLVideoElement
    ? [shown.videoWidth, shown.videoHeight]
    : [shown.naturalWidth, shown.naturalHeight];

/** The frame that a film shows now, as a JPEG. */
export function frameOf(film) {
  const [width, height] = sizeOf(film);
  const scale = Math.min(1, LONGEST_SIDE / Math.max(width, height));
  const canvas = element("canvas", { width: Math.round(width * scale), height: Math.round(height * scale) });
  canvas.getContext("2d").drawImage(film, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve, reject) =>
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("no frame"))), "image/jpeg", 0.95),
  );
}

/** The content of a data: address; fetch() may not open one under the page's policy. */
export function blobOf(dataAddress) {
  const [head, body] = dataAddress.split(",", 2);
  const bytes = Uint8Array.from(atob(body), (character) => character.charCodeAt(0));
  return new Blob([bytes], { type: head.slice(5).split(";")[0] });
}
