// Runs inside JupyterLab's page: finds what a lesson lets one move, moves it, and times the answer.
window.probe = (() => {
  const notebook = () => window.jupyterapp.shell.currentWidget.content;
  const node = (cell) => notebook().widgets[cell].node;
  const frame = () => new Promise(requestAnimationFrame);

  // What can be moved in a cell: sliders (of ipywidgets and of film strips), menus, boxes, lines
  // of text, quizzes.
  const KINDS = {
    slider: ".noUi-handle", filmstrip: "input.lab-filmstrip", menu: "select",
    box: "input[type=checkbox]", text: "input[type=text]", quiz: ".lab-quiz",
  };
  const all = (cell, kind) => [...node(cell).querySelectorAll(`.jp-OutputArea ${KINDS[kind]}`)];

  // The output that a control belongs to, and a signature of every picture and word in it.
  const outputOf = (control) => control.closest(".jp-OutputArea-child");
  const signature = (output) => {
    const images = [...output.querySelectorAll("img")];
    if (images.some((image) => !image.complete || !image.naturalWidth)) return null;
    return images.map((image) => image.src.slice(-300)).join(" ");
  };

  // The button of an output that is lit because a choice waits for it.
  const litButton = (output) => output.querySelector("button.mod-primary:not([disabled])");

  const moves = {
    slider(handle, forward) {
      const key = forward ? "ArrowRight" : "ArrowLeft";
      handle.focus({ preventScroll: true });
      handle.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
    },
    filmstrip(range, forward) {
      range.value = +range.value + (forward ? 1 : -1) * (+range.step || 1);
      range.dispatchEvent(new Event("input", { bubbles: true }));
    },
    menu(select) {
      select.selectedIndex = (select.selectedIndex + 1) % select.options.length;
      select.dispatchEvent(new Event("change", { bubbles: true }));
    },
    box(input) { input.click(); },
  };

  return {
    // One entry for each code cell: what the kernel answered, as JupyterLab keeps it.
    cells: () => [...notebook().model.cells].map((model, index) => ({
      index, type: model.type, source: model.sharedModel.source,
      count: model.type === "code" ? model.executionCount : null,
      outputs: model.type === "code" ? model.outputs.toJSON() : [],
    })),

    // Brings a cell to the top of the window, unless all of it is in sight already: then false.
    async top(cell) {
      const window = notebook().node.getBoundingClientRect();
      const before = node(cell).getBoundingClientRect();
      const inSight = node(cell).isConnected && before.height > 0
        && before.top >= window.top && before.bottom <= window.bottom;
      if (inSight && cell > 0) return false;
      await notebook().scrollToItem(cell, "start");
      node(cell).scrollIntoView({ block: "start" });
      await frame();
      return true;
    },

    // The lesson's text as JupyterLab shows it, for words such as "Error displaying widget".
    async show(cell) {
      await notebook().scrollToItem(cell, "start");
      await frame();
      const output = node(cell).querySelector(".jp-OutputArea");
      (output || node(cell)).scrollIntoView({ block: "center" });
      await frame();
      return output ? output.innerText : "";
    },

    controls: (cell) => Object.fromEntries(
      Object.keys(KINDS).map((kind) => [kind, all(cell, kind).length])),

    ready: (cell) => all(cell, "slider").concat(all(cell, "filmstrip"))
      .every((control) => signature(outputOf(control)) !== null),

    // Moves one control and answers with the milliseconds to the next picture, or null for none:
    // within the limit, or within a second if the output asks for a button to be pressed.
    async move(cell, kind, index, forward, limit) {
      const control = all(cell, kind)[index], output = outputOf(control);
      const before = signature(output), start = performance.now();
      moves[kind](control, forward);
      while (performance.now() - start < limit) {
        await frame();
        const now = signature(output);
        if (now !== null && now !== before) return performance.now() - start;
        if (performance.now() - start > 1000 && litButton(output)) return null;
      }
      return null;
    },

    // The name of the button that a control waits for, or null.
    lit(cell, kind, index) {
      const button = litButton(outputOf(all(cell, kind)[index]));
      return button && button.innerText.trim();
    },

    // Presses that button; answers with the milliseconds to the first new picture and to the end of
    // the work, when the button is no longer locked; null for what does not come.
    async press(cell, kind, index, limit) {
      const output = outputOf(all(cell, kind)[index]), button = litButton(output);
      const before = signature(output), start = performance.now();
      const past = () => performance.now() - start;
      let first = null, locked = false, done = null;
      button.click();
      while (past() < limit && (done === null || (first === null && past() < done + 15000))) {
        await frame();
        const now = signature(output);
        if (first === null && now !== null && now !== before) first = past();
        locked ||= button.disabled;
        const ended = locked || !button.classList.contains("mod-primary");
        if (done === null && ended && !button.disabled) done = past();
      }
      return [first, done];
    },

    // Types words into a line of text and presses the button that this lights, if it does; answers
    // with all words of the output when it has come to rest again, or null if nothing changed. What
    // stood there before is put back.
    async type(cell, index, words, limit) {
      const input = all(cell, "text")[index], output = outputOf(input), old = input.value;
      const look = () => output.innerText + signature(output);
      const enter = (text) => {
        input.value = text;
        for (const kind of ["input", "change"]) {
          input.dispatchEvent(new Event(kind, { bubbles: true }));
        }
      };
      const before = look(), start = performance.now();
      let pressed = null, last = before, since = start;
      enter(words);
      // Rest, for a second and a half, is the end of whatever the words set going in five.
      const busy = () => pressed?.disabled
        || performance.now() - since < (last === before ? 5000 : 1500);
      while (busy() && performance.now() - start < limit) {
        await frame();
        if (!pressed && (pressed = litButton(output))) pressed.click();
        if (look() !== last) { last = look(); since = performance.now(); }
      }
      const answer = last === before ? null : output.innerText;
      enter(old);
      // Until that is answered, the next line of text would begin from the answer to this one.
      const restored = performance.now();
      while (look() === last && performance.now() - restored < 3000) await frame();
      return answer;
    },

    // Where the mouse takes hold of a slider, and the track along which it may drag.
    handle(cell, kind, index) {
      const control = all(cell, kind)[index];
      const track = kind === "slider" ? control.closest(".noUi-target") : control;
      const box = (element) => { const r = element.getBoundingClientRect();
        return { x: r.x, y: r.y, width: r.width, height: r.height }; };
      const handle = box(control);
      if (kind === "filmstrip") { // the browser's own slider: its handle is 16 pixels wide
        const share = (control.value - control.min) / (control.max - control.min || 1);
        handle.x += share * (handle.width - 16);
        handle.width = 16;
      }
      return { handle, track: box(track) };
    },

    // Counts the distinct pictures that are seen while something else drags.
    watch(cell, kind, index, milliseconds) {
      const output = outputOf(all(cell, kind)[index]), seen = new Set();
      const start = performance.now();
      window.probe.seen = (async () => {
        while (performance.now() - start < milliseconds) {
          const now = signature(output);
          if (now !== null) seen.add(now);
          await frame();
        }
        return seen.size;
      })();
    },

    // Chooses each option of a quiz in turn; answers with the words that each one earned.
    async answerQuiz(cell, index, limit) {
      const quiz = all(cell, "quiz")[index], said = [];
      for (const option of quiz.querySelectorAll("input[type=radio]")) {
        const before = quiz.innerText, start = performance.now();
        option.click();
        while (quiz.innerText === before && performance.now() - start < limit) await frame();
        said.push(quiz.innerText === before ? null : quiz.querySelector("[role=status]").innerText);
      }
      return said;
    },
  };
})();
