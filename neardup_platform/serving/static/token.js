// The token of this browser tab: kept in sessionStorage, sent with every call, gone when the tab is closed.

const KEY = "neardup.token";

export const token = () => sessionStorage.getItem(KEY) ?? "";

export function keep(text) {
  if (text) sessionStorage.setItem(KEY, text);
  else sessionStorage.removeItem(KEY);
  window.dispatchEvent(new Event("neardup:token"));
}

export const withToken = (options = {}) =>
  token() ? { ...options, headers: { ...options.headers, Authorization: `Bearer ${token()}` } } : options;
