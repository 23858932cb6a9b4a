/** The options of a swap, by the names of the settings. */

import { byId, element } from "./dom.js";
import { secondsOf } from "./words.js";

const fields = () => byId("options").querySelectorAll("[name]");

const valueOf = (field) => (field.type === "checkbox" ? (field.checked ? true : "") : field.value.trim());

/** Fields that count for this kind of target. */
const inUse = (field) => !field.closest("[hidden]");

/** What was changed, to be sent with the task. */
export function chosen() {
  const values = [...fields()].filter(inUse).map((field) => [field.name, valueOf(field)]);
  return Object.fromEntries(values.filter(([, value]) => value !== ""));
}

/** Seconds at which the wanted part of the film begins and ends; null where nothing is said. */
export function part() {
  const { trim_start: start, trim_end: end } = chosen();
  return { start: start ? secondsOf(start) : null, end: end ? secondsOf(end) : null };
}

/** @returns {?{field: HTMLInputElement, reason: string}} the first field that cannot be meant so */
export function mistake() {
  for (const field of fields()) {
    if (!inUse(field) || !valueOf(field)) continue;
    if (field.name.startsWith("trim_") && Number.isNaN(secondsOf(field.value.trim()))) {
      return { field, reason: "A moment is written as 1:23.5 or in seconds." };
    }
    if (field.name === "fps" && !/^\d+(\.\d+|\/\d+)?$/.test(field.value.trim())) {
      return { field, reason: "Frames per second are a number such as 25 or 30000/1001." };
    }
  }
  const { start, end } = part();
  if (start !== null && end !== null && start >= end) {
    return { field: byId("options").querySelector("[name=trim_end]"), reason: "The part must end after it begins." };
  }
  return null;
}

export function setMoment(name, text) {
  const field = byId("options").querySelector(`[name=${name}]`);
  field.value = text;
  field.dispatchEvent(new Event("input", { bubbles: true }));
}

/** Shows what fits a film or a picture, and its formats. */
export function suit(isFilm, formats) {
  for (const place of byId("options").querySelectorAll("[data-for=video]")) place.hidden = !isFilm;
  const select = byId("options").querySelector("[name=output_format]");
  const names = (isFilm ? formats?.video : formats?.picture) ?? [];
  const writable = isFilm ? ["mp4", "mov", "mkv", "webm"] : ["jpg", "png", "webp"];
  const kept = writable.includes(select.value) ? select.value : "";
  const offered = writable.filter((name) => names.length === 0 || names.includes(name));
  select.replaceChildren(select.options[0], ...offered.map((name) => new Option(name, name)));
  select.value = kept;
}

/** Offers the models that are there, where there is a choice. */
export function offerModels(models) {
  for (const place of byId("options").querySelectorAll("[data-role]")) {
    const there = models.filter((model) => model.role === place.dataset.role && model.state === "present");
    const select = place.querySelector("select");
    const others = there.filter((model) => place.dataset.role !== "generator" || model.id !== "mesh");
    const nameOf = (model) => (model.commercial ? model.id : `${model.id} (not commercial)`);
    select.append(...others.map((model) => new Option(nameOf(model), model.id)));
    place.hidden = there.length < 2;
  }
}

/** Calls back, and counts what was changed, after every change. */
export function onChange(changed) {
  const count = () => {
    const number = Object.keys(chosen()).length;
    byId("options-changed").textContent = number ? ` · ${number} changed` : "";
    changed();
  };
  byId("options").addEventListener("input", count);
  count();
  return count;
}
