// Frames are decoded once; the slider only swaps which <img> stands in the page.
function make(tag, className, parent, properties = {}) {
  const node = Object.assign(document.createElement(tag), properties);
  node.className = className;
  parent.appendChild(node);
  return node;
}

async function render({ model, el }) {
  const { alt, title, choose, scale, speed } = model.get("_options");
  const names = model.get("_names");
  const labels = model.get("_labels");
  const urls = [];
  const images = model.get("_frames").map((strip, row) => strip.map((bytes, index) => {
    const img = new Image();
    urls.push(img.src = URL.createObjectURL(new Blob([bytes], { type: "image/png" })));
    img.alt = `${alt} (${names[row] ? names[row] + ", " : ""}${labels[index]})`;
    img.className = "lab-filmstrip-frame";
    img.style.maxWidth = "100%";
    if (scale !== 1) {
      img.onload = () => { img.width = img.naturalWidth * scale; };
      img.style.imageRendering = "pixelated";
    }
    return img;
  }));

  if (title) make("div", "lab-filmstrip-title", el, { textContent: title }).style.fontWeight = "600";
  const bar = make("div", "lab-filmstrip-bar", el);
  bar.style.cssText = "display: flex; gap: 10px; align-items: center; margin: 4px 0; flex-wrap: wrap";
  const play = make("button", "lab-filmstrip-play", bar, { textContent: "▶" });
  play.style.width = "2.6em";
  const range = make("input", "lab-filmstrip", bar, {
    type: "range", min: 0, max: labels.length - 1, step: 1, value: model.get("index"),
  });
  range.style.width = "340px";
  range.setAttribute("aria-label", title || alt);
  const label = make("output", "lab-filmstrip-label", bar);
  label.style.minWidth = "7em";
  let menu = null;
  if (names.length > 1) {
    const field = make("label", "", bar, { textContent: choose ? choose + " " : "" });
    menu = make("select", "lab-filmstrip-choose", field);
    names.forEach((name, row) => make("option", "", menu, { textContent: name, value: row }));
    menu.value = model.get("row");
  }
  const stage = make("div", "lab-filmstrip-stage", el);

  const flip = () => {
    const index = +range.value;
    const row = menu ? +menu.value : 0;
    label.textContent = labels[index];
    range.setAttribute("aria-valuetext", labels[index]);
    stage.replaceChildren(images[row][index]);
  };
  // Python only hears where the strip rests, so dragging costs it nothing.
  let resting = null, telling = false;
  const tell = () => {
    clearTimeout(resting);
    resting = setTimeout(() => {
      telling = true; // or the first change would be heard, and put the menu back
      model.set("index", +range.value);
      if (menu) model.set("row", +menu.value);
      telling = false;
      model.save_changes();
    }, 300);
  };
  const moved = () => { flip(); tell(); };
  let timer = null;
  const stop = () => {
    clearInterval(timer);
    timer = null;
    play.textContent = "▶";
    play.setAttribute("aria-label", "Play");
  };
  play.addEventListener("click", () => {
    if (timer) return stop();
    if (+range.value === labels.length - 1) range.value = 0;
    play.textContent = "❚❚";
    play.setAttribute("aria-label", "Pause");
    timer = setInterval(() => {
      range.value = +range.value + 1;
      moved();
      if (+range.value === labels.length - 1) stop();
    }, 1000 / speed);
  });
  stop();
  range.addEventListener("input", () => { stop(); moved(); });
  if (menu) menu.addEventListener("change", moved);

  const heard = () => {
    if (telling) return;
    range.value = model.get("index");
    if (menu) menu.value = model.get("row");
    flip();
  };
  model.on("change:index", heard);
  model.on("change:row", heard);
  flip();
  await Promise.allSettled(images.flat().map((img) => img.decode()));
  el.dataset.ready = "true";
  return () => {
    stop();
    clearTimeout(resting);
    model.off("change:index", heard);
    model.off("change:row", heard);
    urls.forEach((url) => URL.revokeObjectURL(url));
  };
}

export default { render };
