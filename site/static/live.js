// Puts the live page (live/index.html) where a place for it stands, <div class="live" data-view="sheet">,
// instead of the still picture before it. Without JavaScript the still picture stays.
"use strict";

const root = document.documentElement;

function putLive(place) {
  const frame = document.createElement("iframe"), output = place.previousElementSibling?.querySelector(".cell_output");
  const {view, layer, filter} = place.dataset, query = new URLSearchParams({view, theme: root.dataset.theme});
  if (layer) query.set("layer", layer);
  if (filter) query.set("filter", filter);
  if (output) query.set("still", output.querySelector("img").src); // for a browser that cannot compute it
  frame.title = place.dataset.title;
  frame.loading = "lazy";
  frame.addEventListener("load", () => passTheme(frame));
  frame.src = `${root.dataset.content_root}live/index.html?${query}`;
  place.replaceChildren(frame);
  output?.remove();
}

// A frame is as high as what is in it, and as light or dark as this page.
window.addEventListener("message", event => {
  for (const frame of document.querySelectorAll(".live iframe")) {
    if (event.source === frame.contentWindow && event.data.liveHeight > 0) frame.style.height = `${event.data.liveHeight}px`;
  }
});
function passTheme(frame) {
  frame.contentDocument.documentElement.dataset.theme = root.dataset.theme;
}
new MutationObserver(() => document.querySelectorAll(".live iframe").forEach(passTheme))
  .observe(root, {attributeFilter: ["data-theme"]});

document.querySelectorAll(".live").forEach(putLive);
