// A sentence whose words can be pointed at: the one under the mouse, or with the focus, is chosen.
function render({ model, el }) {
  const line = document.createElement("div");
  line.className = "lab-words";
  line.style.cssText = "display: flex; flex-wrap: wrap; gap: 2px; margin: 6px 0; max-width: 780px";
  line.setAttribute("role", "group");
  line.setAttribute("aria-label", "words");
  el.appendChild(line);

  const mark = () => [...line.children].forEach((word, place) => {
    const chosen = place === model.get("chosen");
    word.style.background = chosen ? "#D55E00" : "transparent";
    word.style.color = chosen ? "white" : "inherit";
    word.setAttribute("aria-pressed", chosen);
  });
  const choose = (place) => {
    if (place === model.get("chosen")) return;
    model.set("chosen", place);
    model.save_changes();
  };
  const write = () => {
    line.replaceChildren(...model.get("words").map((text, place) => {
      const word = document.createElement("button");
      word.textContent = text;
      word.className = "lab-word";
      word.style.cssText = "border: none; border-radius: 4px; padding: 3px 6px; font-size: 15px; "
        + "cursor: pointer; background: transparent";
      word.addEventListener("pointerenter", () => choose(place));
      word.addEventListener("focus", () => choose(place));
      return word;
    }));
    mark();
  };
  model.on("change:words", write);
  model.on("change:chosen", mark);
  write();
  return () => {
    model.off("change:words", write);
    model.off("change:chosen", mark);
  };
}

export default { render };
