/** The HTTP API: with the key where one is wanted, every failure as one sentence. */

import { askForKey, currentKey } from "./key.js";
import { duration, isOver, sentence } from "./words.js";

const SENTENCES = {
  0: "The service cannot be reached.",
  401: "The service asks for an API key.",
  404: "This task is no longer there.",
  413: "This is larger than the service takes.",
  429: "The service is busy.",
  507: "The service has no room left at the moment. Try again later.",
};

/** A request that failed; `message` is a sentence for people. */
export class Failure extends Error {
  constructor(status, error = null, retryAfter = null) {
    const wait = status === 429 && retryAfter ? ` Try again in ${duration(retryAfter)}.` : "";
    const said = error?.message ? sentence(error.message) : SENTENCES[status];
    super((said ?? `The service answered with the status ${status}.`) + wait);
    this.status = status;
    this.code = error?.code ?? null;
    /** The service's own words. */
    this.said = error?.message ?? "";
    this.retryAfter = retryAfter;
  }
}

const headers = (key) => (key ? { Authorization: `Bearer ${key}` } : {});

function failureOf(status, body, retryAfter) {
  let error = null;
  try {
    ({ error } = JSON.parse(body));
  } catch {
    // Not the service's own answer but that of something before it: the status has to do.
  }
  return new Failure(status, error, Number(retryAfter) || null);
}

/** Sends, and sends again with another key as long as there is one. */
async function withKey(send) {
  for (;;) {
    const key = currentKey();
    const answer = await send(key);
    if (answer.status !== 401) return answer;
    if (!(await askForKey(key))) throw new Failure(401);
  }
}

async function get(path, { method = "GET", signal } = {}) {
  const response = await withKey(async (key) => {
    try {
      return await fetch(path, { method, signal, headers: headers(key), cache: "no-store" });
    } catch (error) {
      throw error.name === "AbortError" ? error : new Failure(0);
    }
  });
  if (!response.ok) {
    throw failureOf(response.status, await response.text(), response.headers.get("Retry-After"));
  }
  return response;
}

const json = async (path) => (await get(path)).json();

/** Sends a form and tells how much of it is sent, from 0 to 1. */
async function post(path, form, { onSent = () => {}, signal } = {}) {
  const answer = await withKey((key) => new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    for (const [name, value] of Object.entries(headers(key))) request.setRequestHeader(name, value);
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) onSent(event.loaded / event.total);
    });
    request.addEventListener("load", () => resolve(request));
    request.addEventListener("error", () => reject(new Failure(0)));
    request.addEventListener("abort", () => reject(new DOMException("Cancelled", "AbortError")));
    signal?.addEventListener("abort", () => request.abort());
    if (signal?.aborted) reject(new DOMException("Cancelled", "AbortError"));
    else request.send(form);
  }));
  if (answer.status < 200 || answer.status > 299) {
    throw failureOf(answer.status, answer.responseText, answer.getResponseHeader("Retry-After"));
  }
  return JSON.parse(answer.responseText);
}

export const limits = () => json("v1/limits");
export const models = async () => (await json("v1/models")).models;
export const task = (id) => json(`v1/tasks/${encodeURIComponent(id)}`);
export const remove = (id) => get(`v1/tasks/${encodeURIComponent(id)}`, { method: "DELETE" });
export const create = (form, sending) => post("v1/tasks", form, sending);

export function tasks({ limit, before = null }) {
  const query = new URLSearchParams({ limit, ...(before && { before }) });
  return json(`v1/tasks?${query}`);
}

/** Faces of a picture, or of a film's frame at `time` seconds. */
export function faces(picture, { time = 0, ...sending } = {}) {
  const form = new FormData();
  form.append("picture", picture, picture.name ?? "picture.jpg");
  if (time) form.append("time", String(time));
  return post("v1/faces", form, sending);
}

/**
 * A link that the service gave, as one of the address this page came from: behind a proxy they may differ,
 * and the page opens no other.
 */
export function own(link, query = {}) {
  const { pathname, search } = new URL(link, document.baseURI);
  const url = new URL(pathname.slice(pathname.indexOf("/v1/") + 1) + search, document.baseURI);
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  return url.href;
}

/** The task after every change, up to its end; a lost connection is taken up again. */
export async function* follow(id, signal) {
  let wait = 1;
  for (;;) {
    try {
      const response = await get(`v1/tasks/${encodeURIComponent(id)}/events`, { signal });
      for await (const changed of eventsOf(response.body)) {
        wait = 1;
        yield changed;
        if (isOver(changed)) return;
      }
    } catch (error) {
      const passing = !(error instanceof Failure) || [0, 429, 502, 503, 504].includes(error.status);
      if (signal.aborted || !passing) throw error;
      wait = Math.max(wait, error.retryAfter ?? 0);
    }
    await new Promise((resolve) => setTimeout(resolve, wait * 1000));
    if (signal.aborted) return;
    wait = Math.min(wait * 2, 15);
  }
}

/** Events of a stream as its JSON; EventSource itself could not send the key. */
async function* eventsOf(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      text += value.replaceAll("\r", "");
      const blocks = text.split("\n\n");
      text = blocks.pop();
      for (const block of blocks) {
        const data = block.split("\n").filter((line) => line.startsWith("data:"));
        if (data.length) yield JSON.parse(data.map((line) => line.slice(5)).join("\n"));
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
