/** The large view: the target, then the work on it, then the result beside it. */

import { own } from "./api.js";
import { byId, element, say } from "./dom.js";
import { addressOf, show, sizeOf, typeOf } from "./media.js";
import { factsOf, progressOf, sentence, stateOf, withNames } from "./words.js";

/** Shows or hides parts by their ids. */
const only = (ids, shown) => ids.forEach((id) => (byId(id).hidden = !shown));

export class Stage {
  #player;
  #compare;
  #preview = { address: null, loading: false };
  #announced = "";
  /** Another object for every view, so that what was loaded for an older one is not shown. */
  #turn = {};

  constructor(player, compare) {
    this.#player = player;
    this.#compare = compare;
  }

  empty() {
    this.#begin("empty");
  }

  /** @param {?HTMLElement} shown what shows the target; null where this browser cannot */
  target(shown, onRest) {
    this.#begin("target");
    this.#layers(shown, null);
    if (!shown) this.#unseen("This browser cannot show this file. Its faces are found all the same.");
    const film = shown instanceof HTMLVideoElement ? shown : null;
    this.#player.attach(film, { onRest });
    byId("cuts").hidden = false;
  }

  /** @param {number} sent how much of the files is sent, from 0 to 1 */
  sending(shown, sent) {
    if (byId("stage").dataset.view !== "sending") {
      this.#begin("sending");
      this.#layers(shown, null);
    }
    this.#title(sent < 1 ? "Sending the files" : "The service looks at the files");
    byId("facts").textContent = sent < 1 ? `${Math.floor(sent * 100)} %` : "";
    this.#measure(sent < 1 ? sent : null);
    only(["bar", "progress", "cancel"], true);
  }

  /** A task on which the service works or will work. */
  working(task, shown) {
    if (byId("stage").dataset.view !== "working") {
      this.#begin("working");
      this.#layers(shown, null, [task.target.width, task.target.height]);
    }
    this.#title(stateOf(task));
    byId("facts").textContent = progressOf(task.progress);
    const { frames, total, stage } = task.progress ?? {};
    this.#measure(stage === "swapping" && total ? frames / total : null);
    only(["bar", "progress", "cancel"], true);
    if (task.preview_url) this.#look(task.preview_url, frames ?? 0);
  }

  /**
   * A task that has ended.
   *
   * @param {?{file: File, sources: File[], start: number, middle: number}} original what was sent: the target,
   *   the pictures of the face, the second at which the wanted part begins, where a face is from 0 at the left to 1
   */
  async ended(task, original) {
    const turn = this.#turn;
    if (task.state !== "succeeded") {
      const shown = original && (await show(addressOf(original.file), typeOf(original.file)));
      if (turn !== this.#turn) return;
      this.#begin("ended");
      this.#layers(shown, null, [task.target.width, task.target.height]);
      this.#summary(task, "");
      const message = task.error?.message ?? "";
      say("stage-problem", message && sentence(original ? withNames(message, original) : message));
      return;
    }
    const [before, after] = await Promise.all([
      original ? show(addressOf(original.file), typeOf(original.file)) : null,
      show(own(task.result.url), task.result.media_type),
    ]);
    if (turn !== this.#turn) return;
    const both = before && after && before.tagName === after.tagName;
    this.#begin(both ? "compare" : "result");
    this.#layers(both ? before : null, after, [task.target.width, task.target.height]);
    if (!after) this.#unseen("This browser cannot show the result. Download it.");
    if (after instanceof HTMLVideoElement) {
      this.#player.attach(after, { follower: both ? before : null, offset: original?.start ?? 0 });
    }
    this.#summary(task, factsOf(task));
    this.link(task);
    only(["download"], true);
    only(["compare"], !both && after !== null);
    if (both) this.#compare.begin(original.middle);
  }

  /** Renews the link to the result, which is good for some time only. */
  link(task) {
    const link = byId("download");
    link.href = own(task.result.url, { download: 1 });
    link.download = task.result.name;
  }

  #begin(view) {
    this.#turn = {};
    byId("stage").dataset.view = view;
    this.#player.attach(null);
    this.#preview = { address: null, loading: false };
    only(["frame", "unseen", "bar", "cuts", "progress", "download", "compare", "delete", "cancel", "close"], false);
    byId("warnings").replaceChildren();
    byId("facts").textContent = "";
    say("stage-problem", "");
  }

  #layers(before, after, [width, height] = [0, 0]) {
    byId("before").replaceChildren(...(before ? [before] : []));
    byId("after").replaceChildren(...(after ? [after] : []));
    const shown = after ?? before;
    if (shown) [width, height] = sizeOf(shown);
    byId("frame").hidden = !width;
    byId("frame").style.setProperty("--ratio", width / height || 1);
    byId("frame").style.setProperty("--native", `${width}px`);
  }

  #unseen(text) {
    byId("frame").hidden = true;
    byId("unseen").hidden = false;
    byId("unseen").textContent = text;
  }

  #summary(task, facts) {
    this.#title(stateOf(task));
    byId("facts").textContent = facts;
    byId("warnings").replaceChildren(...task.warnings.map((text) => element("li", { textContent: sentence(text) })));
    only(["bar", "delete", "close"], true);
  }

  #title(text) {
    byId("stage-title").textContent = text;
    if (text === this.#announced) return;
    this.#announced = text;
    byId("announce").textContent = text;
  }

  #measure(share) {
    if (share === null) byId("progress").removeAttribute("value");
    else byId("progress").value = share;
  }

  /** Loads the newest preview, one at a time, and puts it in place when it can be drawn. */
  async #look(url, frames) {
    const address = own(url, { n: frames });
    const current = this.#preview;
    if (current.loading || current.address === address) return;
    current.loading = true;
    const picture = await show(address, "image/jpeg");
    current.loading = false;
    if (!picture || current !== this.#preview) return;
    current.address = address;
    picture.alt = "Preview of the newest frame";
    byId("after").replaceChildren(picture);
    byId("frame").hidden = false;
  }
}
