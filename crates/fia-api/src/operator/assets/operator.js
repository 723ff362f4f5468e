// Updates the page in place each second, and at once when the state changes, from the page itself. Without this script
// it is shown as of its loading.
"use strict";
(() => {
  const RETRY = 1000;
  const PAUSE = 100;
  let lastSeen = new Date();

  // Makes one node equal to another, and leaves alone what is equal: focus, selection and what is open stay.
  function morph(node, next) {
    if (node.isEqualNode(next)) return;
    if (node.nodeType !== next.nodeType || node.nodeName !== next.nodeName) {
      node.replaceWith(document.importNode(next, true));
      return;
    }
    if (node.nodeType !== Node.ELEMENT_NODE) {
      node.nodeValue = next.nodeValue;
      return;
    }
    const mayKeep = (name) => name === "open" && node.nodeName === "DETAILS";
    for (const { name } of [...node.attributes]) {
      if (!next.hasAttribute(name) && !mayKeep(name)) node.removeAttribute(name);
    }
    for (const { name, value } of next.attributes) {
      if (node.getAttribute(name) !== value) node.setAttribute(name, value);
    }
    const children = [...node.childNodes];
    const wanted = [...next.childNodes];
    wanted.forEach((child, index) => {
      if (index < children.length) morph(children[index], child);
      else node.appendChild(document.importNode(child, true));
    });
    for (const extra of children.slice(wanted.length)) extra.remove();
  }

  function apply(next) {
    document.title = next.title;
    document.body.dataset.level = next.body.dataset.level;
    document.body.dataset.state = next.body.dataset.state;
    for (const region of document.querySelectorAll("[data-live]")) {
      const found = next.querySelector(`[data-live="${region.dataset.live}"]`);
      // A choice that is being made is not taken away.
      if (found && !region.querySelector("select:focus")) morph(region, found);
    }
  }

  // The sentence must be true also when nobody replies.
  function lost() {
    if (document.body.dataset.level === "lost") return;
    document.body.dataset.level = "lost";
    document.body.dataset.state = "";
    const clock = lastSeen.toISOString().slice(11, 19);
    const text = `This replica has not replied since ${clock} UTC: what stands below is from then.`;
    const sentence = document.querySelector("h1 > span:last-child");
    if (sentence) sentence.textContent = text;
    const announcement = document.querySelector('[data-live="announcement"]');
    if (announcement) announcement.textContent = text;
  }

  async function update() {
    try {
      const response = await fetch(location.pathname + location.search, {
        // The server responds when the state is another one, or after a second.
        headers: { Accept: "text/html", "X-Shown-State": document.body.dataset.state },
        cache: "no-store",
        signal: AbortSignal.timeout(5000),
      });
      if (!response.ok) throw new Error(response.statusText);
      const text = await response.text();
      apply(new DOMParser().parseFromString(text, "text/html"));
      lastSeen = new Date();
      return PAUSE;
    } catch {
      lost();
      return RETRY;
    }
  }

  async function run() {
    for (;;) {
      const pause = document.hidden ? RETRY : await update();
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }

  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) update();
  });
  run();
})();
