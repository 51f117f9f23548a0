// Reads the tables of an open page again, and puts those that changed in the place of what is shown.
// Without it the page is as it was loaded; its link "Reload" does the same.
"use strict";

(() => {
  const live = document.getElementById("live");
  const shown = document.getElementById("shown");
  if (!live || !shown) return;
  const every = Number(live.dataset.seconds) * 1000;
  const slowest = 30000;
  let pause = every;
  let isPaused = false;
  let timer = 0;

  const word = document.createElement("span");
  const button = document.createElement("button");
  button.type = "button";
  button.className = "plain";
  live.append(word, " ", button);
  live.hidden = false;

  function say(state, text) {
    live.dataset.state = state;
    word.textContent = text;
    button.textContent = isPaused ? "Go on" : "Pause";
  }

  // Whoever stands in a part by the keyboard stays where they were, or at the part.
  function put(old, fresh) {
    const within = old.contains(document.activeElement) ? document.activeElement : null;
    const links = within ? [...old.querySelectorAll("a, button, [tabindex]")].indexOf(within) : -1;
    const scrolled = old.querySelector(".scroll");
    const left = scrolled ? scrolled.scrollLeft : 0;
    old.replaceWith(fresh);
    const scroll = fresh.querySelector(".scroll");
    if (scroll) scroll.scrollLeft = left;
    if (links >= 0) {
      const again = fresh.querySelectorAll("a, button, [tabindex]")[links];
      if (again) again.focus({ preventScroll: true });
    }
  }

  function take(text) {
    const read = new DOMParser().parseFromString(text, "text/html");
    const parts = [...read.querySelectorAll("[data-part]")];
    const ids = new Set(parts.map((part) => part.id));
    for (const old of shown.querySelectorAll("[data-part]")) if (!ids.has(old.id)) old.remove();
    parts.forEach((part, at) => {
      const old = document.getElementById(part.id);
      if (!old) shown.insertBefore(part, shown.children[at] || null);
      else if (old.outerHTML !== part.outerHTML) put(old, part);
    });
    for (const id of ["as-of", "revision"]) {
      const mine = document.getElementById(id);
      const told = read.querySelector(`[data-for="${id}"]`);
      if (mine && told) mine.textContent = told.textContent;
    }
  }

  async function look() {
    try {
      const answer = await fetch(live.dataset.url, { cache: "no-store", redirect: "error" });
      if (answer.status === 401 || answer.status === 403) {
        location.reload();
        return;
      }
      if (!answer.ok) throw new Error(String(answer.status));
      take(await answer.text());
      pause = every;
      say("live", "Live");
    } catch {
      pause = Math.min(pause * 2, slowest);
      say("late", "Not live: the server does not answer");
    }
    await_next();
  }

  function await_next() {
    clearTimeout(timer);
    if (!isPaused && !document.hidden) timer = setTimeout(look, pause);
  }

  button.addEventListener("click", () => {
    isPaused = !isPaused;
    say(isPaused ? "paused" : "live", isPaused ? "Paused" : "Live");
    await_next();
  });
  document.addEventListener("visibilitychange", await_next);
  say("live", "Live");
  await_next();
})();
