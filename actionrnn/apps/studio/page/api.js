// The server's routes. Each request says who asks; what is refused comes back in one line.

import { address, addressWithToken, headers as access, noAnswer, problemOf, socketAddress, upload } from "./shared/server.js";

export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

export const randomId = (numBytes) => Array.from(crypto.getRandomValues(new Uint8Array(numBytes)), (byte) => byte.toString(16).padStart(2, "0")).join("");

// This tab's own, kept when it is reloaded, so that it keeps its locks.
function clientId() {
  let id = sessionStorage.getItem("client");
  if (!id) {
    id = randomId(8);
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

const refusal = (answer) => new ApiError(problemOf(answer), answer.status);

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
  if (!reply.ok) throw refusal({ status: reply.status, text: await reply.text() });
  return reply;
}

async function ask(method, path, body) {
  const reply = await request(method, path, body);
  const text = reply.status === 204 ? "" : await reply.text();
  return text ? JSON.parse(text) : null;
}

// A form with a file; `onProgress` hears 0 to 1 while it is sent. `signal` cancels it.
async function send(path, form, onProgress = () => {}, signal = undefined) {
  const answer = await upload(path, form, headersOf(), onProgress, signal);
  if (answer.status < 200 || answer.status >= 300) throw refusal(answer);
  return JSON.parse(answer.text);
}

export const api = {
  get: (path) => ask("GET", path),
  post: (path, body = {}) => ask("POST", path, body),
  put: (path, body) => ask("PUT", path, body),
  delete: (path) => ask("DELETE", path),
  upload: send,
  url: (path) => addressWithToken(path).href, // for `src` and `href`, which carry no headers
  socket: (path) => new WebSocket(socketAddress(path)),
};
