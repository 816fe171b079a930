// The server's routes. Each request says who asks; what is refused comes back in one line.

import { address, headers as access, socketAddress } from "./shared/server.js";

const noAnswer = "The server does not answer; is it still running?";

export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

// This tab's own, kept when it is reloaded, so that it keeps its locks.
function clientId() {
  let id = sessionStorage.getItem("client");
  if (!id) {
    id = Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");
    sessionStorage.setItem("client", id);
  }
  return id;
}

const client = clientId();

const headersOf = () => ({
  ...access,
  "X-Annotator": encodeURIComponent(localStorage.getItem("annotator") ?? ""),
  "X-Client": client,
});

function problemOf(status, text) {
  try {
    return new ApiError(JSON.parse(text).error, status);
  } catch {
    return new ApiError(`The server answers ${status}`, status);
  }
}

export async function request(method, path, body, signal) {
  const headers = headersOf();
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let reply;
  try {
    reply = await fetch(address(path), { method, headers, body: body === undefined ? undefined : JSON.stringify(body), signal, keepalive: method === "DELETE" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(noAnswer, 0);
  }
  if (!reply.ok) throw problemOf(reply.status, await reply.text());
  return reply;
}

async function ask(method, path, body) {
  const reply = await request(method, path, body);
  const text = reply.status === 204 ? "" : await reply.text();
  return text ? JSON.parse(text) : null;
}

// A form with a file; `onProgress` hears 0 to 1 while it is sent. `signal` cancels it.
function upload(path, form, onProgress = () => {}, signal = undefined) {
  return new Promise((resolve, reject) => {
    const mine = new XMLHttpRequest();
    mine.upload.onprogress = (event) => { if (event.total) onProgress(event.loaded / event.total); };
    mine.onload = () => (mine.status < 300 ? resolve(JSON.parse(mine.responseText)) : reject(problemOf(mine.status, mine.responseText)));
    mine.onerror = () => reject(new ApiError(noAnswer, 0));
    mine.onabort = () => reject(new ApiError("cancelled", 0));
    signal?.addEventListener("abort", () => mine.abort());
    mine.open("POST", address(path));
    for (const [name, value] of Object.entries(headersOf())) mine.setRequestHeader(name, value);
    mine.send(form);
  });
}

// For `src` and `href`, which carry no headers.
function url(path) {
  const found = address(path), token = new URLSearchParams(location.search).get("token");
  if (token) found.searchParams.set("token", token);
  return found.href;
}

export const api = {
  get: (path) => ask("GET", path),
  post: (path, body = {}) => ask("POST", path, body),
  put: (path, body) => ask("PUT", path, body),
  delete: (path) => ask("DELETE", path),
  upload,
  url,
  socket: (path) => new WebSocket(socketAddress(path)),
};
