"""The style sheet and script of a page. The page is dark if the reader's system is dark, and always light on paper."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --back: #ffffff; --panel: #f6f7f9; --text: #1c2330; --faint: #5b6472;
  --line: #d9dde3; --grid: #e4e7ec; --good: #1a7f4b; --bad: #c0352f; --warn: #fff4dc; --warn-line: #d79b27; --alarm: #fdeceb; }
@media (prefers-color-scheme: dark) { :root:not(.paper) { --back: #14171c; --panel: #1c2027; --text: #e4e7ec;
  --faint: #9aa4b2; --line: #343b46; --grid: #2b313a; --good: #4cc38a; --bad: #ff7b72; --warn: #33290f;
  --warn-line: #b98320; --alarm: #3a1a18; } }
:root.paper { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1.25rem 3rem; max-width: 72rem; background: var(--back); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .2rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .2rem; }
p { margin: .3rem 0; } .faint { color: var(--faint); }
.warning { border-left: 4px solid var(--warn-line); background: var(--warn); padding: .5rem .8rem; margin: .7rem 0; }
.warning .wide { margin-top: .3rem; } .warning th, .warning td { border-color: var(--warn-line); }
details { margin: .3rem 0; } summary { cursor: pointer; color: var(--faint); }
.alarm { border-left: 4px solid var(--bad); background: var(--alarm); padding: .5rem .8rem; margin: .7rem 0; font-weight: 600; }
.verdict { font-size: 1.1rem; margin: .8rem 0; } .verdict b { display: block; font-size: 1.3rem; line-height: 1.35; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(10.5rem, 100%), 1fr)); gap: .6rem; margin: 1.1rem 0; }
.tile { background: var(--panel); border: 1px solid var(--line); border-radius: 8px; padding: .6rem .8rem; }
.tile { display: flex; flex-direction: column; } .tile span { order: -1; }
.tile b { font-size: 1.25rem; line-height: 1.3; font-variant-numeric: tabular-nums; } .tile p { margin: .3rem 0 0; } .tile i { font-style: normal; display: inline-block; }
.tile b, .tile p { overflow-wrap: anywhere; } .tile p { font-size: .85rem; line-height: 1.35; }
.tile span { color: var(--faint); font-size: .85rem; }
.tile:has(b.bad) { border-color: var(--bad); background: var(--alarm); }
.chart { height: 380px; margin-top: .3rem; } .nothing { background: var(--panel); padding: 1rem; border-radius: 8px; }
.wide { overflow-x: auto; }
.cards thead { display: none; } .cards tr { display: grid; grid-template-columns: repeat(auto-fill, minmax(5rem, 1fr));
  padding: .3rem 0; border-bottom: 1px solid var(--line); } .cards td { border: 0; text-align: left !important; padding: .15rem .3rem; }
.cards td::before { content: attr(data-h); display: block; color: var(--faint); font-size: .72rem; line-height: 1.2; }
.cards td.s, .cards td.n { white-space: normal; } .cards td:not(.n) { grid-column: span 2; }
table { border-collapse: collapse; width: 100%; margin: .6rem 0; font-variant-numeric: tabular-nums; font-size: .92rem; }
th, td { padding: .28rem .7rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
td { unicode-bidi: isolate; overflow-wrap: anywhere; } th { color: var(--faint); font-weight: 600; }
th.n, td.n { text-align: right; } td.n, td.s { white-space: nowrap; } td:not(.n):not(.s) { min-width: 8rem; }
th button { all: unset; cursor: pointer; } th button:focus-visible { outline: 2px solid var(--faint); }
th[aria-sort=ascending] button::after { content: " \\25B4"; } th[aria-sort=descending] button::after { content: " \\25BE"; }
.good { color: var(--good); } .bad { color: var(--bad); }
pre { background: var(--panel); border: 1px solid var(--line); border-radius: 8px; padding: .8rem; white-space: pre-wrap;
  overflow-wrap: anywhere; unicode-bidi: isolate; font-size: .9rem; }
pre span { display: inline-block; max-width: 100%; }
@media (max-width: 45rem) { body { padding: 1rem .7rem 2rem; } th, td { padding: .28rem .35rem; } table { font-size: .8rem; } }
@media print { body { max-width: none; padding: 0; font-size: 11pt; } .modebar { display: none !important; }
  section, .tiles, tr { break-inside: avoid; } section.long { break-inside: auto; } thead { display: table-header-group; } }
"""

SCRIPT = """
(function () {
  "use strict";
  const root = document.documentElement;
  const charts = JSON.parse(document.getElementById("charts").textContent);
  // listed one by one, because the library also has buttons that send the data to its maker
  const config = { responsive: true, displaylogo: false, showSendToCloud: false, plotlyServerURL: "",
    modeBarButtons: [["toImage", "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]] };
  function overTime(layout) { return !!layout.xaxis && layout.xaxis.type === "date"; }
  // a zoom in one chart over time zooms the others
  function together(place) {
    place.on("plotly_relayout", (change) => {
      const keys = Object.keys(change).filter((key) => key.startsWith("xaxis."));
      if (!keys.length || place.dataset.follows) { return; }
      const same = Object.fromEntries(keys.map((key) => [key, change[key]]));
      for (const other of document.querySelectorAll(".over-time")) {
        if (other === place) { continue; }
        other.dataset.follows = "yes";
        Plotly.relayout(other, same).finally(() => { delete other.dataset.follows; });
      }
    });
  }
  function themed(layout) {
    const style = getComputedStyle(root), colour = (name) => style.getPropertyValue(name).trim();
    const text = colour("--text"), grid = colour("--grid"), back = colour("--back");
    const all = Object.assign({}, layout, {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", autosize: true,
      font: { color: text, size: 13, family: getComputedStyle(document.body).fontFamily },
      margin: { l: 64, r: 64, t: 36, b: 52 },
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", itemsizing: "constant", itemwidth: 44 },
      hoverlabel: { bgcolor: back, bordercolor: grid, font: { color: text } },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("--faint"), activecolor: text },
    });
    if (layout.shapes) {
      all.shapes = layout.shapes.map((shape) => Object.assign({}, shape, { line: Object.assign({ color: text }, shape.line) }));
    }
    for (const name of Object.keys(all).filter((key) => /^[xy]axis[0-9]*$/.test(key))) {
      all[name] = Object.assign({ gridcolor: grid, linecolor: grid, zerolinecolor: grid, automargin: true }, all[name]);
    }
    // charts over time have equal margins, so that their time axes lie below one another
    if (overTime(layout)) {
      all.xaxis.tickangle = 0;
      if (root.clientWidth < 600) { all.xaxis.nticks = 3; }
      for (const name of ["yaxis", "yaxis2"]) { if (all[name]) { all[name].automargin = false; } }
    }
    return all;
  }
  function draw() {
    return Promise.all(charts.map((chart) => {
      const place = document.getElementById("chart-" + chart.name);
      if (chart.layout.height) { place.style.height = chart.layout.height + "px"; }
      return Plotly.react(place, chart.data, themed(chart.layout), config).then(() => {
        if (overTime(chart.layout) && !place.classList.contains("over-time")) {
          place.classList.add("over-time");
          together(place);
        }
      });
    }));
  }
  // a table that is wider than the page becomes a list of cards: each cell shows the head of its column
  function fit() {
    for (const wide of document.querySelectorAll(".wide")) {
      const table = wide.firstElementChild;
      table.classList.remove("cards");
      if (wide.scrollWidth <= wide.clientWidth + 1) { continue; }
      for (const row of table.tBodies[0].rows) {
        Array.from(row.cells).forEach((cell, place) => { cell.dataset.h = table.tHead.rows[0].cells[place].textContent; });
      }
      table.classList.add("cards");
    }
  }
  fit();
  addEventListener("resize", fit);
  draw().then(() => { root.dataset.drawn = charts.length; });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  addEventListener("beforeprint", () => { root.classList.add("paper"); draw(); });
  addEventListener("afterprint", () => { root.classList.remove("paper"); draw(); });
  for (const head of document.querySelectorAll("th button")) {
    head.addEventListener("click", () => {
      const cell = head.parentElement, body = cell.closest("table").tBodies[0];
      const rising = cell.getAttribute("aria-sort") !== "ascending", place = cell.cellIndex;
      for (const other of cell.parentElement.cells) { other.removeAttribute("aria-sort"); }
      cell.setAttribute("aria-sort", rising ? "ascending" : "descending");
      const plain = (text) => /^-?[0-9,]+(\\.[0-9]+)?$/.test(text) ? text.replaceAll(",", "") : text;
      const value = (row) => row.cells[place].dataset.v ?? plain(row.cells[place].textContent);
      const order = (a, b) => {
        const x = value(a), y = value(b), number = x !== "" && y !== "" && !isNaN(x) && !isNaN(y);
        return (number ? x - y : String(x).localeCompare(String(y))) * (rising ? 1 : -1);
      };
      body.append(...Array.from(body.rows).sort(order));
    });
  }
})();
"""
