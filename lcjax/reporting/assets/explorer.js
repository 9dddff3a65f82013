"use strict";
/* The sample tiles of a table of runs: scene, truth, and of each run its map, its errors and its confidence. */
{
  const RIGHT = "#e8edf2";
  const WRONG = "#c1121f";
  const NOT_SCORED = "#9aa3ad";

  /** Bytes of a text of base64 that holds deflated ones. */
  async function unpacked(text) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  class Explorer {
    constructor(root) {
      this.root = root;
      this.data = JSON.parse(root.querySelector("script").textContent);
      this.names = new Map(this.data.classes.map(({ id, name }) => [id, name]));
      this.scored = new Set(this.data.scored);
      this.bytes = new Map();
      this.record = this.run = 0;
      const { width, height, classes } = this.data;
      const confident = this.data.runs.some(({ confidence }) => confidence);
      this.legend = new Legend(classes, () => this.recoloured(), [
        ...[[WRONG, "wrong"], [NOT_SCORED, "not scored"]].map(([colour, name]) => this.key(colour, name)),
        ...(confident ? [rampKey("confidence")] : [])]);
      this.viewer = new Viewer(root, {
        width, height, classes, legend: this.legend, layers: this.layers(), side: this.side(),
        swipe: ["image", "0 prediction"], swiped: false, title: root.dataset.title, file: "tiles.png",
        describe: (x, y) => this.describe(x, y),
      });
      this.viewer.tools.prepend(
        this.choice("tile", this.data.records, (index) => { this.record = index; }),
        this.choice("run", this.data.runs.map(({ name }) => name), (index) => { this.run = index; }));
      root.append(this.legend.element);
    }

    key(colour, name) {
      const swatch = make("span", { className: "swatch" });
      swatch.style.background = colour;
      return make("span", { className: "soft" }, swatch, " ", name);
    }

    choice(name, values, act) {
      const select = make("select", {}, ...values.map((value, index) => make("option", { value: index }, value)));
      select.addEventListener("change", () => {
        act(Number(select.value));
        this.viewer.setLayers(this.layers(), this.side());
      });
      return make("label", {}, name, select);
    }

    side() {
      const of = (what) => `${this.run} ${what}`;
      const { confidence } = this.data.runs[this.run];
      return ["image", "truth", of("prediction"), of("errors"), ...(confidence ? [of("confidence")] : [])];
    }

    /** The pixels of a picture; null until they are unpacked, when all is drawn again. */
    pixels(text) {
      if (!this.bytes.has(text)) {
        this.bytes.set(text, null);
        this.viewer.awaits(1);
        unpacked(text).then((bytes) => this.bytes.set(text, bytes))
          .catch((error) => { this.viewer.readout.textContent = `The pictures cannot be unpacked: ${error.message}`; })
          .finally(() => this.viewer.awaits(-1));
      }
      return this.bytes.get(text);
    }

    layers() {
      const { data, record } = this;
      const truth = () => this.pixels(data.truth[record]);
      const layers = [
        this.drawn({ key: "image", name: "image", smooth: true }, () => this.photo(this.pixels(data.image[record]))),
        this.drawn({ key: "truth", name: "truth" }, () => this.mapped(truth())),
      ];
      data.runs.forEach((run, index) => {
        const predicted = () => this.pixels(run.prediction[record]);
        const add = (name, draw) => layers.push(this.drawn({ key: `${index} ${name}`, name, group: run.name }, draw));
        add("prediction", () => this.mapped(predicted()));
        add("errors", () => this.wrong(truth(), predicted()));
        if (run.confidence) add("confidence", () => this.sure(this.pixels(run.confidence[record])));
      });
      return layers;
    }

    /** A layer that keeps what it has drawn until classes are switched. */
    drawn(layer, draw) {
      let canvas = null;
      return {
        ...layer,
        forget: () => { canvas = null; },
        paint: (context, view) => {
          canvas = canvas || draw();
          if (canvas) place(context, view, canvas, 0, 0, this.data.width, this.data.height, layer.smooth);
        },
      };
    }

    recoloured() {
      for (const layer of this.viewer.layers) layer.forget();
      this.viewer.draw();
    }

    photo(pixels) {
      if (!pixels) return null;
      const { width, height } = this.data;
      const canvas = make("canvas", { width, height });
      const image = new ImageData(width, height);
      for (let i = 0; i < width * height; i++) image.data.set([...pixels.subarray(3 * i, 3 * i + 3), 255], 4 * i);
      canvas.getContext("2d").putImageData(image, 0, 0);
      return canvas;
    }

    mapped(ids) {
      const { width, height, classes } = this.data;
      return ids && coloured(ids, width, height, palette(classes, this.legend.off));
    }

    sure(levels) {
      const { width, height, scale } = this.data;
      return levels && coloured(levels, width, height, ramp(scale));
    }

    /** Pixels of the classes that are on: right, wrong, or not scored. */
    wrong(truth, predicted) {
      if (!truth || !predicted) return null;
      const { width, height } = this.data;
      const kinds = truth.map((id, i) => (!this.scored.has(id) ? 2 : this.legend.off.has(id) ? 3 : id === predicted[i] ? 0 : 1));
      const colours = [RIGHT, WRONG, NOT_SCORED].map((colour, id) => ({ id, colour }));
      return coloured(kinds, width, height, palette(colours, new Set()));
    }

    /** The runs that are seen: that which is chosen, and those under the swipe. */
    seen() {
      const { swiped, swipe } = this.viewer;
      const under = swiped ? swipe.map((key) => parseInt(key, 10)).filter((index) => !Number.isNaN(index)) : [];
      return [...new Set(under.length ? under : [this.run])].map((index) => this.data.runs[index]);
    }

    describe(x, y) {
      const { data, record } = this;
      const at = y * data.width + x;
      const name = (ids) => ids && (this.names.get(ids[at]) || "not labelled");
      const rgb = this.pixels(data.image[record]);
      const told = [`column ${x}, row ${y}`, `image ${rgb ? rgb.slice(3 * at, 3 * at + 3).join(" ") : ""}`,
        `truth ${name(this.pixels(data.truth[record]))}`];
      for (const run of this.seen()) {
        const levels = run.confidence && this.pixels(run.confidence[record]);
        const sure = levels ? ` (confidence ${((100 * levels[at]) / data.scale).toFixed(0)} %)` : "";
        told.push(`${run.name} ${name(this.pixels(run.prediction[record]))}${sure}`);
      }
      return told.join("  ·  ");
    }
  }

  for (const root of document.querySelectorAll(".explorer")) new Explorer(root);
}
