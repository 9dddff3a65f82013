"use strict";
/* A map of any size: tiles and values come from the server of the page, as they are looked at. */
{
  const MOST_TILES = 400; // of a layer that are kept, or more where more are seen
  const AT_ONCE = 6; // that are asked for
  const [SOONEST, LATEST] = [1000, 60_000]; // ms until what failed is asked for again: twice as long each time

  /** What the server answers. Throws what it says where that is no answer. */
  async function answered(path) {
    const answer = await fetch(path);
    if (!answer.ok) throw new Error((await answer.text()).trim());
    return answer;
  }

  /** The tiles of a layer. Level n has pixels of 2**n x 2**n of the ground. */
  class Tiles {
    constructor(map, name, kind) {
      Object.assign(this, { map, name, kind, kept: new Map(), failures: new Map(), seen: 0, version: 0 });
    }

    /** Height and width of a tile in its own pixels. */
    shape(level, column, row) {
      const { tile, width, height } = this.map.data;
      return [height, width].map((side, axis) =>
        Math.min(Math.ceil(side / 2 ** level) - tile * [row, column][axis], tile));
    }

    /** The canvas of a tile; null while it is not there, and then it is asked for. */
    canvas(level, column, row) {
      const key = `${level}/${column}/${row}`;
      const kept = this.kept.get(key);
      if (!kept) {
        this.map.wanted.push({ tiles: this, key });
        return null;
      }
      this.kept.delete(key); // so that what was used last stands last
      this.kept.set(key, kept);
      if (kept.bytes && kept.version !== this.version) {
        const [height, width] = this.shape(level, column, row);
        Object.assign(kept, { canvas: this.drawn(kept.bytes, width, height), version: this.version });
      }
      return kept.canvas || null;
    }

    drawn(bytes, width, height) {
      if (this.kind === "image") {
        const canvas = make("canvas", { width, height });
        canvas.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(bytes.buffer), width, height), 0, 0);
        return canvas;
      }
      const colours = this.kind === "share" ? ramp(this.map.data.scale)
        : palette(this.map.data.classes, this.map.legend.off);
      return coloured(bytes, width, height, colours);
    }

    async fetch(key) {
      this.kept.set(key, {});
      try {
        const answer = await answered(`tile/${this.name}/${key}`);
        this.kept.set(key, { bytes: new Uint8Array(await answer.arrayBuffer()), version: -1 });
        this.failures.delete(key);
        this.map.unsay();
        // Were fewer kept than are seen, each that comes would put out one that is then asked for again, without end.
        const most = Math.max(this.map.most, 2 * this.seen);
        while (this.kept.size > most) this.kept.delete(this.kept.keys().next().value);
      } catch (error) {
        this.map.say(`${this.name} cannot be read: ${error.message}`);
        this.again(key);
      }
    }

    /** Has a tile asked for once more after a while, if it is looked at then. */
    again(key) {
      const failed = this.failures.get(key) || 0;
      this.failures.set(key, failed + 1);
      setTimeout(() => {
        this.kept.delete(key);
        this.map.viewer.draw();
      }, Math.min(SOONEST * 2 ** failed, LATEST));
    }

    paint(context, view) {
      const { tile, width, height, levels } = this.map.data;
      const level = Math.min(Math.max(Math.floor(Math.log2(1 / view.scale) + 0.25), 0), levels - 1);
      const step = tile * 2 ** level;
      const [first, top] = [view.x, view.y].map((value) => Math.max(Math.floor(value / step), 0));
      const last = Math.min(Math.floor((view.x + view.width) / step), Math.ceil(width / step) - 1);
      const end = Math.min(Math.floor((view.y + view.height) / step), Math.ceil(height / step) - 1);
      this.seen = Math.max(end - top + 1, 0) * Math.max(last - first + 1, 0);
      for (let row = top; row <= end; row++) {
        for (let column = first; column <= last; column++) this.paintTile(context, view, level, column, row);
      }
    }

    paintTile(context, view, level, column, row) {
      const canvas = this.canvas(level, column, row);
      const step = this.map.data.tile * 2 ** level;
      if (canvas) {
        place(context, view, canvas, column * step, row * step, canvas.width * 2 ** level, canvas.height * 2 ** level,
          this.kind === "image");
        return;
      }
      // Until it comes: the part of a coarser tile that is there.
      for (let up = 1; level + up < this.map.data.levels; up++) {
        const coarser = this.kept.get(`${level + up}/${column >> up}/${row >> up}`);
        if (!coarser || !coarser.canvas) continue;
        context.save();
        context.beginPath();
        const at = (value, origin) => Math.round((value - origin) * view.scale);
        const [left, above] = [at(column * step, view.x), at(row * step, view.y)];
        context.rect(left, above, at((column + 1) * step, view.x) - left, at((row + 1) * step, view.y) - above);
        context.clip();
        const wide = 2 ** (level + up);
        place(context, view, coarser.canvas, (column >> up) * step * 2 ** up, (row >> up) * step * 2 ** up,
          coarser.canvas.width * wide, coarser.canvas.height * wide);
        context.restore();
        return;
      }
    }
  }

  class LandMap {
    constructor(root) {
      this.data = JSON.parse(root.querySelector("script").textContent);
      this.wanted = [];
      this.asked = 0;
      this.most = MOST_TILES;
      this.opacity = 1;
      this.names = new Map(this.data.classes.map(({ id, name }) => [id, name]));
      this.legend = new Legend(this.data.classes, () => this.recoloured(),
        this.data.layers.confidence ? [rampKey("confidence")] : []);
      this.tiles = Object.fromEntries(
        Object.entries(this.data.layers).map(([name, kind]) => [name, new Tiles(this, name, kind)]));
      const others = ["scene", "truth", "confidence"].filter((name) => this.tiles[name]);
      this.viewer = new Viewer(root, {
        fills: true, wheel: true, width: this.data.width, height: this.data.height, classes: this.data.classes,
        legend: this.legend, layers: this.layers(), side: ["scene", "truth", "map", "confidence"].filter((n) => this.tiles[n]),
        swipe: [others[0] || "map", "map"], swiped: others.length > 0, title: root.dataset.title, file: this.data.file,
        describe: (x, y) => this.describe(x, y),
      });
      this.viewer.tools.append(this.slider());
      this.message = make("p", { className: "note", hidden: true });
      this.message.setAttribute("role", "status");
      root.append(this.message);
      const beside = make("div", { className: "beside" });
      this.viewer.stage.before(beside);
      beside.append(this.viewer.stage, this.legend.element);
    }

    layers() {
      return Object.keys(this.tiles).map((name) => ({ key: name, name, paint: (context, view) => this.paint(name, context, view) }));
    }

    slider() {
      const slider = make("input", { type: "range", min: 0, max: 100, value: 100 });
      slider.addEventListener("input", () => {
        this.opacity = slider.value / 100;
        this.viewer.draw();
      });
      return make("label", {}, "opacity", slider);
    }

    paint(name, context, view) {
      const { scene } = this.tiles;
      if (this.tiles[name].kind === "image") {
        scene.paint(context, view);
      } else {
        if (scene && (this.opacity < 1 || this.legend.off.size)) scene.paint(context, view);
        context.globalAlpha = this.opacity;
        this.tiles[name].paint(context, view);
      }
      this.soon();
    }

    /** Asks for what the last drawing lacked, once all panes are drawn. */
    soon() {
      if (this.planned) return;
      this.planned = true;
      setTimeout(() => {
        this.planned = false;
        this.next = this.wanted;
        this.wanted = [];
        while (this.asked < AT_ONCE && this.next.length) this.ask(this.next.shift());
      });
    }

    async ask({ tiles, key }) {
      if (tiles.kept.has(key)) return;
      this.asked++;
      this.viewer.awaits(1);
      await tiles.fetch(key);
      this.asked--;
      this.viewer.awaits(-1);
    }

    recoloured() {
      for (const tiles of Object.values(this.tiles)) if (tiles.kind === "classes") tiles.version++;
      this.viewer.draw();
    }

    say(words) {
      Object.assign(this.message, { hidden: false, textContent: words });
    }

    /** Takes back what was said, once nothing fails any more. */
    unsay() {
      if (Object.values(this.tiles).every(({ failures }) => !failures.size)) this.message.hidden = true;
    }

    /** What is known of a place at once; what the files hold there follows. */
    describe(x, y) {
      const here = `column ${x}, row ${y}`;
      clearTimeout(this.later);
      this.later = setTimeout(() => this.ask_values(x, y, here), 60);
      return here;
    }

    async ask_values(x, y, here) {
      try {
        const { values, place: degrees } = await (await answered(`values/${x}/${y}`)).json();
        this.unsay();
        if (!this.viewer.readout.textContent.startsWith(here)) return; // it is elsewhere by now
        this.viewer.readout.textContent = [here, ...this.told(values, degrees)].join("  ·  ");
      } catch (error) {
        this.say(`nothing can be read: ${error.message}`);
      }
    }

    told(values, degrees) {
      const told = [];
      if (degrees) told.push(`${degrees[1].toFixed(5)}°, ${degrees[0].toFixed(5)}°`);
      for (const [name, kind] of Object.entries(this.data.layers)) {
        const value = values[name];
        if (value === undefined || value === this.data.nodata) told.push(`${name} no data`);
        else if (kind === "classes") told.push(`${name} ${this.names.get(value) || value}`);
        else if (kind === "share") told.push(`${name} ${(100 * value).toFixed(0)} %`);
        else told.push(`${name} ${Object.entries(value).map(([band, one]) => `${band} ${Number(one.toPrecision(6))}`).join(", ")}`);
      }
      return told;
    }
  }

  window.shown = [...document.querySelectorAll(".map")].map((root) => new LandMap(root)); // at hand in the console
}
