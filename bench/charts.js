// The results as pictures: Vega-Lite specifications over the same data, rendered to SVG without a browser.
import { parse, View } from "vega";
import { compile } from "vega-lite";
import { kindsOfCalls } from "./growth.js";
import { spread } from "./statistics.js";

/** @returns {Promise<Record<string, string>>} SVG documents by file name */
export async function drawCharts({ main, peers, growth, postgresGrowth }) {
  const charts = {};
  if (main) charts["throughput.svg"] = await draw(throughput("Apollo Server standalone", main));
  if (peers) charts["peers.svg"] = await draw(throughput("Apollo Server on Express 5, first calls", peers));
  if (growth) charts["growth.svg"] = await draw(growthChart("SQLite", growth));
  if (postgresGrowth) charts["postgres-growth.svg"] = await draw(growthChart("PostgreSQL", postgresGrowth));
  return charts;
}

async function draw(specification) {
  const { spec } = compile({
    $schema: "https://vega.github.io/schema/vega-lite/v6.json",
    background: "white",
    padding: 12,
    ...specification,
    config: {
      font: "Helvetica, Arial, sans-serif",
      title: { fontSize: 15, anchor: "start", offset: 14, subtitleFontSize: 12, subtitlePadding: 5 },
      axis: { labelFontSize: 12, titleFontSize: 12, gridColor: "#e5e5e5", titlePadding: 8 },
      legend: { labelFontSize: 12, labelLimit: 0, title: null, symbolStrokeWidth: 3, rowPadding: 6 },
      header: { labelFontSize: 13 },
      view: { stroke: null },
    },
  });
  const view = new View(parse(spec), { renderer: "none" });
  await view.runAsync(); // a second layout, by the sizes that the first one found
  return view.toSVG();
}

const spreadNote = "Points: medians of interleaved rounds. Bars: minimum to maximum.";

function throughput(title, results) {
  const values = results.map(({ title: trial, connections, samples }) => ({
    trial,
    connections,
    ...spread(samples.map(({ perSecond }) => perSecond)),
  }));
  return {
    title: { text: `${title}: requests per second by connections`, subtitle: spreadNote },
    width: 560,
    height: 360,
    data: { values },
    encoding: {
      x: { field: "connections", type: "ordinal", axis: { labelAngle: 0, title: "connections" } },
      color: {
        ...byTrial(values),
        type: "nominal",
        legend: { orient: "right", labelLimit: 0, symbolType: "stroke" },
      },
    },
    layer: withSpread({ y: "median", title: "requests per second" }),
  };
}

/** Trials keep the order of the table, in the legend and in their colours. */
function byTrial(values) {
  const trials = [...new Set(values.map(({ trial }) => trial))];
  return { field: "trial", sort: trials, scale: { domain: trials, scheme: "tableau10" } };
}

function growthChart(engine, results) {
  const values = results.map(({ kind, keys, records, samples }) => ({
    kind: kindsOfCalls[kind],
    keys: `UUID${keys} keys`,
    records,
    ...spread(samples.map(({ microseconds }) => microseconds)),
  }));
  return {
    title: {
      text: `${engine}: cost of a call by number of stored records`,
      subtitle: `In process, 64 calls at once. ${spreadNote}`,
    },
    data: { values },
    facet: { field: "kind", type: "nominal", title: null, sort: Object.values(kindsOfCalls) },
    spec: {
      width: 300,
      height: 260,
      encoding: {
        x: {
          field: "records",
          type: "quantitative",
          scale: { type: "log" },
          axis: { title: "stored records", format: "~s", values: [1e3, 1e4, 1e5, 1e6, 1e7] },
        },
        color: {
          field: "keys",
          type: "nominal",
          sort: ["UUIDv7 keys", "UUIDv4 keys"],
          legend: { orient: "bottom" },
        },
      },
      layer: withSpread({ y: "median", title: "µs per call" }),
    },
    resolve: { scale: { y: "independent" } },
  };
}

/** The package's own lines are the thick ones. */
const isOwn =
  "indexof(datum.trial || '', 'idempotent,') >= 0 || datum.trial === 'graphql-idempotent' || !datum.trial";

function withSpread({ y, title }) {
  const axis = { field: y, type: "quantitative", title, scale: { zero: true } };
  return [
    {
      mark: { type: "line" },
      encoding: { y: axis, strokeWidth: { condition: { test: isOwn, value: 4 }, value: 1.5 } },
    },
    { mark: { type: "point", filled: true, size: 55, opacity: 1 }, encoding: { y: axis } },
    {
      mark: { type: "rule", strokeWidth: 1.5, opacity: 0.5 },
      encoding: { y: { ...axis, field: "min" }, y2: { field: "max" } },
    },
  ];
}
