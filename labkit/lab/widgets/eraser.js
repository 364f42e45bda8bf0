// A picture, and a rectangle over it that is drawn with the pointer, or moved with the arrow keys
// (with Shift: made larger or smaller). Python hears of it when the pointer, or the key, is let go.
const WIDTH = 192; // of the picture on the screen

function address(view) {
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  return "data:image/png;base64," + btoa(String.fromCharCode(...bytes));
}

function render({ model, el }) {
  const stage = document.createElement("div");
  stage.className = "lab-eraser";
  stage.tabIndex = 0;
  stage.setAttribute("role", "application");
  stage.style.cssText = `position: relative; width: ${WIDTH}px; height: ${WIDTH}px; margin: 4px 0;`
    + " touch-action: none; user-select: none; cursor: crosshair";
  const img = document.createElement("img");
  img.className = "lab-picture";
  img.draggable = false;
  img.style.cssText = `width: ${WIDTH}px; height: ${WIDTH}px; image-rendering: pixelated`;
  const hole = document.createElement("div");
  hole.style.cssText = "position: absolute; box-sizing: border-box; pointer-events: none;"
    + " border: 2px dashed #000; outline: 1px solid #fff; background: rgba(255, 255, 255, 0.75)";
  stage.append(img, hole);
  el.appendChild(stage);

  const side = () => model.get("side");
  let box = [...model.get("box")]; // left, top, right, bottom; the last two are not in it
  const draw = () => {
    const [left, top, right, bottom] = box.map((each) => each * WIDTH / side());
    Object.assign(hole.style, {
      left: `${left}px`, top: `${top}px`, width: `${right - left}px`, height: `${bottom - top}px`,
    });
    stage.setAttribute("aria-label", `${model.get("alt")}; erased: columns ${box[0]} to `
      + `${box[2] - 1}, rows ${box[1]} to ${box[3] - 1}. Arrow keys move it, with Shift they `
      + "change its size.");
  };
  const show = () => {
    img.src = address(model.get("image"));
    img.alt = model.get("alt");
    draw();
  };
  const tell = () => {
    model.set("box", [...box]);
    model.save_changes();
  };

  const pixel = (event) => {
    const frame = stage.getBoundingClientRect();
    return [event.clientX - frame.left, event.clientY - frame.top]
      .map((at) => Math.min(side() - 1, Math.max(0, Math.floor(at / WIDTH * side()))));
  };
  let start = null;
  stage.addEventListener("pointerdown", (event) => {
    start = pixel(event);
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    if (!start) return;
    const now = pixel(event);
    box = [0, 1].map((k) => Math.min(start[k], now[k]))
      .concat([0, 1].map((k) => Math.max(start[k], now[k]) + 1));
    draw();
  });
  const end = () => {
    if (start) tell();
    start = null;
  };
  stage.addEventListener("pointerup", end);
  stage.addEventListener("pointercancel", end);

  const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  stage.addEventListener("keydown", (event) => {
    const way = ways[event.key];
    if (!way) return;
    event.preventDefault();
    const moved = box.map((at, k) => at + (event.shiftKey && k < 2 ? 0 : way[k % 2]));
    const inside = moved[0] >= 0 && moved[1] >= 0 && moved[2] <= side() && moved[3] <= side();
    if (!inside || moved[2] <= moved[0] || moved[3] <= moved[1]) return;
    box = moved;
    draw();
  });
  stage.addEventListener("keyup", (event) => { if (ways[event.key]) tell(); });

  const heard = () => {
    box = [...model.get("box")];
    draw();
  };
  model.on("change:image", show);
  model.on("change:alt", show);
  model.on("change:box", heard);
  show();
  return () => {
    model.off("change:image", show);
    model.off("change:alt", show);
    model.off("change:box", heard);
  };
}

export default { render };
