// Draws every [data-chart] from its Vega-Lite specification; the table under each chart says the same without scripts.
"use strict";

function theme() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const axis = {
    gridColor: colour("--line"), domainColor: colour("--line"), tickColor: colour("--line"),
    labelColor: colour("--muted"), titleColor: colour("--muted"), titleFontWeight: "normal", labelFontSize: 11,
  };
  return {
    background: "transparent", font: "system-ui, sans-serif", view: { stroke: null }, axis,
    legend: { labelColor: colour("--ink"), titleColor: colour("--muted"), titleFontWeight: "normal" },
    title: { color: colour("--ink") },
  };
}

async function draw(place) {
  try {
    const answer = await fetch(place.dataset.chart, { credentials: "same-origin" });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    await window.vegaEmbed(place, await answer.json(), {
      ast: true, actions: false, renderer: "svg", defaultStyle: false, config: theme(),
      tooltip: { disableDefaultStyle: true },
    });
    place.dataset.drawn = "yes";
  } catch (error) {
    place.textContent = "The chart could not be drawn; its figures are in the table below.";
    console.error(error);
  }
}

async function drawAll() {
  for (const place of document.querySelectorAll("[data-chart]")) await draw(place);
}

drawAll();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
