// What is wider than its place scrolls there, and the keyboard must reach it.

const BLOCKS = ".equation, .scrolls, .bd-article pre, .pst-scrollable-table-container";

function reachable(element) {
  const scrolls = element.scrollWidth > element.clientWidth + 1;
  if (scrolls) element.tabIndex = 0;
  else element.removeAttribute("tabindex");
}

function mark() {
  for (const formula of document.querySelectorAll(".formula")) {
    formula.classList.remove("long");
    const room = formula.parentElement.clientWidth;
    const long = room > 0 && formula.getBoundingClientRect().width > room;
    formula.classList.toggle("long", long);
    if (long) formula.tabIndex = 0;
    else formula.removeAttribute("tabindex");
  }
  document.querySelectorAll(BLOCKS).forEach(reachable);
}

// The theme's arrow beside a page that has others below it has no name.
for (const arrow of document.querySelectorAll(".bd-sidebar-primary summary")) {
  const page = arrow.closest("li")?.querySelector("a");
  if (page) arrow.setAttribute("aria-label", `Pages of ${page.textContent.trim()}`);
}

mark();
window.addEventListener("load", mark);
window.addEventListener("resize", mark);
document.addEventListener("toggle", mark, true); // what was folded has a width only now
