// Puts the live page (live/index.html) where a place for it stands, <div class="live" data-view="sheet">,
// instead of the still picture before it. Without JavaScript, or without SIMD, the still picture stays.
"use strict";

// A module of one function that uses a vector instruction: valid only where SIMD is known.
const SIMD = WebAssembly.validate(new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11,
]));
const root = document.documentElement;

function putLive(place) {
  const frame = document.createElement("iframe");
  frame.title = place.dataset.title;
  frame.loading = "lazy";
  frame.src = `${root.dataset.content_root}live/index.html?view=${place.dataset.view}`;
  frame.addEventListener("load", () => passTheme(frame));
  place.replaceChildren(frame);
  place.previousElementSibling?.querySelector(".cell_output")?.remove();
}

// The frame is as high as what is in it, and as light or dark as this page.
function passTheme(frame) {
  frame.style.colorScheme = root.dataset.theme;
  if (frame.contentDocument) frame.contentDocument.documentElement.dataset.theme = root.dataset.theme;
}
window.addEventListener("message", event => {
  for (const frame of document.querySelectorAll(".live iframe")) {
    if (event.source === frame.contentWindow && event.data.liveHeight > 0) frame.style.height = `${event.data.liveHeight}px`;
  }
});

if (SIMD) document.querySelectorAll(".live").forEach(putLive);
new MutationObserver(() => document.querySelectorAll(".live iframe").forEach(passTheme))
  .observe(root, {attributeFilter: ["data-theme"]});
