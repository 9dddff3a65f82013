"use strict";
/* Learning curves with values under the cursor, drawn by Bokeh in the colours of the page. */
{
  const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "ink"];
  const DASHES = ["solid", "dashed", "dotted", "dotdash"];

  const colourOf = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

  function styled(figure) {
    const [ink, soft, line, paper] = ["ink", "soft", "line", "paper"].map(colourOf);
    figure.background_fill_color = figure.border_fill_color = paper;
    figure.outline_line_color = null;
    figure.title.text_color = ink;
    for (const axis of figure.axes) {
      Object.assign(axis, {
        axis_label_text_color: soft, major_label_text_color: soft, axis_line_color: soft, major_tick_line_color: soft,
        minor_tick_line_color: null, axis_label_text_font_style: "normal",
      });
    }
    for (const grid of figure.grids) grid.grid_line_color = line;
  }

  /** Lower and upper end of the vertical axis: from 0 on where nothing lies below. */
  function ends(panel) {
    const values = panel.curves.flatMap((curve) => curve.values).filter((value) => value !== null);
    const low = values.reduce((least, value) => Math.min(least, value), Infinity);
    const high = values.reduce((most, value) => Math.max(most, value), -Infinity);
    const start = low >= 0 ? 0 : low - 0.05 * (high - low);
    return [start, high > start ? high + 0.05 * (high - start) : start + 1];
  }

  function drawn(panel, styles) {
    const coarse = matchMedia("(pointer: coarse)").matches; // fingers scroll the page
    const hover = new Bokeh.HoverTool({
      tooltips: [["run", "$name"], ["step", "@x"], [panel.unit, "@told"]], mode: "mouse", line_policy: "nearest",
      renderers: [],
    });
    const figure = new Bokeh.Plotting.Figure({
      title: panel.title, height: 280, sizing_mode: "stretch_width", x_axis_label: "step", y_axis_label: panel.unit,
      y_range: ends(panel),
      tools: [hover, "pan", "box_zoom", "wheel_zoom", "save", "reset"],
      active_drag: coarse ? null : "auto", active_scroll: null, toolbar_location: "above",
    });
    figure.toolbar.logo = null;
    const lines = new Map();
    const add = (run, x, y, look, told) => {
      const source = new Bokeh.ColumnDataSource({ data: { x, y, told: y.map((value) => `${value}`) } });
      const line = figure.line({ field: "x" }, { field: "y" }, { source, name: run, ...look });
      lines.set(run, [...(lines.get(run) || []), line]);
      if (told) hover.renderers.push(line);
    };
    for (const curve of panel.curves) {
      const { colour, dash } = styles.get(curve.run);
      const look = { line_color: colour, line_width: 2, line_dash: curve.dashed ? "dashed" : dash };
      if (curve.mean) {
        add(curve.run, curve.steps, curve.values, { ...look, line_width: 1, line_alpha: 0.3 }, true);
        add(curve.run, curve.mean.steps, curve.mean.values, look, false);
      } else {
        add(curve.run, curve.steps, curve.values, look, true);
      }
    }
    styled(figure);
    return { figure, lines };
  }

  function draw(root) {
    const { title, panels } = JSON.parse(root.querySelector("script").textContent);
    root.querySelectorAll(".live, .runs").forEach((old) => old.remove());
    const runs = [...new Set(panels.flatMap(({ curves }) => curves.map(({ run }) => run)))];
    const styles = new Map(runs.map((run, index) => {
      const colour = COLOURS[index % COLOURS.length];
      const dash = DASHES[Math.floor(index / COLOURS.length) % DASHES.length];
      return [run, { colour: colour === "ink" ? colourOf("ink") : colour, dash }];
    }));
    const charts = panels.map((panel) => drawn(panel, styles));
    const live = make("div", { className: "live" });
    live.setAttribute("role", "group");
    live.setAttribute("aria-label", `Learning curves: ${title}`);
    const switches = runs.map((run) => {
      const box = make("input", { type: "checkbox", checked: true });
      const stroke = make("span", { className: "stroke" });
      stroke.style.borderTopColor = styles.get(run).colour;
      box.addEventListener("change", () => {
        for (const { lines } of charts) for (const line of lines.get(run) || []) line.visible = box.checked;
      });
      return make("label", {}, box, stroke, run);
    });
    root.append(make("fieldset", { className: "runs" }, make("legend", {}, "Runs"), ...switches), live);
    root.classList.add("drawn");
    for (const { figure } of charts) {
      const place = make("div", {});
      live.append(place);
      Bokeh.Plotting.show(figure, place);
    }
  }

  const charts = [...document.querySelectorAll(".chart")];
  Bokeh.set_log_level("error");
  const drawAll = () => charts.forEach(draw);
  drawAll();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
}
