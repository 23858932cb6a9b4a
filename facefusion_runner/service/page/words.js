/** How numbers, times and states are said. */

const STAGES = {
  checking: "Checking the files",
  loading: "Loading the networks",
  preparing: "Learning the face",
  swapping: "Swapping faces",
  finishing: "Finishing the file",
};

/** A task in a state that nothing follows. */
export const isOver = (task) => task.state !== "queued" && task.state !== "running";

/** The state of a task as a title. */
export function stateOf(task) {
  if (task.state === "queued") {
    if (!task.position) return "Waiting to start";
    return task.position === 1 ? "Waiting, one is before it" : `Waiting, ${task.position} are before it`;
  }
  if (task.state === "running") return STAGES[task.progress?.stage] ?? "Working";
  if (task.state === "failed") return "This did not work";
  if (task.state === "cancelled") return "Cancelled";
  return task.result?.faces === 0 ? "No face was replaced" : "Done";
}

/** What else is known about a running task. */
export function progressOf(progress) {
  if (progress?.stage !== "swapping") return "";
  const frames = progress.total
    ? `${progress.frames} of ${counted(progress.total, "frame")}`
    : counted(progress.frames, "frame");
  const rate = progress.rate && progress.total !== 1 ? `${progress.rate.toFixed(1)} a second` : "";
  const left = progress.eta != null && progress.total !== 1 ? `about ${duration(progress.eta)} left` : "";
  return listed(frames, rate, left);
}

/** How much of a running task is done. */
export const percentOf = (progress) =>
  progress?.stage === "swapping" && progress.total
    ? `${Math.floor((100 * progress.frames) / progress.total)} %`
    : "";

/** What came out. */
export function factsOf(task) {
  const { result, timings } = task;
  const seconds = Object.values(timings).reduce((sum, value) => sum + value, 0);
  const faces = counted(result.faces, "face");
  return listed(
    result.frames > 1 ? `${faces} in ${counted(result.frames, "frame")}` : faces,
    seconds ? `took ${duration(seconds)}` : "",
    bytes(result.bytes),
    task.expires_at ? `kept until ${moment(task.expires_at)}` : "",
  );
}

/** Parts in one line; a break comes after a dot, not before it. */
export const listed = (...parts) => parts.filter(Boolean).join("\u00a0· ");

export const counted = (number, thing) => `${number} ${thing}${number === 1 ? "" : "s"}`;

export function bytes(number) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  const power = number ? Math.min(Math.floor(Math.log10(number) / 3), units.length - 1) : 0;
  const value = number / 1000 ** power;
  return `${power && value < 10 ? value.toFixed(1) : Math.round(value)}\u00a0${units[power]}`;
}

const said = (...parts) =>
  parts.filter(([number]) => Number(number)).map(([number, unit]) => `${number}\u00a0${unit}`).join(" ") || "no time";

/** Seconds for people: `8 s`, `3 min 20 s`, `2 h 5 min`. */
export function duration(seconds) {
  if (seconds < 0.95) return said([seconds.toFixed(1), "s"]);
  const whole = Math.round(seconds);
  if (whole < 3600) return said([Math.floor(whole / 60), "min"], [whole % 60, "s"]);
  const minutes = Math.round(whole / 60);
  return said([Math.floor(minutes / 60), "h"], [minutes % 60, "min"]);
}

/** A moment in a film: `0:03`, `1:02:03.5`. */
export function clock(seconds, digits = 0) {
  const rounded = Number(seconds.toFixed(digits));
  const hours = Math.floor(rounded / 3600);
  const minutes = Math.floor(rounded / 60) % 60;
  const rest = (rounded % 60).toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

/** Seconds of what `clock` writes, or of plain seconds; NaN for anything else. */
export function secondsOf(text) {
  if (!/^(\d+:)?(\d+:)?\d+(\.\d+)?$/.test(text)) return NaN;
  return text.split(":").reduce((sum, part) => sum * 60 + Number(part), 0);
}

/** A date and time near now. */
export function moment(text) {
  const date = new Date(text);
  const sameDay = date.toDateString() === new Date().toDateString();
  const style = sameDay ? { timeStyle: "short" } : { dateStyle: "medium", timeStyle: "short" };
  return date.toLocaleString("en-GB", style);
}

/** How long ago, in the largest unit that fits. */
export function ago(text) {
  const seconds = (Date.now() - new Date(text)) / 1000;
  const format = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  if (seconds < 60) return "just now";
  if (seconds < 3600) return format.format(-Math.floor(seconds / 60), "minute");
  if (seconds < 86400) return format.format(-Math.floor(seconds / 3600), "hour");
  return format.format(-Math.floor(seconds / 86400), "day");
}

/** A message of the service with the files' own names instead of `source-1` and `target`. */
export function withNames(message, { sources, file }) {
  const source = (said, number) => sources[number - 1]?.name ?? said;
  return message.replaceAll(/\bsource-(\d+)/g, source).replaceAll(/(?<!\b(?:the|a) )\btarget\b/g, () => file.name);
}

/** A message of the service as a sentence. */
export function sentence(message) {
  const text = message.trim();
  const begun = /^[a-z]+[ ,']/.test(text) ? text[0].toUpperCase() + text.slice(1) : text;
  return /[.!?…]$/.test(begun) ? begun : `${begun}.`;
}
