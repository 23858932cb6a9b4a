/** What the service takes, as far as it can be said before anything is sent. */

import { bytes } from "./words.js";

/** @returns {string} why a file cannot be sent; empty where it can */
export function whyNot(file, limits) {
  if (!file.size) return `${file.name} is empty.`;
  if (file.size > (limits.max_upload_bytes ?? Infinity)) {
    return `${file.name} has ${bytes(file.size)}; the service takes ${bytes(limits.max_upload_bytes)}.`;
  }
  return "";
}
