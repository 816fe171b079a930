// The server of this page: its addresses, the token that it asks for, and files that are sent to it.

const token = new URLSearchParams(location.search).get("token");
export const headers = token ? { Authorization: "Bearer " + token } : {};
export const noAnswer = "The server does not answer; is it still running?";

export function address(path) {
  const url = new URL(path, location.href);
  url.search = path.includes("?") ? path.slice(path.indexOf("?")) : "";
  return url;
}

// For what carries no headers: `src`, `href`, sockets.
export function addressWithToken(path) {
  const url = address(path);
  if (token) url.searchParams.set("token", token);
  return url;
}

export function socketAddress(path) {
  const url = addressWithToken(path);
  url.protocol = url.protocol.replace("http", "ws");
  return url;
}

// Why the server would not take a file, in one line; "" if it may. limits: of the server, if known.
export function sizeProblem(file, limits) {
  if (!limits || file.size <= limits.upload_mb * 1e6) return "";
  return `${file.name}: has ${Math.round(file.size / 1e6)} MB; this server takes up to ${limits.upload_mb} MB. Cut or convert it.`;
}

// Sends a form; `onProgress` hears 0 to 1 meanwhile, `signal` cancels it. Gives the `status` and
// `text` of the answer; status 0: none came.
export function upload(path, form, fields, onProgress, signal) {
  return new Promise((resolve) => {
    const mine = new XMLHttpRequest();
    mine.upload.onprogress = ({ loaded, total }) => { if (total) onProgress(loaded / total); };
    mine.upload.onload = () => onProgress(1);
    mine.onloadend = () => resolve({ status: mine.status, text: mine.responseText });
    signal?.addEventListener("abort", () => mine.abort());
    mine.open("POST", address(path));
    for (const [name, value] of Object.entries(fields)) mine.setRequestHeader(name, value);
    mine.send(form);
  });
}

// What the server says of a request that it refused, in one line.
export function problemOf({ status, text }) {
  if (!status) return noAnswer;
  try { return JSON.parse(text).error; } catch { return `The server answers ${status}`; }
}
