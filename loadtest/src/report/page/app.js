// Draws the charts of a report from the record that the page carries. Nothing is fetched.
"use strict";
(() => {
  const record = JSON.parse(document.getElementById("record").textContent);
  const narrow = () => window.innerWidth < 560;
  let printing = false;
  const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // ---- Numbers as people read them ----
  const whole = (n) => n == null ? "" : Math.round(n).toString().replace(/\B(?=(\d{3})+$)/g, ",");
  const short = (n) => {
    if (n == null) return "";
    const at = Math.abs(n);
    if (at >= 1e6) return +(n / 1e6).toFixed(2) + " M";
    if (at >= 1e4) return +(n / 1e3).toFixed(1) + " k";
    return whole(n);
  };
  const time = (us) => {
    if (us == null) return "";
    if (us < 1e3) return +us.toPrecision(3) + " us";
    if (us < 1e6) return +(us / 1e3).toPrecision(3) + " ms";
    return +(us / 1e6).toPrecision(3) + " s";
  };
  const clock = (s) => {
    if (s == null) return "";
    const at = Math.round(s * 10) / 10;
    if (at < 60) return at + " s";
    const rest = Math.round(at % 60);
    return Math.floor(at / 60) + ":" + String(rest).padStart(2, "0");
  };
  const tint = (colour, share) => {
    const rgb = /^#(..)(..)(..)$/.exec(colour).slice(1).map((h) => parseInt(h, 16));
    return "rgba(" + rgb.join(",") + "," + share + ")";
  };

  // ---- What is marked on axes of time: stages below, faults and the sell-out above ----
  function marksOf(run) {
    const marks = run.faults.map((f) => ({ at: f.at_ns / 1e9, text: f.action }));
    const hot = run.stock && run.stock.sku_hot;
    if (hot && hot.sold_out_at_ns != null) marks.push({ at: hot.sold_out_at_ns / 1e9, text: "sold out", calm: true });
    return marks.sort((a, b) => a.at - b.at);
  }
  function marker(run) {
    const marks = marksOf(run);
    const dpr = () => uPlot.pxRatio;
    return { hooks: {
      drawClear: [(u) => {
        const { left, top, width, height } = u.bbox;
        u.ctx.save();
        u.ctx.beginPath();
        u.ctx.rect(left, top, width, height);
        u.ctx.clip();
        u.ctx.font = 11 * dpr() + "px system-ui, sans-serif";
        run.stages.forEach((stage, i) => {
          const from = u.valToPos(stage.from_ns / 1e9, "x", true), to = u.valToPos(stage.to_ns / 1e9, "x", true);
          if (i % 2 === 0) { u.ctx.fillStyle = ink("--band"); u.ctx.fillRect(from, top, to - from, height); }
          u.ctx.fillStyle = ink("--soft");
          u.ctx.textAlign = "left";
          u.ctx.textBaseline = "top";
          const room = Math.min(to, left + width) - Math.max(from, left);
          if (u.ctx.measureText(stage.name).width + 8 * dpr() < room)
            u.ctx.fillText(stage.name, Math.max(from, left) + 4 * dpr(), top + 3 * dpr());
        });
        u.ctx.restore();
      }],
      draw: [(u) => {
        const { left, top, width, height } = u.bbox;
        u.ctx.save();
        u.ctx.font = "600 " + 11 * dpr() + "px system-ui, sans-serif";
        let row = 0, last = -Infinity;
        for (const mark of marks) {
          const x = u.valToPos(mark.at, "x", true);
          if (x < left - 1 || x > left + width + 1) continue;
          u.ctx.strokeStyle = u.ctx.fillStyle = ink(mark.calm ? "--soft" : "--mark");
          u.ctx.lineWidth = 1.5 * dpr();
          u.ctx.setLineDash([4 * dpr(), 3 * dpr()]);
          u.ctx.beginPath();
          u.ctx.moveTo(x, top);
          u.ctx.lineTo(x, top + height);
          u.ctx.stroke();
          const text = u.ctx.measureText(mark.text).width, right = x + text + 10 * dpr() < left + width;
          row = x - last < text + 14 * dpr() ? row + 1 : 0;
          last = x;
          u.ctx.textAlign = right ? "left" : "right";
          u.ctx.textBaseline = "top";
          u.ctx.fillText(mark.text, x + (right ? 4 : -4) * dpr(), top + (18 + 14 * row) * dpr());
        }
        u.ctx.restore();
      }],
    } };
  }

  // ---- Charts ----
  const drawn = [];
  function size(el) {
    return { width: Math.max(240, Math.floor(printing ? Math.min(el.clientWidth, 690) : el.clientWidth)), height: printing ? 190 : narrow() ? 210 : 250 };
  }
  const SECONDS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200];
  // Powers of ten only: more lines on a logarithmic axis hide the curves.
  const decades = (u, i, min, max) => {
    const found = [];
    for (let e = Math.ceil(Math.log10(min) - 1e-9); e <= Math.log10(max) + 1e-9; e += 1) found.push(+("1e" + e));
    return found;
  };
  function axis(values, wide, more) {
    return Object.assign({
      stroke: ink("--soft"), grid: { stroke: ink("--grid"), width: 1 }, ticks: { stroke: ink("--grid"), width: 1, size: 4 },
      font: "11.5px system-ui, sans-serif", values: (u, splits) => splits.map((v) => v == null ? "" : values(v)), size: wide, gap: 4,
    }, more);
  }
  function line(label, colour, value, more) {
    return Object.assign({ label, stroke: ink(colour), width: 1.75, points: { show: false }, value: (u, v) => value(v) }, more);
  }
  function draw(el, opts, data) {
    el.replaceChildren();
    const chart = new uPlot(Object.assign({ ...size(el), padding: [8, 22, 0, 0], legend: { markers: { dash: (u, i) => u.series[i].dash ? "dashed" : "solid" } } }, opts), data, el);
    drawn.push(chart);
  }
  // The least and the greatest; as arguments of one call, a day of seconds would be too many.
  function range(data) {
    let low = Infinity, high = -Infinity;
    for (const v of data) if (v != null) { low = Math.min(low, v); high = Math.max(high, v); }
    return [low, high];
  }
  function overTime(el, run, x, lines, opts) {
    const log = opts && opts.log;
    const values = opts && opts.time ? time : short;
    const all = lines.map((l) => range(l.data));
    const lowest = range(all.map(([low]) => low))[0], highest = range(all.map(([, high]) => high))[1];
    const bounds = log ? [lowest, highest] : [0, Math.max(1, highest)];
    const y = log
      ? { distr: 3, range: [10 ** Math.floor(Math.log10(Math.max(1, bounds[0]))), 10 ** Math.ceil(Math.log10(Math.max(10, bounds[1] * 1.01)))] }
      : { range: [0, bounds[1] * 1.3] };
    draw(el, {
      cursor: { sync: { key: "time" }, drag: { x: true, y: false } },
      scales: { x: { time: false, range: [x[0] || 0, Math.max(1, x[x.length - 1])] }, y },
      axes: [axis(clock, 30, { incrs: SECONDS }), axis(values, 58, log ? { splits: decades, filter: (u, splits) => splits } : {})],
      series: [{ label: "time", value: (u, v) => clock(v) }, ...lines.map((l) => line(l.label, l.colour, l.value || (opts && opts.time ? time : whole), l.more))],
      bands: opts && opts.bands, plugins: run ? [marker(run)] : [],
    }, [x, ...lines.map((l) => l.data)]);
  }
  // Areas on top of each other: the first is the lowest. The legend tells each alone.
  function stacked(el, run, x, parts) {
    const shown = parts.filter((p) => p.data.some((v) => v));
    const sums = x.map(() => 0);
    const tops = shown.map((part) => part.data.map((v, i) => (sums[i] += v || 0)));
    const lines = shown.map((part, i) => ({
      label: part.label, colour: part.colour, data: tops[i],
      more: { width: 1, fill: tint(ink(part.colour), part.share || 0.45), value: (u, v, s, at) => whole(at == null ? null : part.data[at]) },
    }));
    // uPlot paints in the order of series: the highest first, so that lower ones lie over it.
    overTime(el, run, x, lines.reverse(), {
      bands: lines.slice(1).map((_, i) => ({ series: [i + 1, i + 2] })),
    });
  }
  function spectrum(el, curves) {
    const tables = curves.map((c) => {
      const points = c.spectrum.curve.map(([q, ns]) => [q < 1 ? 1 / (1 - q) : Math.max(c.spectrum.count, 1.5), Math.max(ns, 1) / 1e3]);
      const kept = points.filter((p, i) => i === 0 || p[0] > points[i - 1][0]);
      return [kept.map((p) => p[0]), kept.map((p) => p[1])];
    });
    const data = uPlot.join(tables);
    const far = Math.max(10, data[0][data[0].length - 1]);
    const [lowest, highest] = range(data.slice(1).flat());
    const percent = (v) => {
      const q = 100 * (1 - 1 / v), nines = Math.max(0, Math.round(Math.log10(v)) - 2);
      return (v <= 1 ? "0" : q.toFixed(nines)) + " %";
    };
    draw(el, {
      cursor: { drag: { x: true, y: false } },
      scales: {
        x: { time: false, distr: 3, range: [1, far] },
        y: { distr: 3, range: [10 ** Math.floor(Math.log10(Math.max(0.1, lowest))), 10 ** Math.ceil(Math.log10(Math.max(10, highest * 1.01)))] },
      },
      axes: [axis(percent, 30, { splits: decades, filter: (u, splits) => splits }), axis(time, 58, { splits: decades, filter: (u, splits) => splits })],
      series: [{ label: "quantile", value: (u, v) => v == null ? "" : (100 * (1 - 1 / v)).toFixed(v < 100 ? 1 : v < 1e4 ? 3 : 5) + " %" },
        ...curves.map((c) => line(c.label, c.colour, time, Object.assign({ spanGaps: true }, c.more)))],
    }, data);
  }

  // ---- What each figure shows ----
  const PALETTE = ["--c1", "--c2", "--c3", "--c4", "--c5", "--c7", "--c6"];
  const nameOf = (g) => ["op", "outcome", "stage", "actor"].filter((t) => g[t]).map((t) => g[t]).join(", ") || "all requests";
  const DASH = { dash: [6, 4] };
  const ofRun = {
    timeline: (el, { run, series: s }) => overTime(el, run, s.second, [
      { label: "users arriving", colour: "--c6", data: s.users, more: { fill: tint(ink("--c6"), 0.16) } },
      { label: "requests sent", colour: "--c1", data: s.sent },
      { label: "accepted", colour: "--c3", data: s.accepted },
    ]),
    stock: (el, { run, series: s }) => stacked(el, run, s.second, [
      { label: "sold", colour: "--c3", data: s.sold, share: 0.6 },
      { label: "reserved", colour: "--c5", data: s.reserved, share: 0.55 },
      { label: "free", colour: "--c1", data: s.available, share: 0.3 },
    ]),
    answers: (el, { run, series: s }) => stacked(el, run, s.second, [
      { label: "accepted", colour: "--c3", data: s.accepted, share: 0.6 },
      { label: "sold out", colour: "--c6", data: s.refused_sold_out },
      { label: "over the limit", colour: "--c5", data: s.refused_limit, share: 0.6 },
      { label: "refused otherwise", colour: "--c4", data: s.refused_other, share: 0.6 },
      { label: "no answer", colour: "--c7", data: s.lost, share: 0.7 },
    ]),
    latency: (el, { run, series: s }) => overTime(el, run, s.second, [
      { label: "99 % from the intended start", colour: "--c2", data: s.intended_p99_us },
      { label: "median from the intended start", colour: "--c2", data: s.intended_p50_us, more: DASH },
      { label: "99 % service time", colour: "--c1", data: s.service_p99_us },
      { label: "median service time", colour: "--c1", data: s.service_p50_us, more: DASH },
    ], { log: true, time: true }),
    spectrum: (el, { run }) => {
      const pick = document.getElementById("spectrum-of");
      const group = run.latency[pick ? +pick.value : 0];
      spectrum(el, [
        { label: "from the intended start", colour: "--c2", spectrum: group.intended },
        { label: "service time", colour: "--c1", spectrum: group.service },
      ]);
    },
    phases: (el, { run }) => {
      const stages = run.latency.filter((g) => g.stage && !g.op && !g.outcome && !g.actor && g.intended.count);
      const order = run.stages.map((s) => s.name);
      stages.sort((a, b) => order.indexOf(a.stage) - order.indexOf(b.stage));
      spectrum(el, stages.map((g, i) => ({ label: g.stage, colour: PALETTE[i % PALETTE.length], spectrum: g.intended, more: i >= PALETTE.length ? DASH : {} })));
    },
    generator: (el, { run, series: s }) => overTime(el, run, s.second, [
      { label: "requests without an answer yet", colour: "--c1", data: s.in_flight },
      { label: "late by the generator's fault", colour: "--c7", data: s.late },
    ]),
    lag: (el, { run }) => spectrum(el, [{ label: "start lag", colour: "--c7", spectrum: run.generator.lag }]),
  };
  function pair(of, options) {
    return (el, { a, b }) => {
      const x = a.series.second.length > b.series.second.length ? a.series.second : b.series.second;
      const fit = (data) => x.map((_, i) => data[i] ?? null);
      overTime(el, a.run, x, [
        { label: "A", colour: "--c1", data: fit(of(a.series)) },
        { label: "B", colour: "--c2", data: fit(of(b.series)) },
      ], options);
    };
  }
  const ofPair = {
    "pair-accepted": pair((s) => s.accepted),
    "pair-latency": pair((s) => s.intended_p99_us, { log: true, time: true }),
    "pair-service": pair((s) => s.service_p99_us, { log: true, time: true }),
    "pair-stock": pair((s) => s.available),
    "pair-spectrum": (el, { a, b }) => spectrum(el, [["A", a, "--c1"], ["B", b, "--c2"]].flatMap(([name, side, colour]) => {
      const all = side.run.latency.find((g) => nameOf(g) === "all requests");
      return all ? [
        { label: name + ", intended start", colour, spectrum: all.intended },
        { label: name + ", service time", colour, spectrum: all.service, more: DASH },
      ] : [];
    })),
  };

  // ---- A search for capacity: figures against the rate, the knee between two dashed lines ----
  function overRate(el, knee, lines, log) {
    const steps = [...knee.steps].sort((a, b) => a.rate - b.rate);
    const x = steps.map((s) => s.rate), data = lines.map((l) => steps.map(l.of));
    const [lowest, highest] = range(data.flat().filter((v) => v > 0)), top = Math.max(1, highest);
    const y = log
      ? { distr: 3, range: [10 ** Math.floor(Math.log10(Math.min(lowest, top))), 10 ** Math.ceil(Math.log10(top * 1.01))] }
      : { range: [0, top * 1.15] };
    const edge = (u, at, text, colour) => {
      if (at == null) return;
      const px = Math.round(u.valToPos(at, "x", true)), right = u.ctx.measureText(text).width + 10 * uPlot.pxRatio;
      u.ctx.strokeStyle = u.ctx.fillStyle = ink(colour);
      u.ctx.beginPath();
      u.ctx.moveTo(px, u.bbox.top);
      u.ctx.lineTo(px, u.bbox.top + u.bbox.height);
      u.ctx.stroke();
      const after = colour === "--c7" && px + right < u.bbox.left + u.bbox.width;
      u.ctx.textAlign = after ? "left" : "right";
      u.ctx.fillText(text, px + (after ? 5 : -5) * uPlot.pxRatio, u.bbox.top + 4 * uPlot.pxRatio + (colour === "--c7" && !after ? 16 * uPlot.pxRatio : 0));
    };
    const marks = { hooks: { draw: [(u) => {
      const { left, top: from, width, height } = u.bbox;
      u.ctx.save();
      u.ctx.font = "600 " + 11 * uPlot.pxRatio + "px system-ui, sans-serif";
      u.ctx.textBaseline = "top";
      u.ctx.lineWidth = 1.5 * uPlot.pxRatio;
      u.ctx.setLineDash([4 * uPlot.pxRatio, 3 * uPlot.pxRatio]);
      edge(u, knee.holds, "holds", "--c3");
      edge(u, knee.fails, "fails", "--c7");
      if (log) for (const bound of knee.asked.bounds) {
        const py = u.valToPos(bound.bound_ns / 1e3, "y", true);
        if (py < from || py > from + height) continue;
        u.ctx.strokeStyle = u.ctx.fillStyle = ink("--soft");
        u.ctx.beginPath();
        u.ctx.moveTo(left, py);
        u.ctx.lineTo(left + width, py);
        u.ctx.stroke();
        u.ctx.textAlign = "left";
        u.ctx.fillText(bound.expression, left + 5 * uPlot.pxRatio, py + 3 * uPlot.pxRatio);
      }
      u.ctx.restore();
    }] } };
    const values = log ? time : short, margin = x.length > 1 ? (x[x.length - 1] - x[0]) * 0.03 : x[0] * 0.1;
    draw(el, {
      cursor: { drag: { x: true, y: false } },
      scales: { x: { time: false, range: [Math.max(0, x[0] - margin), x[x.length - 1] + margin] }, y },
      axes: [axis((v) => short(v) + "/s", 30), axis(values, 58, log ? { splits: decades, filter: (u, splits) => splits } : {})],
      series: [{ label: "customers", value: (u, v) => v == null ? "" : whole(v) + "/s" },
        ...lines.map((l) => line(l.label, l.colour, log ? time : (v) => v == null ? "" : whole(v) + "/s", Object.assign({ points: { show: true, size: 6 } }, l.more)))],
      plugins: [marks],
    }, [x, ...data]);
  }
  const us = (spectrum, of) => (s) => s[spectrum].count ? Math.max(0.1, s[spectrum][of] / 1e3) : null;
  const ofKnee = {
    "knee-latency": (el, { knee }) => overRate(el, knee, [
      { label: "99 % from the intended start", colour: "--c2", of: us("intended", "p99_ns") },
      { label: "median from the intended start", colour: "--c2", of: us("intended", "p50_ns"), more: DASH },
      { label: "99 % service time", colour: "--c1", of: us("service", "p99_ns") },
      { label: "median service time", colour: "--c1", of: us("service", "p50_ns"), more: DASH },
    ], true),
    "knee-rate": (el, { knee }) => overRate(el, knee, [
      { label: "sent", colour: "--c1", of: (s) => s.sent_per_s, more: DASH },
      { label: "answered", colour: "--c3", of: (s) => s.answered_per_s },
    ]),
  };

  function drawAll() {
    while (drawn.length) drawn.pop().destroy();
    const charts = { comparison: ofPair, knee: ofKnee }[record.kind] || ofRun;
    for (const el of document.querySelectorAll("[data-chart]")) {
      // One chart that can't be drawn must not take the others with it.
      try {
        charts[el.dataset.chart](el, record);
      } catch (error) {
        el.textContent = "This chart can't be drawn: " + error.message;
        console.error(error);
      }
    }
    document.documentElement.dataset.charts = String(drawn.length);
  }
  const pick = document.getElementById("spectrum-of");
  if (pick) {
    record.run.latency.forEach((g, i) => {
      if (!g.intended.count) return;
      const option = document.createElement("option");
      option.value = i;
      option.textContent = nameOf(g);
      pick.append(option);
    });
    pick.addEventListener("change", drawAll);
  }
  for (const bar of document.querySelectorAll("[data-share]")) bar.style.width = 100 * Math.min(1, +bar.dataset.share) + "%";
  drawAll();

  let width = window.innerWidth, waiting = 0;
  window.addEventListener("resize", () => {
    if (window.innerWidth === width || printing) return;
    width = window.innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(drawAll, 80);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  window.addEventListener("beforeprint", () => {
    printing = true;
    // Styles of paper are not yet in force here, and canvases take their colours now.
    document.documentElement.classList.add("paper");
    for (const details of document.querySelectorAll("details")) details.open = true;
    drawAll();
  });
  window.addEventListener("afterprint", () => {
    printing = false;
    document.documentElement.classList.remove("paper");
    drawAll();
  });
})();
