/** The page: from the files to the result. */

import * as api from "./api.js";
import { Compare } from "./compare.js";
import { byId, say } from "./dom.js";
import * as options from "./options.js";
import { People } from "./people.js";
import { Player } from "./player.js";
import { Sources } from "./sources.js";
import { Stage } from "./stage.js";
import { Target } from "./target.js";
import { Tasks } from "./tasks.js";
import { clock, isOver, secondsOf, sentence, withNames } from "./words.js";

/** What was sent for the tasks of this page's life, by task id. See `Stage.ended`. */
const originals = new Map();

/** The task in view, and what ends the following of it. */
let current = { id: null, task: null, end: new AbortController() };
/** What ends the sending of files. */
let sending = null;

const player = new Player();
const stage = new Stage(player, new Compare());
const tasks = new Tasks(remove, (task) => task.id === current.id && task.result && stage.link(task));
const limits = await api.limits().catch((failure) => {
  say("form-problem", failure.message);
  return {};
});
const people = new People();
const sources = new Sources(limits);
const target = new Target(limits, people, showTarget);

byId("consent-step").hidden = !limits.require_consent;
const countOptions = options.onChange(() => player.mark(options.part()));
for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault());

byId("compose").addEventListener("submit", (event) => {
  event.preventDefault();
  if (isComplete()) submit();
});
byId("cut-start").addEventListener("click", () => options.setMoment("trim_start", clock(player.time, 2)));
byId("cut-end").addEventListener("click", () => options.setMoment("trim_end", clock(player.time, 2)));
byId("cancel").addEventListener("click", () => (current.id ? remove(current.task) : sending?.abort()));
byId("delete").addEventListener("click", () => remove(current.task));
byId("close").addEventListener("click", close);
byId("original").addEventListener("change", ({ target: input }) => {
  const { task } = current;
  const start = secondsOf(String(task.options.trim_start ?? 0)) || 0;
  originals.set(task.id, { file: input.files[0], sources: [], start, middle: 0.5 });
  input.value = "";
  stage.ended(task, originals.get(task.id));
});
addEventListener("hashchange", open);
addEventListener("paste", (event) => {
  const files = [...(event.clipboardData?.files ?? [])];
  if (!files.length) return;
  if (sources.files.length) target.choose(files[0]);
  else sources.add(files);
});

api.models().then(options.offerModels, () => {});
tasks.refresh();
open();

function showTarget() {
  leave();
  forgetAddress();
  options.suit(target.isFilm, limits.formats);
  countOptions();
  stage.target(target.shown, () => target.look());
  player.mark(options.part());
}

/** Says what is missing, where it is missing. */
function isComplete() {
  const mistake = options.mistake();
  const missing = [
    ["source", !sources.files.length && "Choose a picture of the face first."],
    ["target", !target.file && "Choose the picture or film first."],
    ["options", mistake?.reason],
    ["consent", limits.require_consent && !byId("consent").checked && "This is needed here."],
  ];
  for (const [place, reason] of missing) say(`${place}-problem`, reason || "");
  say("form-problem", "");
  const first = missing.find(([, reason]) => reason)?.[0];
  if (!first) return true;
  if (first === "options") byId("options").open = true;
  (first === "options" ? mistake.field : byId(first)).focus();
  return false;
}

async function submit() {
  leave();
  forgetAddress();
  const mine = current;
  const { file, shown } = target;
  const original = { file, sources: sources.files, start: options.part().start ?? 0, middle: people.middle };
  const onSent = (share) => {
    byId("go").textContent = share < 1 ? `Sending, ${Math.floor(share * 100)} %` : "Sent";
    if (current === mine) stage.sending(shown, share);
  };
  sending = new AbortController();
  byId("go").disabled = true;
  onSent(0);
  byId("stage").scrollIntoView({ block: "nearest" });
  byId("stage-title").focus({ preventScroll: true });
  try {
    const task = await api.create(formOf(), { onSent, signal: sending.signal });
    originals.set(task.id, original);
    tasks.refresh();
    if (current !== mine) return;
    current.id = task.id;
    location.hash = task.id;
    watch(task);
  } catch (failure) {
    if (current === mine) showTargetAgain();
    if (failure.name !== "AbortError") complain(failure, original);
  } finally {
    sending = null;
    byId("go").disabled = false;
    byId("go").textContent = "Swap faces";
  }
}

function formOf() {
  const form = new FormData();
  const wanted = options.chosen();
  // Positions are those of the service's own detector, in the whole target.
  const { select, reference } = people.chosen(!target.isFilm && !wanted.detector);
  if (select) wanted.select = select;
  if (limits.require_consent) wanted.consent = byId("consent").checked;
  for (const file of sources.files) form.append("source", file, file.name);
  form.append("target", target.file, target.file.name);
  if (reference) form.append("reference", reference, "reference.jpg");
  form.append("options", JSON.stringify(wanted));
  return form;
}

/** Says why the service refused, near what it refused. */
function complain(failure, original) {
  const place = placeOf(failure);
  const named = withNames(failure.said, original);
  say(`${place}-problem`, named === failure.said ? failure.message : sentence(named));
  if (place === "options") byId("options").open = true;
  byId({ form: "go", options: "options-summary" }[place] ?? place).focus();
}

function placeOf({ status, code, message }) {
  if (code === "bad_configuration" || /^the (start|end) of\b/i.test(message)) return "options";
  if (status === 413 || /\btarget\b/i.test(message)) return "target";
  return /\bsource\b/i.test(message) ? "source" : "form";
}

/** Follows a task and shows it after every change. */
async function watch(task) {
  const { id } = task;
  const { signal } = current.end;
  current.task = task;
  tasks.mark(id);
  const show = async () => {
    const shown = originals.get(id)?.file === target.file ? target.shown : null;
    if (!isOver(current.task)) return stage.working(current.task, shown);
    const focused = document.activeElement === byId("cancel");
    await stage.ended(current.task, originals.get(id) ?? null);
    if (focused) byId("stage-title").focus();
  };
  await show();
  if (isOver(task)) return;
  try {
    for await (const changed of api.follow(id, signal)) {
      if (signal.aborted) return;
      current.task = changed;
      await show();
    }
  } catch (failure) {
    if (signal.aborted) return;
    say("stage-problem", failure.message);
  }
  tasks.refresh();
}

/** Shows the task that the address names. */
async function open() {
  const id = location.hash.slice(1);
  if (id === (current.id ?? "")) return;
  leave();
  if (!id) return showTargetAgain();
  const { end } = current;
  current.id = id;
  try {
    const task = await api.task(id);
    if (!end.signal.aborted) {
      byId("stage").scrollIntoView({ block: "nearest" });
      watch(task);
    }
  } catch (failure) {
    if (end.signal.aborted) return;
    close();
    say("tasks-problem", failure.message);
    byId("tasks").hidden = false;
  }
}

/** Cancels a task that is at work, or deletes one that has ended. */
async function remove(task) {
  if (isOver(task) && task.result && !(await isSure())) return;
  try {
    await api.remove(task.id);
  } catch (failure) {
    if (failure.status !== 404) return say("tasks-problem", failure.message);
  }
  if (current.id === task.id && isOver(task)) close();
  tasks.refresh();
}

function isSure() {
  const dialog = byId("delete-dialog");
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) =>
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "delete"), { once: true }),
  );
}

/** Goes back from a task to the files. */
function close() {
  leave();
  forgetAddress();
  showTargetAgain();
  byId(target.file ? "go" : "target").focus();
}

function showTargetAgain() {
  tasks.mark("");
  if (!target.file) return stage.empty();
  stage.target(target.shown, () => target.look());
  player.mark(options.part());
}

function forgetAddress() {
  if (location.hash) history.replaceState(null, "", location.pathname + location.search);
}

/** Ends the following of the task in view. */
function leave() {
  current.end.abort();
  current = { id: null, task: null, end: new AbortController() };
}
