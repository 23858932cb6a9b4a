/** The list of tasks. */

import * as api from "./api.js";
import { byId, element, say } from "./dom.js";
import { ago, clock, isOver, listed, percentOf, stateOf } from "./words.js";

const PAGE = 20;
const SOON_MS = 3000;
const LATER_MS = 30000;

export class Tasks {
  #rows = new Map();
  #next = null;
  #timer = 0;
  #remove;
  #seen;

  /**
   * @param {function(Object)} remove cancels or deletes a task
   * @param {function(Object)} seen is told every task as it is now
   */
  constructor(remove, seen) {
    this.#remove = remove;
    this.#seen = seen;
    byId("more").addEventListener("click", () => this.#older());
    document.addEventListener("visibilitychange", () => document.hidden || this.refresh());
  }

  /** Reads the newest tasks, and again soon while any is at work. */
  async refresh() {
    clearTimeout(this.#timer);
    let wait = LATER_MS;
    try {
      const page = await api.tasks({ limit: PAGE });
      say("tasks-problem", "");
      this.#show(page);
      page.tasks.forEach(this.#seen);
      if (page.tasks.some((task) => !isOver(task))) wait = SOON_MS;
    } catch (failure) {
      say("tasks-problem", failure.message);
      byId("tasks").hidden = false;
      if (failure.status === 401) return;
    }
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => (document.hidden ? null : this.refresh()), wait);
  }

  /** Marks the task that is shown large. */
  mark(id) {
    for (const [other, row] of this.#rows) {
      if (other === id) row.open.setAttribute("aria-current", "true");
      else row.open.removeAttribute("aria-current");
    }
  }

  #show({ tasks, next }) {
    const list = byId("task-list");
    const oldest = tasks.at(-1)?.created_at ?? "";
    const isOlder = ({ task }) => tasks.length === PAGE && task.created_at < oldest;
    const older = [...this.#rows.values()].filter(isOlder).map(({ task }) => task);
    const all = [...tasks, ...older];
    const ids = new Set(all.map(({ id }) => id));
    for (const [id, row] of this.#rows) {
      if (ids.has(id)) continue;
      row.item.remove();
      this.#rows.delete(id);
    }
    all.forEach((task, at) => {
      const row = this.#row(task);
      if (list.children[at] !== row.item) list.insertBefore(row.item, list.children[at] ?? null);
    });
    if (!older.length) this.#next = next;
    byId("more").hidden = this.#next === null;
    byId("tasks").hidden = all.length === 0;
    this.mark(location.hash.slice(1));
  }

  async #older() {
    try {
      const page = await api.tasks({ limit: PAGE, before: this.#next });
      for (const task of page.tasks) byId("task-list").append(this.#row(task).item);
      this.#next = page.next;
      byId("more").hidden = page.next === null;
    } catch (failure) {
      say("tasks-problem", failure.message);
    }
  }

  /** The row of a task, made or brought up to date; its elements stay, so that the focus does. */
  #row(task) {
    const row = this.#rows.get(task.id) ?? this.#make(task);
    row.task = task;
    const what = nameOf(task.target);
    const state = stateOf(task);
    row.what.textContent = what;
    row.state.textContent = listed(state, percentOf(task.progress) || ago(task.created_at));
    row.item.dataset.state = task.state;
    row.item.dataset.kind = task.target.kind;
    if (task.result?.media_type.startsWith("image/") && row.picture.hidden) {
      row.picture.src = api.own(task.result.url);
      row.picture.hidden = false;
    }
    if (task.preview_url && row.picture.dataset.frame !== frameOf(task)) {
      row.picture.dataset.frame = frameOf(task);
      row.picture.src = api.own(task.preview_url, { n: task.progress?.frames ?? task.state });
      row.picture.hidden = false;
    }
    row.download.hidden = task.result === null;
    if (task.result) {
      row.download.href = api.own(task.result.url, { download: 1 });
      row.download.download = task.result.name;
      row.download.setAttribute("aria-label", `Download: ${what}, ${ago(task.created_at)}`);
    }
    const word = isOver(task) ? "Delete" : "Cancel";
    row.remove.textContent = word;
    row.remove.setAttribute("aria-label", `${word}: ${what}, ${ago(task.created_at)}`);
    return row;
  }

  #make(task) {
    const picture = element("img", { alt: "", hidden: true, loading: "lazy" });
    picture.addEventListener("error", () => (picture.hidden = true));
    const what = element("span", { className: "what" });
    const state = element("span", { className: "state" });
    const open = element("a", { className: "open", href: `#${task.id}` },
      element("span", { className: "thumb" }, picture), element("span", { className: "text" }, what, state));
    const download = element("a", { className: "button", textContent: "Download" });
    const remove = element("button", { type: "button" });
    const item = element("li", {}, open, element("div", { className: "actions" }, download, remove));
    const row = { item, picture, what, state, open, download, remove, task };
    remove.addEventListener("click", () => this.#remove(row.task));
    this.#rows.set(task.id, row);
    return row;
  }
}

const frameOf = (task) => `${task.state} ${task.progress?.frames ?? ""}`;

function nameOf({ kind, width, height, duration }) {
  const length = duration ? `, ${clock(duration)}` : "";
  return `${kind === "video" ? "Film" : "Picture"} ${width} × ${height}${length}`;
}
