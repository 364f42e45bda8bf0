// One <img>: new bytes replace the picture, without a flash in between. No bytes, no <img>.
function render({ model, el }) {
  const img = document.createElement("img");
  img.className = "lab-picture";
  img.style.maxWidth = "100%";
  let shown = null;
  const draw = () => {
    if (!model.get("image").byteLength) return img.remove();
    el.appendChild(img);
    const url = URL.createObjectURL(new Blob([model.get("image")], { type: "image/png" }));
    const last = shown;
    img.onload = () => last && URL.revokeObjectURL(last);
    img.src = shown = url;
  };
  const describe = () => { img.alt = model.get("alt"); };
  model.on("change:image", draw);
  model.on("change:alt", describe);
  describe();
  draw();
  return () => {
    model.off("change:image", draw);
    model.off("change:alt", describe);
    URL.revokeObjectURL(shown);
  };
}

export default { render };
