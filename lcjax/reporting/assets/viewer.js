"use strict";
/* Pictures of one ground, side by side or under a swipe: moved and enlarged together, by hand, wheel, fingers or keys.

   A layer is an object with a `key`, a `name`, `paint(context, view)`, which draws what `view` shows of it, and perhaps
   `group`. Coordinates of the ground are columns and rows of its pixels. */

/** Makes an element: `make("p", {className: "x"}, "text", child)`. */
function make(tag, fields, ...children) {
  const element = Object.assign(document.createElement(tag), fields);
  element.append(...children);
  return element;
}

/** Draws an image over columns x to x + width and rows y to y + height of the ground, on whole pixels of the canvas;
    `smooth` where it is shrunk: of photographs, never of classes, whose mixed colours would be other classes. */
function place(context, view, image, x, y, width, height, smooth = false) {
  context.imageSmoothingEnabled = smooth && view.scale < 1;
  const [left, right] = [x, x + width].map((column) => Math.round((column - view.x) * view.scale));
  const [top, bottom] = [y, y + height].map((row) => Math.round((row - view.y) * view.scale));
  context.drawImage(image, left, top, right - left, bottom - top);
}

/** Colours for ids: (256,) as canvases have their pixels; what is switched off, or has no class, is clear. */
function palette(classes, off) {
  const colours = new Uint32Array(256);
  const bytes = new Uint8Array(colours.buffer);
  for (const { id, colour } of classes) {
    if (off.has(id)) continue;
    const value = parseInt(colour.slice(1), 16);
    bytes.set([value >> 16, (value >> 8) & 255, value & 255, 255], 4 * id);
  }
  return colours;
}

/** A canvas on which each pixel has the colour of its number: `numbers` (height * width) into `colours` (256,). */
function coloured(numbers, width, height, colours) {
  const canvas = make("canvas", { width, height });
  const image = new ImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < pixels.length; i++) pixels[i] = colours[numbers[i]];
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

const VIRIDIS = ["#440154", "#3b528b", "#21918c", "#5ec962", "#fde725"];

/** What the colours of `ramp` say. */
function rampKey(words) {
  const bar = make("span", { className: "ramp" });
  bar.style.background = `linear-gradient(90deg, ${VIRIDIS.join(", ")})`;
  return make("span", { className: "soft" }, `${words} 0 `, bar, " 1");
}

/** Colours of shares from 0 to 1: (256,) for numbers of which `scale` stands for 1; what lies above is clear. */
function ramp(scale) {
  const stops = VIRIDIS.map((colour) => parseInt(colour.slice(1), 16));
  const colours = new Uint32Array(256);
  const bytes = new Uint8Array(colours.buffer);
  for (let i = 0; i <= scale; i++) {
    const at = Math.min((i / scale) * 4, 3.9999);
    const [a, b] = [stops[Math.floor(at)], stops[Math.floor(at) + 1]];
    [16, 8, 0].forEach((shift, band) => {
      const [low, high] = [(a >> shift) & 255, (b >> shift) & 255];
      bytes[4 * i + band] = Math.round(low + (at % 1) * (high - low));
    });
    bytes[4 * i + 3] = 255;
  }
  return colours;
}

/** Switches for classes: a set of those that are off, and what to do when it changes. */
class Legend {
  constructor(classes, changed, more = []) {
    this.off = new Set();
    this.boxes = classes.map(({ id, name, colour, note }) => {
      const box = make("input", { type: "checkbox", checked: true });
      const swatch = make("span", { className: "swatch" });
      swatch.style.background = colour;
      box.addEventListener("change", () => {
        this.off[box.checked ? "delete" : "add"](id);
        changed();
      });
      return { id, box, label: make("label", {}, box, swatch, name, make("span", { className: "soft" }, note || "")) };
    });
    const all = (checked) => {
      for (const { id, box } of this.boxes) {
        box.checked = checked;
        this.off[checked ? "delete" : "add"](id);
      }
      changed();
    };
    const buttons = [["All", true], ["None", false]].map(([words, checked]) => {
      const button = make("button", { type: "button" }, words);
      button.addEventListener("click", () => all(checked));
      return button;
    });
    this.element = make("fieldset", { className: "legend" }, make("legend", {}, "Classes"),
      ...this.boxes.map(({ label }) => label), make("span", { className: "all" }, ...buttons), ...more);
  }
}

class Viewer {
  /**
   * @param root element to fill
   * @param options width, height: of the ground, in pixels; layers; side: keys of those to show side by side; swipe: keys
   *   of the two under the swipe; swiped: whether to begin so; describe(x, y): what to say of a place; title; file: name
   *   of the picture to save; legend: classes for that picture; wheel: whether the wheel enlarges at once.
   */
  constructor(root, options) {
    Object.assign(this, { split: 0.5, at: null }, options);
    this.centre = [this.width / 2, this.height / 2];
    this.zoom = 1;
    this.pointers = new Map();
    this.stage = make("div", { className: "stage", tabIndex: 0 });
    this.stage.setAttribute("role", "group");
    this.stage.setAttribute("aria-label",
      `${this.title}: arrow keys move, + and − enlarge and shrink, 0 shows all; the line below tells the middle`);
    this.readout = make("p", { className: "readout" });
    this.tools = make("div", { className: "tools" });
    this.resized = new ResizeObserver(() => this.draw());
    this.addTools();
    root.classList.add("viewer");
    root.append(this.tools, this.stage, this.readout);
    this.stage.addEventListener("keydown", (event) => this.key(event));
    this.lay();
  }

  button(words, label, act) {
    const button = make("button", { type: "button" }, words);
    if (label) button.setAttribute("aria-label", label);
    button.addEventListener("click", act);
    return button;
  }

  addTools() {
    this.modes = [["Side by side", false], ["Swipe", true]].map(([words, swiped]) =>
      [this.button(words, "", () => { this.swiped = swiped; this.lay(); }), swiped]);
    this.selects = ["left", "right"].map((name, index) => {
      const select = make("select", {});
      select.addEventListener("change", () => { this.swipe[index] = select.value; this.lay(); });
      return make("label", {}, name, select);
    });
    this.tools.append(
      ...this.modes.map(([button]) => button), ...this.selects,
      this.button("+", "Enlarge", () => this.enlarge(1.5)), this.button("−", "Shrink", () => this.enlarge(1 / 1.5)),
      this.button("Show all", "", () => this.showAll()), this.button("Save PNG", "", () => this.save()));
  }

  /** Notes that something that is shown is on its way (1), or has come (-1). */
  awaits(change) {
    this.awaited = (this.awaited || 0) + change;
    this.stage.setAttribute("aria-busy", String(this.awaited > 0));
    if (change < 0) this.draw();
  }

  /** Takes other layers; those that are shown keep their keys. */
  setLayers(layers, side) {
    Object.assign(this, { layers, side });
    this.lay();
  }

  layer(key) {
    return this.layers.find((layer) => layer.key === key) || this.layers[0];
  }

  /** Lays out the panes of the mode. */
  lay() {
    for (const [button, swiped] of this.modes) button.setAttribute("aria-pressed", String(swiped === this.swiped));
    this.selects.forEach((label, index) => {
      const select = label.querySelector("select");
      const groups = new Map();
      for (const layer of this.layers) {
        const group = layer.group || "";
        groups.set(group, [...(groups.get(group) || []), make("option", { value: layer.key }, layer.name)]);
      }
      select.replaceChildren(...[...groups].flatMap(([group, options]) =>
        group ? [make("optgroup", { label: group }, ...options)] : options));
      this.swipe[index] = this.layer(this.swipe[index]).key;
      select.value = this.swipe[index];
      label.hidden = !this.swiped;
      label.style.display = this.swiped ? "" : "none";
    });
    this.resized.disconnect();
    const shown = this.swiped ? [this.swipe] : this.side.map((key) => [key]);
    this.panes = shown.map((keys) => this.pane(keys.map((key) => this.layer(key))));
    this.stage.classList.toggle("swiped", this.swiped);
    this.stage.replaceChildren(...this.panes.map(({ figure }) => figure));
    for (const { sight } of this.panes) this.resized.observe(sight);
    this.draw();
  }

  pane(layers) {
    const canvas = make("canvas", {});
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${layers.map((layer) => this.named(layer)).join(" and ")}: ${this.title}`);
    const sight = make("div", { className: "sight" }, canvas);
    if (!this.fills) sight.style.aspectRatio = `${this.width} / ${this.height}`;
    const caption = make("figcaption", {}, ...layers.map((layer) =>
      make("span", { title: this.named(layer) }, this.named(layer))));
    const pane = { canvas, sight, layers, figure: make("figure", { className: "pane" }, caption, sight) };
    if (layers.length > 1) sight.append((pane.divider = this.divider(sight)));
    canvas.addEventListener("pointerdown", (event) => this.press(event, pane));
    canvas.addEventListener("pointermove", (event) => this.move(event, pane));
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, (event) => this.pointers.delete(event.pointerId));
    }
    canvas.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && this.tell(null));
    canvas.addEventListener("wheel", (event) => this.roll(event, pane), { passive: false });
    return pane;
  }

  named(layer) {
    return layer.group ? `${layer.group}: ${layer.name}` : layer.name;
  }

  divider(sight) {
    const divider = make("div", { className: "divider", tabIndex: 0 });
    const attributes = { role: "slider", "aria-label": "Swipe", "aria-valuemin": 0, "aria-valuemax": 100 };
    for (const [name, value] of Object.entries(attributes)) divider.setAttribute(name, value);
    const to = (split) => {
      this.split = Math.min(Math.max(split, 0), 1);
      this.draw();
    };
    divider.addEventListener("pointerdown", (event) => {
      divider.setPointerCapture(event.pointerId);
      event.stopPropagation();
    });
    divider.addEventListener("pointermove", (event) => {
      const box = sight.getBoundingClientRect();
      if (divider.hasPointerCapture(event.pointerId)) to((event.clientX - box.left) / box.width);
    });
    divider.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -0.02, ArrowRight: 0.02, Home: -1, End: 1 }[event.key];
      if (!step) return;
      to(this.split + step);
      event.preventDefault();
      event.stopPropagation();
    });
    return divider;
  }

  /** What a pane shows: column and row at its left top, and pixels of the canvas for each of the ground. */
  view(pane, density = window.devicePixelRatio || 1) {
    const { clientWidth: wide, clientHeight: high } = pane.sight;
    const scale = this.zoom * Math.min(wide / this.width, high / this.height);
    const [x, y] = [this.centre[0] - wide / 2 / scale, this.centre[1] - high / 2 / scale];
    return { x, y, scale: scale * density, width: wide / scale, height: high / scale, density };
  }

  draw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      for (const pane of this.panes) this.paint(pane);
      for (const { canvas } of this.panes) canvas.style.touchAction = this.fills || this.zoom > 1.01 ? "none" : "pan-y";
    });
  }

  paint(pane) {
    const view = this.view(pane);
    const { canvas } = pane;
    const [width, height] = [view.width, view.height].map((side) => Math.round(side * view.scale));
    if (!(width > 0 && height > 0)) return;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.clearRect(0, 0, width, height);
    const cut = pane.divider ? Math.round(this.split * width) : width;
    pane.layers.forEach((layer, index) => {
      context.save();
      context.beginPath();
      context.rect(index ? cut : 0, 0, index ? width - cut : cut, height);
      context.clip();
      layer.paint(context, view);
      context.restore();
    });
    if (pane.divider) {
      pane.divider.style.left = `${100 * this.split}%`;
      pane.divider.setAttribute("aria-valuenow", Math.round(100 * this.split));
    }
    if (this.at && this.keyed) this.cross(context, view);
  }

  /** Marks the place that the readout tells of. */
  cross(context, view) {
    const [x, y] = [(this.at[0] - view.x) * view.scale, (this.at[1] - view.y) * view.scale].map(Math.round);
    for (const [colour, width] of [["#000", 3], ["#fff", 1]]) {
      Object.assign(context, { strokeStyle: colour, lineWidth: width * view.density });
      context.beginPath();
      context.moveTo(x - 9 * view.density, y);
      context.lineTo(x + 9 * view.density, y);
      context.moveTo(x, y - 9 * view.density);
      context.lineTo(x, y + 9 * view.density);
      context.stroke();
    }
  }

  /** The place of the ground under a pointer, with fractions. */
  ground(event, pane) {
    const box = pane.canvas.getBoundingClientRect();
    const view = this.view(pane, 1);
    return [view.x + (event.clientX - box.left) / view.scale, view.y + (event.clientY - box.top) / view.scale];
  }

  press(event, pane) {
    pane.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
    this.stage.focus({ preventScroll: true });
  }

  move(event, pane) {
    const before = this.pointers.get(event.pointerId);
    this.keyed = false;
    if (!before) return this.tell(this.ground(event, pane));
    const others = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, where]) => where);
    const now = [event.clientX, event.clientY];
    const scale = this.view(pane, 1).scale;
    const share = 1 / (1 + others.length);
    this.shift(((before[0] - now[0]) / scale) * share, ((before[1] - now[1]) / scale) * share);
    if (others.length) {
      const apart = (where) => Math.hypot(where[0] - others[0][0], where[1] - others[0][1]);
      if (apart(before) > 0) this.enlarge(apart(now) / apart(before), this.ground(event, pane));
    }
    this.pointers.set(event.pointerId, now);
    this.tell(this.ground(event, pane));
  }

  roll(event, pane) {
    if (!(this.wheel || event.ctrlKey || event.metaKey || this.stage.contains(document.activeElement))) return;
    event.preventDefault();
    this.enlarge(Math.exp(-Math.min(Math.max(event.deltaY, -100), 100) / 250), this.ground(event, pane));
  }

  key(event) {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const factor = { "+": 1.5, "=": 1.5, "-": 1 / 1.5 }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey || !(step || factor || event.key === "0")) return;
    event.preventDefault();
    this.keyed = true;
    const view = this.view(this.panes[0]);
    if (step) this.shift((step[0] * view.width) / 20, (step[1] * view.height) / 20);
    else if (factor) this.enlarge(factor);
    else this.showAll();
    this.tell([...this.centre]);
  }

  shift(columns, rows) {
    const inside = (value, most) => Math.min(Math.max(value, 0), most);
    this.centre = [inside(this.centre[0] + columns, this.width), inside(this.centre[1] + rows, this.height)];
    this.draw();
  }

  /** Enlarges by a factor; a place of the ground, else the middle, stays where it is. */
  enlarge(factor, around = this.centre) {
    const most = (64 * this.zoom) / this.view(this.panes[0], 1).scale; // 64 pixels of the screen for one of the ground
    const zoom = Math.min(Math.max(this.zoom * factor, 0.5), Math.max(most, 4));
    const share = 1 - this.zoom / zoom;
    this.zoom = zoom;
    this.shift((around[0] - this.centre[0]) * share, (around[1] - this.centre[1]) * share);
  }

  showAll() {
    Object.assign(this, { zoom: 1, centre: [this.width / 2, this.height / 2] });
    this.draw();
  }

  /** Tells the place of the ground, or that there is none. */
  tell(at) {
    const inside = at && at[0] >= 0 && at[1] >= 0 && at[0] < this.width && at[1] < this.height;
    this.at = inside ? at : null;
    this.readout.textContent = inside ? this.describe(Math.floor(at[0]), Math.floor(at[1])) : "";
    if (this.keyed || this.crossed) this.draw();
    this.crossed = this.keyed;
  }

  /** Saves what is shown as a picture, with its legend. */
  save() {
    this.picture().toBlob((blob) => {
      const link = make("a", { href: URL.createObjectURL(blob), download: this.file });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    });
  }

  picture() {
    const density = window.devicePixelRatio || 1;
    const [gap, line] = [12 * density, 20 * density];
    const { width, height } = this.panes[0].canvas;
    const across = gap + this.panes.length * (width + gap);
    const classes = this.classes.filter(({ id }) => !this.legend.off.has(id));
    const columns = Math.max(1, Math.floor((across - gap) / (200 * density)));
    const rows = Math.ceil(classes.length / columns);
    const canvas = make("canvas", { width: across, height: 2 * line + height + gap + rows * line + gap });
    const context = canvas.getContext("2d");
    const write = (words, x, y, most) => {
      context.fillStyle = "#1d2733";
      context.fillText(words, x, y, most);
    };
    Object.assign(context, { fillStyle: "#fff", font: `${13 * density}px system-ui, sans-serif`, textBaseline: "middle" });
    context.fillRect(0, 0, canvas.width, canvas.height);
    this.panes.forEach((pane, index) => {
      const x = gap + index * (width + gap);
      const names = pane.layers.map((layer) => this.named(layer));
      write(names.join("  |  "), x, line, width);
      context.drawImage(pane.canvas, x, 2 * line);
    });
    classes.forEach(({ name, colour }, index) => {
      const x = gap + (index % columns) * 200 * density;
      const y = 2 * line + height + gap + (Math.floor(index / columns) + 0.5) * line;
      context.fillStyle = colour;
      context.fillRect(x, y - 6 * density, 12 * density, 12 * density);
      write(name, x + 18 * density, y, 178 * density);
    });
    return canvas;
  }
}
