"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { partitions: P, runs: R, changes: C } = data;
  const fields = (of, names) => names.forEach((n) => { of[n] = of[n] || []; }); // an empty list comes as null
  fields(P, ["name", "values", "live", "rows", "bytes", "files"]);
  fields(R, ["name", "at", "command", "seconds", "touched", "inserted", "updated", "deleted", "bytes", "rows", "size"]);
  fields(C, ["run", "partition", "version", "rows", "size", "inserted", "updated", "deleted", "bytes", "seconds", "gone"]);
  const ROUTES = ["kept", "copied", "patched", "rewritten", "added"];
  const DAY = 86400, PAGE = 25, UNKNOWN = -1, NEITHER = -2;

  // --- Elements: all text gets on the page as text, never as markup.

  const $ = (id) => document.getElementById(id);
  const SVG = "http://www.w3.org/2000/svg";
  function fill(el, attributes, children) {
    for (const [k, v] of Object.entries(attributes || {})) {
      if (k.startsWith("on")) el.addEventListener(k.slice(2), v);
      else if (v === true) el.setAttribute(k, "");
      else if (v !== false && v != null) el.setAttribute(k, v);
    }
    for (const c of children.flat()) if (c != null && c !== "") el.append(c);
    return el;
  }
  const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
  const s = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

  // --- Numbers, sizes, times (UTC, as the command shows them).

  const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
  const short = new Intl.NumberFormat("en-US", { notation: "compact", minimumSignificantDigits: 3, maximumSignificantDigits: 3 });
  const count = (n) => n === UNKNOWN || n == null ? "?" : n === NEITHER ? "–" : whole.format(n);
  const brief = (n) => n === UNKNOWN || n == null ? "?" : n < 10000 ? whole.format(n) : short.format(n);
  const plural = (n, one) => `${count(n)} ${one}${n === 1 ? "" : "s"}`;
  function size(n) {
    if (n === UNKNOWN || n == null) return "?";
    let i = 0;
    for (; n >= 1024 && i < 5; i++) n /= 1024;
    return `${i && n < 10 ? n.toFixed(1) : Math.round(n)} ${["B", "KiB", "MiB", "GiB", "TiB", "PiB"][i]}`;
  }
  function took(sec) {
    if (sec === UNKNOWN || sec == null) return "?";
    if (sec === NEITHER) return "–";
    if (sec < 100) return `${sec.toFixed(sec < 10 ? 2 : 1)} s`;
    const m = Math.round(sec / 60);
    return m < 100 ? `${m} min` : `${Math.floor(m / 60)} h ${m % 60} min`;
  }
  const iso = (t) => new Date(t * 1000).toISOString();
  const day = (t) => iso(t).slice(0, 10);
  const minute = (t) => t > 0 ? iso(t).slice(0, 16).replace("T", " ") : "";
  function ago(t) {
    const d = Math.max(0, data.at - t);
    if (d < 90) return "just now";
    if (d < 5400) return `${Math.round(d / 60)} min ago`;
    if (d < 1.5 * DAY) return `${Math.round(d / 3600)} h ago`;
    if (d < 60 * DAY) return `${Math.round(d / DAY)} days ago`;
    return d < 700 * DAY ? `${Math.round(d / 30.4 / DAY)} months ago` : `${(d / 365.25 / DAY).toFixed(1)} years ago`;
  }
  const shortened = (text) => text.length > 44 ? `${text.slice(0, 20)}…${text.slice(-22)}` : text; // names differ at their ends
  const named = (name) => name === "" ? "(table)" : name;
  const sum = (list) => list.reduce((a, b) => a + Math.max(0, b), 0);
  const say = (text) => { $("say").textContent = text; };

  // --- What is asked for often: a partition's changes, a run's changes, failures.

  const changesOf = P.name.map(() => []);
  const firstChange = new Int32Array(R.name.length + 1).fill(C.run.length);
  for (let c = C.run.length - 1; c >= 0; c--) firstChange[C.run[c]] = c;
  for (let r = R.name.length - 1; r >= 0; r--) if (firstChange[r] > firstChange[r + 1]) firstChange[r] = firstChange[r + 1];
  for (let c = 0; c < C.run.length; c++) changesOf[C.partition[c]].push(c);
  const changed = (c) => Math.max(0, C.inserted[c]) + Math.max(0, C.updated[c]) + Math.max(0, C.deleted[c]);
  const failureOf = (r) => data.failures[r];
  const statusOf = (r) => !failureOf(r) ? "published" : R.touched[r] ? "partly" : "failed";
  const changedAll = new Float64Array(P.name.length), changed30 = new Float64Array(P.name.length);
  const mergedAt = new Float64Array(P.name.length), newest = new Int32Array(P.name.length).fill(-1);
  for (let c = 0; c < C.run.length; c++) {
    const p = C.partition[c], at = R.at[C.run[c]];
    changedAll[p] += changed(c);
    if (at >= data.at - 30 * DAY) changed30[p] += changed(c);
    mergedAt[p] = Math.max(mergedAt[p], at);
    newest[p] = c;
  }
  const indexOf = new Map(P.name.map((n, i) => [n, i]));

  // --- Tooltips, by pointer and by focus; aria-label says the same to readers of the screen.

  const tips = new WeakMap();
  const tip = $("tip");
  function showTip(el, x, y) {
    const rows = tips.get(el)();
    tip.replaceChildren(h("b", null, rows[0]), ...rows.slice(1).map((r) =>
      Array.isArray(r) ? h("div", null, h("span", null, r[0]), h("span", null, r[1])) : h("span", null, r)));
    tip.hidden = false;
    const w = tip.offsetWidth, high = tip.offsetHeight;
    tip.style.left = `${Math.max(8, Math.min(innerWidth - w - 8, x - w / 2))}px`;
    tip.style.top = `${y - high - 12 > 0 ? y - high - 12 : y + 22}px`;
  }
  const hideTip = () => { tip.hidden = true; };
  function tipped(event) {
    let el = event.target;
    while (el && el !== document && !tips.has(el)) el = el.parentNode;
    if (!el || !tips.has(el)) return hideTip();
    const box = el.getBoundingClientRect();
    showTip(el, box.left + box.width / 2, box.top);
  }
  addEventListener("mouseover", tipped);
  addEventListener("focusin", (e) => e.target.matches(":focus-visible") ? tipped(e) : hideTip());
  addEventListener("focusout", hideTip);
  addEventListener("scroll", hideTip, { passive: true });
  addEventListener("keydown", (e) => { if (e.key === "Escape") hideTip(); });

  // --- Light and dark.

  const system = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;
  let wish = "auto";
  try { wish = localStorage.getItem("hupsert-report-theme") || "auto"; } catch { /* a page from a file may have no storage */ }
  const paint = () => { root.dataset.theme = wish === "auto" ? (system.matches ? "dark" : "light") : wish; };
  for (const radio of $("theme").querySelectorAll("input")) {
    radio.checked = radio.value === wish;
    radio.addEventListener("change", () => {
      wish = radio.value;
      try { localStorage.setItem("hupsert-report-theme", wish); } catch { /* the same */ }
      paint();
    });
  }
  system.addEventListener("change", paint);
  addEventListener("beforeprint", () => { root.dataset.theme = "light"; });
  addEventListener("afterprint", paint);
  paint();

  // --- Head.

  const live = P.name.map((_, i) => i).filter((i) => P.live[i]);
  const unread = live.filter((i) => data.partitions.unavailable[i] != null);
  const rowsNow = sum(live.map((i) => P.rows[i])), bytesNow = sum(live.map((i) => P.bytes[i])), filesNow = sum(live.map((i) => P.files[i]));
  const published = R.name.map((_, r) => r).filter((r) => R.touched[r]);
  const failed = R.name.map((_, r) => r).filter((r) => failureOf(r));
  const last = published.length ? published[published.length - 1] : -1;

  function head() {
    $("name").append(...data.table.split(/(?<=\/)/).flatMap((part) => [part, h("wbr")]));
    const by = data.columns.map((c) => `${c.name} ${c.type}`).join(", ");
    $("about").textContent = `${by ? `Partitioned by ${by}` : "Without partitions"} · as of ${minute(data.at)} UTC`;
    const recent = failed.filter((r) => R.at[r] >= data.at - 30 * DAY).length;
    const figure = (label, value, note, cls) => h("div", null, h("dt", null, label), h("dd", null, value), h("dd", { class: cls }, note));
    $("figures").append(
      figure("Rows", brief(rowsNow), rowsNow >= 10000 ? count(rowsNow) : "in all"),
      figure("Size", size(bytesNow), plural(filesNow, "file")),
      figure("Partitions", count(live.length), unread.length ? `${count(unread.length)} can't be read` : `${count(live.filter((i) => mergedAt[i]).length)} changed by runs`, unread.length ? "bad" : null),
      figure("Last change", last < 0 ? "none" : ago(R.at[last]), last < 0 ? "no run so far" : minute(R.at[last])),
      figure("Runs", count(R.name.length), recent ? `${count(recent)} failed in 30 days` : failed.length ? `${count(failed.length)} failed, none in 30 days` : "none failed", recent ? "bad" : null));
    const notices = $("notices");
    const final = R.name.length - 1;
    if (final >= 0 && failureOf(final)) notices.append(failureBox(failureOf(final), "notice bad", `The last run failed, ${minute(R.at[final])} UTC: `));
    for (const st of data.staged) {
      notices.append(h("p", { class: "notice" }, h("b", null, "A run is staged and waits: "),
        `${st.run}, ${plural(st.partitions, "partition")}, ${plural(st.rows, "row")}. `, h("span", { class: "hint" }, `hupsert publish ${data.table} --run ${st.run}`)));
    }
    if (data.left) notices.append(h("p", { class: "notice" }, `The oldest ${count(data.left)} changes of single partitions are not on this page; the sums of their runs are.`));
    if (!R.name.length) {
      $("empty").hidden = false;
      $("try").textContent = `hupsert upsert ${data.table} --from new.parquet`;
      $("time").hidden = $("runs").hidden = true;
    }
    $("foot").textContent = `Times are UTC. Seconds of a run are until all was verified, before the publish. What runs did before it was kept shows as “?”.`;
  }

  function failureBox(f, cls, lead) {
    const box = h(cls === "failure" ? "div" : "p", { class: cls }, h("b", null, lead || ""), f.message || f.kind || "failed");
    if (f.hint) box.append(" ", h("span", { class: "hint" }, `(${f.hint})`));
    return box;
  }

  // --- Calendar, or a grid where partitions are of no date.

  const isDate = (v) => /^\d{4}-\d{2}-\d{2}$/.test(v) || /^\d{8}$/.test(v);
  const asDate = (v) => v.length === 8 ? `${v.slice(0, 4)}-${v.slice(4, 6)}-${v.slice(6)}` : v;
  const valid = (d) => { const t = Date.parse(`${d}T00:00:00Z`); return !isNaN(t) && iso(t / 1000).slice(0, 10) === d; };

  // dater gives the date of a partition, or is null where the table has no dates.
  function dater() {
    for (let k = 0; k < data.columns.length; k++) {
      const own = P.values.filter((v) => v[k] !== "NULL" && v[k] != null);
      if (own.length && own.every((v) => isDate(v[k]) && valid(asDate(v[k])))) return (i) => P.values[i][k] === "NULL" ? null : asDate(P.values[i][k]);
    }
    const at = (...names) => data.columns.findIndex((c) => names.includes(c.name.toLowerCase()));
    const y = at("year", "yyyy", "y"), m = at("month", "mm", "m"), d = at("day", "dd", "d");
    if (y < 0 || m < 0 || d < 0) return null;
    const of = (i) => { const v = P.values[i]; return `${v[y].padStart(4, "0")}-${v[m].padStart(2, "0")}-${v[d].padStart(2, "0")}`; };
    return P.values.length && P.values.every((_, i) => valid(of(i))) ? of : null;
  }

  const measures = {
    changed: { of: (list) => sum(list.map((i) => changedAll[i])), text: (v) => `${count(v)} rows changed` },
    changed30: { of: (list) => sum(list.map((i) => changed30[i])), text: (v) => `${count(v)} rows changed in 30 days` },
    merged: { of: (list) => Math.max(...list.map((i) => mergedAt[i])), text: (v) => v ? `last merge ${minute(v)}` : "never merged" },
    rows: { of: (list) => sum(list.map((i) => P.rows[i])), text: (v) => `${count(v)} rows` },
    bytes: { of: (list) => sum(list.map((i) => P.bytes[i])), text: (v) => size(v) },
  };
  const AGES = [[1, "a day"], [7, "7 days"], [30, "30 days"], [90, "90 days"]];

  // levels gives a function from a value to 0..5, and its legend.
  function levels(kind, values) {
    if (kind === "merged") {
      const of = (v) => !v ? 0 : 5 - AGES.filter(([d]) => data.at - v > d * DAY).length;
      return { of, legend: [[0, "never"], [1, "longer ago"], ...AGES.map(([, t], k) => [5 - k, `within ${t}`]).reverse()] };
    }
    const show = kind === "bytes" ? size : brief;
    const sorted = values.filter((v) => v > 0).sort((a, b) => a - b);
    if (!sorted.length) return { of: () => 0, legend: [[0, kind.startsWith("changed") ? "nothing changed" : "empty"]] };
    const cuts = [.2, .4, .6, .8].map((q) => sorted[Math.floor(q * (sorted.length - 1))]);
    const of = (v) => v <= 0 ? 0 : 1 + cuts.filter((c) => v > c).length;
    const tops = [...cuts, sorted[sorted.length - 1]];
    const used = new Set(sorted.map(of));
    return { of, legend: [[0, "0"], ...tops.map((t, k) => [k + 1, `≤ ${show(t)}`]).filter(([l]) => used.has(l))] };
  }

  // A cell stands for some partitions: all of a day, or one of a grid.
  let cells = [];
  function cell(list, title, filter) {
    const el = h("button", { type: "button", class: "c on", role: "gridcell", tabindex: "-1" });
    const bad = list.some((i) => unavailable(i));
    cells.push({ el, list, title, bad });
    tips.set(el, () => [title, ...(list.length > 1 ? [["partitions", count(list.length)]] : []),
      ["rows", count(measures.rows.of(list))], ["size", size(measures.bytes.of(list))], ["changed", count(measures.changed.of(list))],
      ["last merge", minute(measures.merged.of(list)) || "never"], ...(bad ? ["can't be read"] : []), ...(list.every((i) => !P.live[i]) ? ["is gone"] : [])]);
    el.addEventListener("click", () => showPartitions(filter));
    return el;
  }
  const unavailable = (i) => data.partitions.unavailable[i] != null;

  function shade() {
    const kind = $("shade").value, m = measures[kind];
    const values = cells.map((c) => m.of(c.list));
    const scale = levels(kind, values);
    cells.forEach((c, k) => {
      c.el.className = `c on l${scale.of(values[k])}${c.bad ? " warn" : ""}`;
      c.el.setAttribute("aria-label", `${c.title}: ${m.text(values[k])}${c.list.length > 1 ? `, ${c.list.length} partitions` : ""}${c.bad ? ", can't be read" : ""}`);
    });
    $("legend").replaceChildren(...scale.legend.map(([l, t]) => h("span", null, h("i", { class: `c on l${l}` }), t)),
      ...(cells.some((c) => c.bad) ? [h("span", null, h("i", { class: "c on warn" }), "can't be read")] : []));
  }

  // rove makes a grid one stop of the tab key, within which arrows move.
  function rove(grid, step) {
    const own = [...grid.querySelectorAll(".on")];
    if (!own.length) return;
    let current = own[own.length - 1];
    current.tabIndex = 0;
    grid.addEventListener("focusin", (e) => {
      if (!e.target.classList.contains("on")) return;
      current.tabIndex = -1;
      current = e.target;
      current.tabIndex = 0;
    });
    grid.addEventListener("keydown", (e) => {
      const to = { Home: () => own[0], End: () => own[own.length - 1] }[e.key] || (/^Arrow/.test(e.key) ? () => step(current, e.key) : null);
      if (!to) return;
      e.preventDefault();
      const next = to();
      if (next) next.focus({ focusVisible: true });
    });
  }

  const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
  const DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

  function year(y, days) {
    const start = Date.UTC(y, 0, 1) / 1000, first = (new Date(start * 1000).getUTCDay() + 6) % 7; // Monday is 0
    const length = (Date.UTC(y + 1, 0, 1) / 1000 - start) / DAY;
    const at = new Map(), place = new Map();
    const months = h("div", { class: "months", "aria-hidden": "true" });
    const weeks = DAYS.map((d, k) => h("div", { class: "week", role: "row" }, h("i", { role: "rowheader" }, k % 2 ? "" : d)));
    for (let w = 0; w < 54; w++) {
      for (let d = 0; d < 7; d++) {
        const n = w * 7 + d - first;
        if (n < 0 || n >= length) { weeks[d].append(h("div", { "aria-hidden": "true" })); continue; }
        const date = day(start + n * DAY), list = days.get(date);
        const el = list ? cell(list, date, `${filterName(list[0], date)}`) : h("div", { class: "c no", "aria-hidden": "true" });
        if (list) { at.set(n, el); place.set(el, n); }
        weeks[d].append(el);
      }
    }
    MONTHS.forEach((m, k) => {
      const w = Math.floor(((Date.UTC(y, k, 1) / 1000 - start) / DAY + first + (k ? 6 : 0)) / 7);
      const span = h("span", null, m);
      span.style.left = `${(w / 54) * 100}%`;
      months.append(span);
    });
    const grid = h("div", { role: "grid", "aria-label": `${y}, a column for each week` }, weeks);
    rove(grid, (from, key) => {
      const by = { ArrowUp: -1, ArrowDown: 1, ArrowLeft: -7, ArrowRight: 7 }[key];
      for (let n = place.get(from) + by; n >= 0 && n < length; n += by) if (at.has(n)) return at.get(n);
      return null;
    });
    return h("div", { class: "year" }, h("h3", null, String(y)), h("div", { class: "strip" }, h("div", { class: "inner" }, months, grid)));
  }

  // filterName is what finds the partitions of a date in their table.
  function filterName(i, date) {
    const k = P.values[i].findIndex((v) => v !== "NULL" && isDate(v) && asDate(v) === date);
    return k >= 0 ? `${data.columns[k].name}=${P.values[i][k]}` : P.name[i].split("/").slice(0, 3).join(" ");
  }

  function calendar(dateOf) {
    const days = new Map(), others = [];
    P.name.forEach((_, i) => {
      const d = dateOf(i);
      if (d == null) others.push(i);
      else if (days.has(d)) days.get(d).push(i);
      else days.set(d, [i]);
    });
    const years = [...new Set([...days.keys()].map((d) => d.slice(0, 4)))].sort().reverse();
    const draw = (list) => {
      for (const y of list) {
        const block = year(Number(y), days), strip = block.querySelector(".strip");
        $("cells").append(block);
        const own = [...strip.querySelectorAll(".on")];
        strip.scrollLeft = Math.max(...own.map((e) => e.offsetLeft)) - strip.clientWidth * .85; // where it is narrow
      }
    };
    draw(years.slice(0, 2));
    if (others.length) $("cells").append(squares([["NULL", others]]));
    folded(years.slice(2), (list) => draw(list), (n) => `Show ${n} earlier year${n === 1 ? "" : "s"}`);
  }

  function folded(rest, draw, label) {
    const button = $("more-cells");
    if (!rest.length) return;
    button.hidden = false;
    button.textContent = label(rest.length);
    button.addEventListener("click", () => { button.hidden = true; draw(rest); shade(); say("Shown"); }, { once: true });
  }

  function squares(groups) {
    const grid = h("div", { class: "grid", role: "grid", "aria-label": "Partitions" });
    for (const [label, list] of groups) {
      const row = h("div", { class: "squares", role: "row", "aria-label": label }, list.map((i) => cell([i], named(P.name[i]), P.name[i])));
      if (groups.length === 1 && !label) row.style.gridColumn = "1 / -1";
      else grid.append(h("h3", { title: label }, label));
      grid.append(row);
    }
    const rows = [...grid.querySelectorAll(".squares")].map((r) => [...r.children]);
    rove(grid, (from, key) => {
      const r = rows.findIndex((row) => row.includes(from)), k = rows[r].indexOf(from);
      const flat = rows.flat(), n = flat.indexOf(from);
      if (key === "ArrowLeft") return flat[n - 1];
      if (key === "ArrowRight") return flat[n + 1];
      const x = from.offsetLeft, y = from.offsetTop, down = key === "ArrowDown";
      const seek = down ? flat.slice(n + 1).find((e) => e.offsetTop > y && e.offsetLeft >= x)
        : flat.slice(0, n).reverse().find((e) => e.offsetTop < y && e.offsetLeft <= x);
      return seek || (down ? (rows[r + 1] || [])[k] : (rows[r - 1] || [])[k]);
    });
    return grid;
  }

  function draw() {
    $("calendar").hidden = !P.name.length || !data.columns.length;
    if ($("calendar").hidden) return;
    const dateOf = dater();
    if (dateOf) calendar(dateOf);
    else {
      $("calendar-title").textContent = "Grid of partitions";
      document.querySelector('nav a[href="#calendar"]').textContent = "Grid";
      const groups = new Map();
      P.values.forEach((v, i) => {
        const label = v.length > 1 ? v.slice(0, -1).map((x, k) => `${data.columns[k].name}=${x}`).join(" ") : "";
        if (groups.has(label)) groups.get(label).push(i); else groups.set(label, [i]);
      });
      const order = new Intl.Collator("en", { numeric: true }).compare;
      const list = [...groups].sort((a, b) => order(a[0], b[0]));
      const k = data.columns.length - 1;
      for (const [, l] of list) l.sort((a, b) => order(P.values[a][k] || "", P.values[b][k] || ""));
      $("cells").append(squares(list.slice(0, 60)));
      folded(list.slice(60), (rest) => $("cells").append(squares(rest)), (n) => `Show ${count(n)} more`);
    }
    $("shade").value = C.run.length ? "changed" : "rows";
    $("shade").addEventListener("change", shade);
    shade();
  }

  // --- Over time.

  function ticks(low, high, n) {
    const raw = (high - low) / n || 1, power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 2.5, 5, 10].map((f) => f * power).find((f) => f >= raw);
    const out = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-6; k++) out.push(k * step || 0);
    return out;
  }
  function binaryTicks(low, high, n) {
    let unit = 1;
    while (high / unit >= 1024) unit *= 1024;
    return ticks(low / unit, high / unit, n).map((t) => t * unit);
  }

  // exact writes values of an axis with as many digits as tell them apart.
  function exact(values, format) {
    const [of, units] = format === size ? [1024, ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]] : [1000, ["", "K", "M", "G", "T"]];
    const top = Math.max(...values, 1), k = Math.min(units.length - 1, Math.floor(Math.log(top * 1.0001) / Math.log(of)));
    for (let digits = 0; digits < 6; digits++) {
      const texts = values.map((v) => v === 0 ? format(0) : `${(v / of ** k).toFixed(digits)}${format === size ? " " : ""}${units[k]}`);
      if (values.every((v, i) => Math.abs(parseFloat(texts[i]) * of ** k - v) <= Math.abs(v) * 1e-9 || digits && new Set(texts).size === texts.length)) return texts;
    }
    return values.map(format);
  }

  const frame = (host) => ({ w: Math.max(280, host.clientWidth), left: 58, right: 8, top: 8, bottom: 22 });
  function timeAxis(svg, f, from, to, high) {
    const n = Math.max(2, Math.floor((f.w - f.left - f.right) / 130));
    for (let k = 0; k <= n; k++) {
      const t = from + ((to - from) * k) / n, x = f.left + ((f.w - f.left - f.right) * k) / n;
      svg.append(s("text", { x, y: high - 5, "text-anchor": k === 0 ? "start" : k === n ? "end" : "middle" }, to - from > 2 * DAY ? day(t) : iso(t).slice(11, 16)));
    }
  }
  function valueAxis(svg, f, values, y, text) {
    const texts = exact(values, text);
    for (const [k, v] of values.entries()) {
      svg.append(s("line", { class: "rule", x1: f.left, x2: f.w - f.right, y1: Math.round(y(v)) + .5, y2: Math.round(y(v)) + .5 }),
        s("text", { x: f.left - 8, y: y(v) + 4, "text-anchor": "end" }, texts[k]));
    }
  }

  function since() {
    const days = Number($("period").value);
    return days ? data.at - days * DAY : Math.min(R.at.length ? R.at[0] : data.at, data.at - 14 * DAY);
  }

  // points are the table's size after each run of the period, as many as can be told apart.
  function points(values, from, start, most) {
    const list = [];
    let before = -1;
    for (const r of published) {
      if (R.at[r] < from) { before = r; continue; }
      list.push([R.at[r], values[r]]);
    }
    if (before >= 0) list.unshift([from, values[before]]);
    else if (list.length && start) list.unshift([from, start]);
    if (list.length) list.push([data.at, list[list.length - 1][1]]);
    if (list.length <= most) return list;
    const out = [];
    for (let k = 0; k < most; k++) out.push(list[Math.round((k * (list.length - 1)) / (most - 1))]);
    return out;
  }

  // steer lets pointer and arrow keys walk over a chart.
  function steer(svg, length, xOf, show, tell) {
    let at = length - 1;
    const move = (k) => {
      at = Math.max(0, Math.min(length - 1, k));
      show(at);
      const box = svg.getBoundingClientRect();
      tips.set(svg, () => tell(at));
      showTip(svg, box.left + (xOf(at) * box.width) / svg.viewBox.baseVal.width, box.top + 8);
    };
    svg.addEventListener("mousemove", (e) => {
      const box = svg.getBoundingClientRect(), x = ((e.clientX - box.left) * svg.viewBox.baseVal.width) / box.width;
      let best = 0;
      for (let k = 1; k < length; k++) if (Math.abs(xOf(k) - x) < Math.abs(xOf(best) - x)) best = k;
      move(best);
    });
    svg.addEventListener("mouseleave", () => { show(-1); hideTip(); });
    svg.addEventListener("blur", () => show(-1));
    svg.addEventListener("keydown", (e) => {
      const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: length - 1 }[e.key];
      if (to == null) return;
      e.preventDefault();
      move(to);
      say(tell(at).map((r) => Array.isArray(r) ? r.join(" ") : r).join(", "));
    });
  }

  function lineChart(host, title, values, begin, text, axis) {
    const from = since(), f = frame(host), high = 170;
    const list = points(values, from, begin, Math.floor(f.w));
    host.replaceChildren();
    if (!list.length) { host.append(h("p", { class: "none" }, "No run was published in this period.")); return; }
    const start = Math.min(from, list[0][0]), to = Math.max(data.at, start + 1);
    let low = Math.min(...list.map((p) => p[1])), top = Math.max(...list.map((p) => p[1]));
    const zero = low < top * .7 || top === 0;
    if (zero) low = 0; else { const room = (top - low) * .25 || top * .05; low -= room; top += room; }
    const x = (t) => f.left + ((t - start) / (to - start)) * (f.w - f.left - f.right);
    const y = (v) => high - f.bottom - ((v - low) / (top - low || 1)) * (high - f.bottom - f.top);
    const svg = s("svg", { viewBox: `0 0 ${f.w} ${high}`, role: "img", tabindex: "0",
      "aria-label": `${title} over time: ${text(list[0][1])} on ${day(list[0][0])}, ${text(list[list.length - 1][1])} on ${day(to)}. Arrow keys walk through it.` });
    valueAxis(svg, f, axis(low, top, 4), y, text);
    timeAxis(svg, f, start, to, high);
    let path = `M${x(list[0][0]).toFixed(1)} ${y(list[0][1]).toFixed(1)}`;
    for (const [t, v] of list.slice(1)) path += `H${x(t).toFixed(1)}V${y(v).toFixed(1)}`;
    if (zero) svg.append(s("path", { class: "area", d: `${path}V${y(0).toFixed(1)}H${x(list[0][0]).toFixed(1)}Z` }));
    svg.append(s("path", { class: "line", d: path }));
    const cross = s("line", { class: "cross", y1: f.top, y2: high - f.bottom, visibility: "hidden" });
    const dot = s("circle", { class: "dot", r: 4, visibility: "hidden" });
    svg.append(cross, dot);
    steer(svg, list.length, (k) => x(list[k][0]), (k) => {
      for (const el of [cross, dot]) el.setAttribute("visibility", k < 0 ? "hidden" : "visible");
      if (k < 0) return;
      fill(cross, { x1: x(list[k][0]), x2: x(list[k][0]) }, []);
      fill(dot, { cx: x(list[k][0]), cy: y(list[k][1]) }, []);
    }, (k) => [`${minute(list[k][0])}`, [title.toLowerCase(), text(list[k][1])]]);
    host.append(svg);
  }

  const KINDS = ["inserted", "updated", "deleted"];
  function barChart(host) {
    const from = since(), to = data.at, f = frame(host), high = 180;
    host.replaceChildren();
    const days = Math.max(1, (to - from) / DAY), width = DAY * ([1, 7, 28, 91].find((d) => days / d <= 100) || 365);
    const origin = Math.floor(from / DAY) * DAY, n = Math.max(1, Math.ceil((to - origin) / width));
    const bins = Array.from({ length: n }, () => ({ inserted: 0, updated: 0, deleted: 0, runs: 0, failed: 0 }));
    R.at.forEach((t, r) => {
      if (t < origin || t > to) return;
      const b = bins[Math.min(n - 1, Math.floor((t - origin) / width))];
      b.runs++;
      if (failureOf(r)) b.failed++;
      for (const k of KINDS) b[k] += Math.max(0, R[k][r]);
    });
    const top = Math.max(1, ...bins.map((b) => b.inserted + b.updated + b.deleted));
    const x = (k) => f.left + (k / n) * (f.w - f.left - f.right), y = (v) => high - f.bottom - 10 - (v / top) * (high - f.bottom - 10 - f.top);
    const all = Object.fromEntries(KINDS.map((k) => [k, sum(bins.map((b) => b[k]))])), lost = sum(bins.map((b) => b.failed));
    const svg = s("svg", { viewBox: `0 0 ${f.w} ${high}`, role: "img", tabindex: "0",
      "aria-label": `Rows changed over time: ${KINDS.map((k) => `${count(all[k])} ${k}`).join(", ")}; ${plural(lost, "failed run")}. Arrow keys walk through it.` });
    valueAxis(svg, f, ticks(0, top, 3), y, count);
    timeAxis(svg, f, origin, to, high);
    const band = s("rect", { class: "band", y: f.top, height: high - f.bottom - f.top, visibility: "hidden" });
    svg.append(band);
    bins.forEach((b, k) => {
      let v = 0;
      const step = x(k + 1) - x(k), w = Math.min(28, Math.max(1, step - Math.min(2, step * .25))), left = x(k) + (step - w) / 2;
      for (const kind of ["updated", "inserted", "deleted"]) {
        if (!b[kind]) continue;
        svg.append(s("rect", { class: kind, x: left.toFixed(1), width: w.toFixed(1), y: y(v + b[kind]).toFixed(1), height: Math.max(.5, y(v) - y(v + b[kind])).toFixed(1) }));
        v += b[kind];
      }
      if (b.failed) svg.append(s("circle", { class: "failed", cx: left + w / 2, cy: high - f.bottom - 3, r: 2.75 }));
    });
    $("change-legend").replaceChildren(...KINDS.map((k) => h("span", null, h("i", { class: `key ${k}` }), `${brief(all[k])} ${k}`)),
      ...(lost ? [h("span", null, h("i", { class: "key failed" }), plural(lost, "failed run"))] : []));
    steer(svg, n, (k) => (x(k) + x(k + 1)) / 2, (k) => {
      band.setAttribute("visibility", k < 0 ? "hidden" : "visible");
      if (k >= 0) fill(band, { x: x(k), width: x(k + 1) - x(k) }, []);
    }, (k) => {
      const b = bins[k], a = origin + k * width, z = Math.min(to, a + width - 1);
      return [width === DAY ? day(a) : `${day(a)} – ${day(z)}`, ...KINDS.map((kind) => [kind, count(b[kind])]), ["runs", count(b.runs)], ...(b.failed ? [["failed", count(b.failed)]] : [])];
    });
    host.append(svg);
  }

  function overTime() {
    if ($("time").hidden) return;
    $("rows-now").textContent = count(rowsNow);
    $("size-now").textContent = size(bytesNow);
    lineChart($("rows-chart"), "Rows", R.rows, data.start[0], count, ticks);
    lineChart($("size-chart"), "Size", R.size, data.start[1], size, binaryTicks);
    barChart($("change-chart"));
  }

  // --- Tables: sorted, filtered, a page at a time.

  function listing(o) {
    const table = $(`${o.id}-table`), pager = $(`${o.id}-pager`);
    const state = { sort: o.sort, down: o.down, page: 0, open: new Set(), list: [] };
    const body = h("tbody");
    const heads = o.columns.map((c) => {
      const button = h("button", { type: "button", onclick: () => {
        if (state.sort === c.key) state.down = !state.down; else { state.sort = c.key; state.down = !!c.number; }
        state.page = 0;
        update();
        say(`Sorted by ${c.title}, ${state.down ? "descending" : "ascending"}`);
      } }, c.title);
      return h("th", { scope: "col", class: c.number ? "n" : null }, button);
    });
    table.append(h("caption", { class: "hidden" }, o.caption), h("thead", null, h("tr", null, heads)), body);

    const words = () => $(`${o.id}-filter`).value.toLowerCase().split(/\s+/).filter(Boolean);
    function update() {
      const want = words(), which = o.select.value;
      state.list = o.all.filter((i) => o.matches(i, which) && want.every((w) => o.text(i).includes(w)));
      const c = o.columns.find((k) => k.key === state.sort), dir = state.down ? -1 : 1;
      const keys = new Map(state.list.map((i) => [i, c.of(i)]));
      state.list.sort((a, b) => {
        const x = keys.get(a), y = keys.get(b);
        return dir * ((typeof x === "string" ? o.order(x, y) : x - y) || a - b);
      });
      page();
    }
    function page() {
      const pages = Math.max(1, Math.ceil(state.list.length / PAGE));
      state.page = Math.max(0, Math.min(pages - 1, state.page));
      const shown = state.list.slice(state.page * PAGE, (state.page + 1) * PAGE);
      heads.forEach((th, k) => {
        if (o.columns[k].key === state.sort) th.setAttribute("aria-sort", state.down ? "descending" : "ascending");
        else th.removeAttribute("aria-sort");
      });
      body.replaceChildren(...shown.flatMap(row));
      if (!shown.length) body.append(h("tr", null, h("td", { colspan: o.columns.length, class: "none" }, o.all.length ? "Nothing matches the filter." : o.none)));
      const go = (to, label, glyph, off) => h("button", { type: "button", "aria-label": label, disabled: off, onclick: () => { state.page = to; page(); say(pager.firstChild.textContent); refocus(label); } }, glyph);
      pager.replaceChildren(
        h("span", null, state.list.length ? `${count(state.page * PAGE + 1)}–${count(state.page * PAGE + shown.length)} of ${count(state.list.length)}${state.list.length < o.all.length ? ` (${count(o.all.length)} in all)` : ""}` : "0"),
        go(0, "First page", "«", !state.page), go(state.page - 1, "Previous page", "‹ Previous", !state.page),
        go(state.page + 1, "Next page", "Next ›", state.page >= pages - 1), go(pages - 1, "Last page", "»", state.page >= pages - 1));
    }
    function refocus(label) {
      const own = [...pager.querySelectorAll("button")];
      const b = own.find((e) => e.getAttribute("aria-label") === label);
      (b && !b.disabled ? b : own.find((e) => !e.disabled) || pager).focus();
    }
    function row(i) {
      const open = state.open.has(i), id = `${o.id}-detail-${i}`;
      const toggle = () => {
        if (state.open.has(i)) state.open.delete(i); else state.open.add(i);
        page();
        const again = document.querySelector(`[aria-controls="${id}"]`);
        if (again) again.focus({ preventScroll: true });
      };
      const button = h("button", { type: "button", class: "open", "aria-expanded": String(open), "aria-controls": id, title: o.name(i) }, h("span", null, shortened(o.name(i))));
      const tr = h("tr", { class: "row", onclick: () => { if (!String(getSelection())) toggle(); } }, o.columns.map((c, k) => {
        if (k === 0) return h("td", null, button);
        const content = c.show(i);
        return h("td", { class: [c.number && "n", (content === "0" || content === "?" || content === "–") && "zero"].filter(Boolean).join(" ") || null }, content);
      }));
      return open ? [tr, h("tr", { id }, h("td", { class: "detail", colspan: o.columns.length }, h("div", { class: "panel" }, o.detail(i))))] : [tr];
    }
    let waiting = 0;
    $(`${o.id}-filter`).addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => { state.page = 0; update(); say(`${count(state.list.length)} match`); }, 80);
    });
    o.select.addEventListener("change", () => { state.page = 0; update(); say(`${count(state.list.length)} match`); });
    update();
    return {
      show(filter, which, open) {
        $(`${o.id}-filter`).value = filter;
        o.select.value = which;
        state.page = 0;
        state.open = new Set(open == null ? [] : [open]);
        update();
        if (open == null && state.list.length === 1) { state.open.add(state.list[0]); page(); }
        const at = open == null ? -1 : state.list.indexOf(open);
        if (at >= 0) { state.page = Math.floor(at / PAGE); page(); }
        $(o.id).scrollIntoView();
        const first = document.querySelector(`#${o.id}-table .open[aria-expanded="true"]`) || document.querySelector(`#${o.id}-table .open`);
        if (first) first.focus({ preventScroll: true });
      },
    };
  }

  function routes(list) {
    const total = sum(list);
    if (!list.length) return "?";
    if (list[0] === NEITHER || !total) return h("span", { class: "muted" }, "–");
    const text = ROUTES.map((r, k) => list[k] ? `${size(list[k])} ${r}` : "").filter(Boolean).join(", ");
    const bar = h("div", { class: "routes", role: "img", "aria-label": text }, ROUTES.map((r, k) => {
      if (!list[k]) return null;
      const part = h("i", { class: r });
      part.style.flex = `${list[k] / total} 0 0`;
      return part;
    }));
    tips.set(bar, () => ["Bytes by route", ...ROUTES.map((r, k) => [r, size(list[k])])]);
    return bar;
  }
  function routesInFull(list) {
    if (!list.length || !sum(list)) return null;
    const bar = routes(list);
    bar.style.width = "min(100%, 560px)";
    return h("div", null, bar, h("div", { class: "bytes" }, ROUTES.map((r, k) => h("span", null, h("i", { class: `key ${r}` }), `${r} `, h("b", null, size(list[k]))))));
  }
  const tag = (status) => h("span", { class: `tag ${status}` }, { published: "published", failed: "failed", partly: "failed in part", live: "live", gone: "gone", untouched: "live", unread: "can't be read" }[status]);
  const bytesTotal = (list) => list.length ? sum(list) : UNKNOWN;

  // inner is a table in a detail, of which many rows are shown when asked for.
  const FEW = 20;
  function inner(titles, rows, make) {
    const body = h("tbody", null, rows.slice(0, FEW).map(make));
    const table = h("table", null, h("thead", null, h("tr", null, titles.map((t, k) => h("th", { scope: "col", class: t[1] ? "n" : null }, t[0])))), body);
    if (rows.length <= FEW) return table;
    const button = h("button", { type: "button", class: "quiet", onclick: (e) => {
      e.stopPropagation();
      body.append(...rows.slice(FEW, 2000).map(make));
      button.remove();
    } }, `Show ${rows.length > 2000 ? "2,000" : "all"} of ${count(rows.length)}`);
    return h("div", null, table, button);
  }
  const cellsOf = (...list) => list.map((c, k) => h("td", { class: k && typeof c === "string" ? "n" : null }, c));
  const partitionLink = (name) => indexOf.has(name)
    ? h("button", { type: "button", class: "link", onclick: (e) => { e.stopPropagation(); partitionTable.show(name, "", indexOf.get(name)); } }, named(name))
    : h("span", { class: "mono" }, named(name));
  const runLink = (r) => h("button", { type: "button", class: "link", onclick: (e) => { e.stopPropagation(); runTable.show(R.name[r], "", r); } }, R.name[r]);

  function runDetail(r) {
    const f = failureOf(r), list = [];
    for (let c = firstChange[r]; c < firstChange[r + 1]; c++) list.push(c);
    const out = [];
    if (f) {
      out.push(failureBox(f, "failure", `${f.kind ? `${f.kind}: ` : ""}`));
      if (f.partitions.length) {
        out.push(inner([["Partition"], ["Became"], ["Why"]], f.partitions, (p) => h("tr", null, h("td", null, partitionLink(p.partition)), h("td", null, p.status), h("td", null, p.message || ""))));
        if (f.more) out.push(h("p", { class: "muted" }, `and ${plural(f.more, "more partition")}`));
      }
    }
    out.push(routesInFull(R.bytes[r]));
    if (list.length) {
      out.push(inner([["Partition"], ["Version", 1], ["Inserted", 1], ["Updated", 1], ["Deleted", 1], ["Rows after", 1], ["Size after", 1], ["Routes"], ["Merge", 1]], list,
        (c) => h("tr", null, cellsOf(partitionLink(P.name[C.partition[c]]), count(C.version[c]), count(C.inserted[c]), count(C.updated[c]), count(C.deleted[c]),
          C.gone[c] ? "gone" : count(C.rows[c]), C.gone[c] ? "" : size(C.size[c])), h("td", null, routes(C.bytes[c])), h("td", { class: "n" }, took(C.seconds[c])))));
    } else if (R.touched[r]) out.push(h("p", { class: "muted" }, "What it did in each partition is not on this page."));
    if (R.touched[r]) out.push(h("p", { class: "muted mono" }, `hupsert rollback ${data.table} --run ${R.name[r]}`));
    return out;
  }

  function partitionDetail(i) {
    const list = [...changesOf[i]].reverse(), out = [];
    if (unavailable(i)) out.push(failureBox({ message: data.partitions.unavailable[i] }, "failure", "It can't be read: "));
    if (!list.length) out.push(h("p", { class: "muted" }, "No run of hupsert has changed it, as far as this page goes."));
    else {
      out.push(inner([["Run"], ["Time"], ["Version", 1], ["Inserted", 1], ["Updated", 1], ["Deleted", 1], ["Rows after", 1], ["Size after", 1], ["Routes"], ["Merge", 1]], list,
        (c) => h("tr", null, h("td", null, runLink(C.run[c])), h("td", null, minute(R.at[C.run[c]])), cellsOf("", count(C.version[c]), count(C.inserted[c]), count(C.updated[c]), count(C.deleted[c]),
          C.gone[c] ? "gone" : count(C.rows[c]), C.gone[c] ? "" : size(C.size[c])).slice(1), h("td", null, routes(C.bytes[c])), h("td", { class: "n" }, took(C.seconds[c])))));
    }
    return out;
  }

  const collator = new Intl.Collator("en", { numeric: true });
  const lower = new Map();
  const lowered = (key, make) => { if (!lower.has(key)) lower.set(key, make().toLowerCase()); return lower.get(key); };
  const number = (title, key, values, show) => ({ title, key, number: true, of: (i) => values[i], show: (i) => show(values[i]) });
  let runTable, partitionTable;

  function tables() {
    runTable = listing({
      id: "runs", caption: "Runs", none: "No run so far.", sort: "at", down: true, order: collator.compare, select: $("runs-status"),
      all: R.name.map((_, r) => r), name: (r) => R.name[r], detail: runDetail,
      matches: (r, which) => !which || (which === "failed" ? !!failureOf(r) : R.touched[r] > 0),
      text: (r) => lowered(`r${r}`, () => `${R.name[r]} ${R.command[r]} ${minute(R.at[r])} ${statusOf(r)} ${failureOf(r) ? `${failureOf(r).kind} ${failureOf(r).message}` : ""}`),
      columns: [
        { title: "Run", key: "name", of: (r) => R.name[r] },
        { title: "Time", key: "at", of: (r) => R.at[r], number: false, show: (r) => minute(R.at[r]) },
        { title: "Command", key: "command", of: (r) => R.command[r], show: (r) => R.command[r] },
        { title: "Status", key: "status", of: statusOf, show: (r) => tag(statusOf(r)) },
        number("Partitions", "touched", R.touched, count), number("Inserted", "inserted", R.inserted, count), number("Updated", "updated", R.updated, count), number("Deleted", "deleted", R.deleted, count),
        { title: "Routes", key: "routes", of: (r) => bytesTotal(R.bytes[r]), show: (r) => R.touched[r] ? routes(R.bytes[r]) : "–" },
        number("Took", "seconds", R.seconds, took)],
    });
    const lastOf = (i, list) => newest[i] < 0 ? UNKNOWN : list[newest[i]];
    const status = (i) => unavailable(i) ? "unread" : !P.live[i] ? "gone" : mergedAt[i] ? "live" : "untouched";
    partitionTable = listing({
      id: "partitions", caption: "Partitions", none: "No partitions.", sort: "name", down: dater() != null, order: collator.compare, select: $("partitions-which"),
      all: P.name.map((_, i) => i), name: (i) => named(P.name[i]), detail: partitionDetail,
      matches: (i, which) => ({ "": true, recent: mergedAt[i] >= data.at - 30 * DAY, never: !mergedAt[i], gone: !P.live[i], unread: unavailable(i) })[which],
      text: (i) => lowered(`p${i}`, () => named(P.name[i])),
      columns: [
        { title: "Partition", key: "name", of: (i) => P.name[i] },
        { title: "State", key: "status", of: status, show: (i) => tag(status(i)) },
        number("Rows", "rows", P.rows, count), number("Size", "bytes", P.bytes, size), number("Files", "files", P.files, count),
        { title: "Versions", key: "versions", number: true, of: (i) => lastOf(i, C.version), show: (i) => newest[i] < 0 ? "–" : count(C.version[newest[i]]) },
        { title: "Changed", key: "changed", number: true, of: (i) => changedAll[i], show: (i) => count(changedAll[i]) },
        { title: "Last merge", key: "merged", of: (i) => mergedAt[i], show: (i) => mergedAt[i] ? minute(mergedAt[i]) : "–" },
        { title: "Last routes", key: "routes", of: (i) => newest[i] < 0 ? UNKNOWN : bytesTotal(C.bytes[newest[i]]), show: (i) => newest[i] < 0 ? "–" : routes(C.bytes[newest[i]]) },
        { title: "Took", key: "seconds", number: true, of: (i) => lastOf(i, C.seconds), show: (i) => newest[i] < 0 ? "–" : took(C.seconds[newest[i]]) }],
    });
  }
  const showPartitions = (filter) => partitionTable.show(filter, "", indexOf.get(filter));

  head();
  draw();
  $("period").value = published.length && R.at[published[0]] < data.at - 365 * DAY ? "365" : "0";
  $("period").addEventListener("change", overTime);
  overTime();
  let width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; overTime(); } });
  tables();
  root.dataset.ready = "true";
})();
