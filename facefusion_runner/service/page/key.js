/** The API key: asked for where the service wants one, kept for the life of the tab. */

import { byId, say } from "./dom.js";

const PLACE = "api-key";
let asking = null;

export const currentKey = () => sessionStorage.getItem(PLACE);

/**
 * Asks for a key, once for all requests that wait for it.
 *
 * @param {?string} refused the key that did not do
 * @returns {Promise<boolean>} whether there is another key now
 */
export function askForKey(refused) {
  if (currentKey() !== refused) return Promise.resolve(true);
  asking ??= ask(refused).finally(() => (asking = null));
  return asking;
}

function ask(refused) {
  const dialog = byId("key-dialog");
  const field = byId("key");
  say("key-problem", refused ? "The service does not know this key." : "");
  field.value = "";
  dialog.showModal();
  return new Promise((resolve) => {
    const end = new AbortController();
    const { signal } = end;
    const finish = (given) => {
      end.abort();
      dialog.close();
      resolve(given);
    };
    byId("key-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const key = field.value.trim();
      if (!key) return;
      sessionStorage.setItem(PLACE, key);
      finish(true);
    }, { signal });
    byId("key-cancel").addEventListener("click", () => finish(false), { signal });
    dialog.addEventListener("cancel", () => finish(false), { signal });
  });
}
