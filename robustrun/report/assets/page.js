"use strict";
(async () => {
  // Okabe and Ito's colours, told apart by colour-blind readers; a symbol and a dash beside each.
  const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D1F", "#7F7F7F"];
  const SYMBOLS = ["circle", "square", "triangle-up", "diamond", "cross", "x", "star", "pentagon"];
  const GREY = "#7F7F7F";  // of what has no look of its own
  const SCALE = ["#7B52C7", "#C0438A", "#E8704A", "#E8A820"];  // numbers, from the smallest to the largest
  const DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot"];
  const NARROW = "(max-width: 700px)";  // a screen on which a legend beside a chart leaves it no room
  const AUDIT = {pass: "audit passes", warn: "audit warns", fail: "AUDIT FAILS", "": "not audited"};
  const $ = (id) => document.getElementById(id);
  const percent = (share) => share === null || share === undefined ? null : 100 * share;
  // plotly reads a little HTML in labels: what comes from a run is text.
  const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

  async function unpacked(id) {
    const bytes = Uint8Array.from(atob($(id).textContent), (letter) => letter.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  }

  function element(name, text, parent) {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (parent) parent.append(made);
    return made;
  }

  // ---- tables

  function sortable(table) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => head.firstChild.addEventListener("click", () => {
      const upwards = head.getAttribute("aria-sort") === "descending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", upwards ? "ascending" : "descending");
      const keyed = [...table.tBodies[0].rows].map((row) => [row.cells[column].dataset.value, row]);
      keyed.sort(([a], [b]) => {
        if (a === "" || b === "") return (a === "") - (b === "");  // unknown last, either way
        const [x, y] = [Number(a), Number(b)];
        const order = Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, "en", {numeric: true}) : x - y;
        return upwards ? order : -order;
      });
      table.tBodies[0].append(...keyed.map(([, row]) => row));
    }));
  }

  const visible = new Set();
  function filter() {
    const words = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    visible.clear();
    for (const row of $("runs").tBodies[0].rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      if (!row.hidden) visible.add(Number(row.dataset.row));
    }
    $("shown").textContent = `${visible.size} shown`;
  }

  function details(data, place) {
    const run = data.runs[place], box = $("details");
    box.replaceChildren();
    element("h3", run.name, box);
    element("p", `${run.status}${run.error ? ": " + run.error : ""}; ${AUDIT[run.audit]}`, box);
    element("h4", "Command", box);
    element("pre", run.command, box);
    listing(box, "Where these runs' configurations differ", Object.entries(run.settings));
    listing(box, "Environment", Object.entries(run.environment));
    listing(box, "Audit", (run.checks || []).map(([status, check, why]) => [`${status}: ${check}`, why]));
    box.hidden = false;
    box.scrollIntoView({block: "nearest"});
  }

  function listing(box, title, pairs) {
    if (!pairs.length) return;
    element("h4", title, box);
    const table = element("table", undefined, box);
    for (const [key, value] of pairs) {
      const row = element("tr", undefined, table);
      element("td", key, row);
      element("td", value === null ? "null" : String(value), row);
    }
  }

  // ---- charts

  function layout(x, y, more = {}) {
    const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const axis = {gridcolor: colour("--line"), zerolinecolor: colour("--line"), linecolor: colour("--line"), automargin: true};
    return {
      paper_bgcolor: colour("--back"), plot_bgcolor: colour("--back"), font: {color: colour("--front"), size: 13},
      hoverlabel: {align: "left"}, margin: {t: 20, r: 20, b: 50, l: 60}, hovermode: "closest", showlegend: true,
      legend: {tracegroupgap: 0}, xaxis: {...axis, title: {text: x}}, yaxis: {...axis, title: {text: y}}, ...more,
    };
  }

  function between(place, count) {  // a colour of the scale, in its order
    const at = (count > 1 ? place / (count - 1) : 0) * (SCALE.length - 1), left = Math.min(Math.floor(at), SCALE.length - 2);
    const part = (start) => {
      const [a, b] = [SCALE[left], SCALE[left + 1]].map((colour) => parseInt(colour.slice(start, start + 2), 16));
      return Math.round(a + (b - a) * (at - left)).toString(16).padStart(2, "0");
    };
    return `#${part(1)}${part(3)}${part(5)}`;
  }

  // Colours stand for the values of one key, symbols and dashes for those of the others.
  function look(encoding, places) {
    if (!places) return {colour: GREY, symbol: "circle-open", dash: "dot", entry: "same"};
    const [place, other] = places, {colour, symbol} = encoding, count = colour.names.length;
    const ordered = colour.ordered || count > COLOURS.length;
    const marked = symbol.names.length > 1 ? other : place;  // a key alone has both
    return {
      colour: ordered ? between(place, count) : COLOURS[place], symbol: SYMBOLS[marked % SYMBOLS.length],
      dash: DASHES[marked % DASHES.length], entry: `colour ${place}`,
    };
  }
  const places = (data, runs) => runs.map((run) => data.groups[run.group]?.look);
  const of = (data, run) => look(data.encoding, data.groups[run.group]?.look);

  // An entry for each colour and for each symbol that is drawn; a click on a colour hides what has it.
  function entries(encoding, drawn, mode) {
    const seen = drawn.filter(Boolean), {colour, symbol} = encoding, several = symbol.names.length > 1;
    const used = (position) => [...new Set(seen.map((places) => places[position]))].sort((a, b) => a - b);
    const entry = (name, group, shown) => ({
      type: "scatter", mode, x: [null], y: [null], name: plain(name), legendgroup: group, showlegend: true, hoverinfo: "skip",
      line: {color: shown.colour, dash: shown.dash, width: 1.5}, marker: {color: shown.colour, symbol: shown.symbol, size: 8},
    });
    const colours = used(0).map((place) => {
      const own = look(encoding, [place, 0]);
      return entry(colour.names[place], own.entry, several ? {colour: own.colour, symbol: "circle", dash: "solid"} : own);
    });
    const symbols = several ? used(1).map((place) => entry(symbol.names[place], `symbol ${place}`, {...look(encoding, [0, place]), colour: GREY})) : [];
    const same = drawn.some((places) => !places) ? [entry("the same network as another run", "same", look(encoding, null))] : [];
    return [...colours, ...symbols, ...same];
  }

  function below(shape, traces) {  // a narrow chart has its legend below, a line for each entry, and is as much taller
    const lines = traces.filter((trace) => trace.showlegend).length;
    const legend = {...shape.legend, orientation: "v", x: 0, xanchor: "left", y: -0.24, yanchor: "top"};
    const yaxis = {...shape.yaxis, title: {...shape.yaxis.title, font: {size: 11}}};
    return {...shape, legend, yaxis, height: 370 + 20 * lines};
  }

  function draw(id, traces, shape) {
    const narrow = matchMedia(NARROW).matches;
    $(id).style.height = narrow && traces.length ? "auto" : "";
    if (narrow) shape = below(shape, traces);
    if (!traces.length) { Plotly.purge($(id)); $(id).textContent = "Nothing was measured that could be shown here."; return; }
    const first = !$(id).data;
    if (first) $(id).textContent = "";
    Plotly.react($(id), traces, shape, {responsive: true, displaylogo: false, modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]]});
    if (first) $(id).on("plotly_legendclick", (event) => event.data[event.curveNumber].legendgroup.startsWith("colour "));
  }

  function spread(name, [mean, low, high, deviation, runs]) {  // one accuracy of a group, in words
    const seeds = deviation === null ? "one run" : `± ${percent(deviation).toFixed(2)}, ${runs} runs`;
    return `${plain(name)} ${percent(mean).toFixed(2)} (${seeds}; 95%: ${percent(low).toFixed(1)} to ${percent(high).toFixed(1)})`;
  }

  const hovered = (run) => `${plain(run.name)}<br>${AUDIT[run.audit]}`;

  function pareto(data, runs) {
    const measure = $("measure").value;
    const there = runs.filter((run) => run.group !== null && run.accuracy && run.accuracy[measure] !== undefined);
    const traces = [], points = [], drawn = [];  // a point for each group of which a run is shown
    for (const place of new Set(there.map((run) => run.group))) {
      const group = data.groups[place], members = there.filter((run) => run.group === place);
      const own = look(data.encoding, group.look);
      drawn.push(group.look);
      const point = {...group, clean: group.accuracy.clean, robust: group.accuracy[measure], symbol: group.audit === "fail" ? "x-open" : own.symbol};
      points.push(point);
      const common = {type: "scatter", mode: "markers", name: plain(group.title), legendgroup: own.entry, showlegend: false};
      const bars = ([mean, low, high]) => ({type: "data", symmetric: false, array: [percent(high - mean)], arrayminus: [percent(mean - low)], thickness: 1, width: 3, color: own.colour});
      traces.push({
        ...common, x: [percent(point.clean[0])], y: [percent(point.robust[0])], error_x: bars(point.clean), error_y: bars(point.robust),
        text: [`${plain(group.title)}<br>${AUDIT[group.audit]}<br>${spread("clean", point.clean)}<br>${spread(measure, point.robust)}`],
        marker: {color: own.colour, size: 9, symbol: point.symbol}, hovertemplate: "%{text}<extra></extra>",
      });
      if (point.robust[4] > 1) traces.push({
        ...common, x: members.map((run) => percent(run.accuracy.clean)), y: members.map((run) => percent(run.accuracy[measure])),
        text: members.map((run) => `${hovered(run)}<br>${plain(measure)} 95%: ${run.interval[measure].map((v) => percent(v).toFixed(1)).join(" to ")}`),
        marker: {color: own.colour, size: 5, opacity: 0.55, symbol: members.map((run) => run.audit === "fail" ? "x-open" : own.symbol)},
        hovertemplate: "%{text}<br>clean %{x:.2f}%, robust %{y:.2f}%<extra></extra>",
      });
    }
    const front = points.filter((a) => !points.some((b) => b !== a && b.judged === a.judged && b.clean[0] >= a.clean[0] && b.robust[0] >= a.robust[0]
      && (b.clean[0] > a.clean[0] || b.robust[0] > a.robust[0])));
    [...new Set(front.map((point) => point.judged))].forEach((judged, number) => {  // a front for each: radii are not compared
      const members = front.filter((point) => point.judged === judged).sort((a, b) => a.clean[0] - b.clean[0]);
      traces.push({
        type: "scatter", mode: "lines+markers", name: "Pareto front", legendgroup: "front", showlegend: number === 0, hoverinfo: "skip",
        x: members.map((point) => percent(point.clean[0])), y: members.map((point) => percent(point.robust[0])),
        line: {color: "#7F7F7F", width: 1, dash: "dot"}, marker: {symbol: "circle-open", size: 17, color: "#7F7F7F", line: {width: 2}},
      });
    });
    if (data.published.length) traces.push({
      type: "scatter", mode: "markers", name: "published, not run here", showlegend: true,
      x: data.published.map((entry) => percent(entry.clean)), y: data.published.map((entry) => percent(entry.robust)),
      text: data.published.map((entry) => plain(`${entry.name}, ${entry.model}: ${entry.attack} at ${entry.norm} ${entry.epsilon} (${entry.source})`)),
      marker: {symbol: "diamond-open", size: 9, color: "#7F7F7F"},
      hovertemplate: "published, not run here<br>%{text}<br>clean %{x:.2f}%, robust %{y:.2f}%<extra></extra>",
    });
    const lines = data.published.map((entry) => ({type: "line", xref: "paper", x0: 0, x1: 1, y0: percent(entry.robust), y1: percent(entry.robust), layer: "below", line: {color: "#7F7F7F", width: 0.5, dash: "dot"}}));
    draw("pareto", there.length ? [...traces, ...entries(data.encoding, drawn, "markers")] : [], layout("clean accuracy (%)", `robust accuracy (%), ${plain(measure)}`, {shapes: lines}));
  }

  function lines(data, runs, points) {  // a line for each run, as its group looks, and the entries of the legend
    const drawn = runs.map((run) => {
      const own = of(data, run);
      return {
        type: "scatter", mode: "lines+markers", ...points(run), name: plain(data.groups[run.group]?.title ?? run.name), legendgroup: own.entry, showlegend: false,
        line: {color: own.colour, dash: own.dash, width: 1.4}, marker: {symbol: own.symbol, size: 5},
      };
    });
    return runs.length ? [...drawn, ...entries(data.encoding, places(data, runs), "lines+markers")] : [];
  }

  // An axis of radii in levels of a pixel has the ticks of what reaches furthest; any other has plotly's.
  function ticked(shape, sides) {
    const last = (ticks) => ticks[0][ticks[0].length - 1];
    if (!sides.length || !sides.every(Boolean)) return shape;
    const [tickvals, ticktext] = sides.reduce((a, b) => last(b) > last(a) ? b : a);
    return {...shape, xaxis: {...shape.xaxis, tickvals, ticktext}};
  }

  function radius(data, runs) {
    const there = runs.filter((run) => run.curve && run.curve.length > 1);
    const norms = [...new Set(there.map((run) => run.norm))].join(", ");
    draw("radius", lines(data, there, (run) => ({
      x: run.curve.map((point) => point[0]), y: run.curve.map((point) => percent(point[1])),
      text: run.curve.map((point) => `${hovered(run)}<br>${plain(run.attack)}<br>95%: ${percent(point[2]).toFixed(1)} to ${percent(point[3]).toFixed(1)}`),
      customdata: run.curve.map((point) => point[4]),
      hovertemplate: "%{text}<br>radius %{customdata}: %{y:.2f}%<extra></extra>",
    })), ticked(layout(`radius (${plain(norms)}, pixel units)`, "robust accuracy (%)"), there.map((run) => run.ticks)));
  }

  function training(data, runs) {
    const column = $("curve").value, loss = column === "train_loss";
    const there = runs.filter((run) => run.training && run.training[column]);
    draw("training", lines(data, there, (run) => ({
      text: run.training.epoch.map(() => hovered(run)),
      x: run.training.epoch, y: run.training[column].map((value) => loss ? value : percent(value)),
      hovertemplate: `%{text}<br>epoch %{x}: %{y:.4g}${loss ? "" : "%"}<extra></extra>`,
    })), layout("epoch", loss ? "training loss" : $("curve").selectedOptions[0].textContent + " (%)"));
  }

  function classes(data, runs) {
    const there = runs.filter((run) => run.per_class && run.per_class[1].length);
    const traces = there.flatMap((run) => run.per_class.map((shares, attacked) => ({
      type: "scatter", mode: "markers", name: plain(run.name), legendgroup: of(data, run).entry, showlegend: false,
      x: shares.map((_, place) => plain(run.classes[place] ?? place)), y: shares.map(percent),
      text: shares.map(() => `${hovered(run)}<br>${attacked ? plain(run.attack) : "clean"}`),
      marker: {color: of(data, run).colour, size: 8, symbol: of(data, run).symbol.replace("-open", "") + (attacked ? "" : "-open")},
      hovertemplate: "%{text}<br>class %{x}: %{y:.1f}%<extra></extra>",
    })));
    const shape = layout("class", "accuracy (%)");
    shape.xaxis.type = "category";
    draw("classes", traces.length ? [...traces, ...entries(data.encoding, places(data, there), "markers")] : [], shape);
  }

  function sweeps(data) {
    if (!data.sweeps.length && !document.querySelector(".heat")) { $("swept").hidden = true; return; }
    data.sweeps.forEach((sweep, number) => {
      const id = `sweep-${number}`;
      if (!$(id)) Object.assign(element("div", undefined, $("sweeps")), {id, className: "chart"});
      const traces = sweep.lines.flatMap((line) => ["clean", "worst_case"].filter((column) => line[column]).map((column) => ({
        type: "scatter", mode: "lines+markers", name: plain(`${line.name}, ${column.replace("_", " ")}`), x: line.x, legendgroup: look(sweep.encoding, line.look).entry, showlegend: false,
        y: line[column].map((entry) => entry && percent(entry[0])),
        error_y: {type: "data", symmetric: false, array: line[column].map((entry) => entry && percent(entry[2] - entry[0])), arrayminus: line[column].map((entry) => entry && percent(entry[0] - entry[1])), thickness: 1},
        text: line[column].map((entry) => entry ? `${plain(line.name)}<br>${spread(column, entry)}` : ""),
        line: {color: look(sweep.encoding, line.look).colour, dash: column === "clean" ? "dot" : "solid"},
        marker: {symbol: look(sweep.encoding, line.look).symbol + (column === "clean" ? "-open" : "")},
        customdata: line.x_text,
        hovertemplate: `%{text}<br>${plain(sweep.key)} %{customdata}<extra></extra>`,
      })));
      const kinds = [["clean", "dot", "circle-open"], ["worst case", "solid", "circle"]].map(([name, dash, symbol]) => ({
        type: "scatter", mode: "lines+markers", x: [null], y: [null], name, legendgroup: name, showlegend: true, line: {color: GREY, dash}, marker: {color: GREY, symbol},
      }));
      const drawn = sweep.lines.length > 1 ? entries(sweep.encoding, sweep.lines.map((line) => line.look), "markers") : [];
      draw(id, [...traces, ...drawn, ...kinds], ticked(layout(plain(sweep.key), "accuracy (%), with 95% intervals"), [sweep.ticks]));
    });
  }

  // ---- the page

  const data = JSON.parse(await unpacked("data-packed"));
  document.querySelectorAll("table#runs, table#groups, table[id^=search]").forEach(sortable);
  for (const name of data.columns.filter((column) => column !== "clean")) element("option", name, $("measure"));
  $("measure").value = "worst_case";
  document.querySelectorAll("button.more").forEach((button) => button.addEventListener("click", () => details(data, Number(button.dataset.run))));
  const script = document.createElement("script");
  script.textContent = await unpacked("plotly-packed");
  document.head.append(script);

  function redraw() {
    const runs = data.runs.filter((run, place) => visible.has(place));
    pareto(data, runs); radius(data, runs); training(data, runs); classes(data, runs); sweeps(data);
  }
  filter();
  redraw();
  let waiting;
  $("filter").addEventListener("input", () => { filter(); clearTimeout(waiting); waiting = setTimeout(redraw, 200); });
  $("measure").addEventListener("change", redraw);
  $("curve").addEventListener("change", redraw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  matchMedia(NARROW).addEventListener("change", redraw);
  matchMedia("print").addEventListener("change", redraw);
  document.body.dataset.ready = "yes";
})();
