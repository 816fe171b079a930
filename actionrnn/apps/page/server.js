// The server of this page: addresses, and the token that it asks for.

const token = new URLSearchParams(location.search).get("token");
export const headers = token ? { Authorization: "Bearer " + token } : {};

export function address(path) {
  const url = new URL(path, location.href);
  url.search = path.includes("?") ? path.slice(path.indexOf("?")) : "";
  return url;
}

export function socketAddress(path) {
  const url = address(path);
  url.protocol = url.protocol.replace("http", "ws");
  if (token) url.searchParams.set("token", token);
  return url;
}
