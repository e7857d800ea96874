#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws what scripts/pictures has made happen, as SVG on standard output.

pictures.py dashboard FILE PROMETHEUS SECONDS NOTE   the panels of a dashboard of Grafana's, each at its place, with what
    Prometheus answers to its queries for the last SECONDS
pictures.py screen NOTE -- COMMAND...                the last screen that a command shows on a terminal

A query that Prometheus refuses, and whatever in a panel or on a screen this program does not know, is an error: a picture has
all of it or is not made. A panel without data says so, and standard error has one line for each panel.
"""
import json
import math
import os
import pty
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from xml.sax.saxutils import escape

FONT = "system-ui,-apple-system,'Segoe UI','DejaVu Sans',Helvetica,Arial,sans-serif"
MONO = "ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace"

# A colour for each series that is read on white as well as on nearly black.
COLOURS = ["#3b82d6", "#d9652b", "#2f9e5b", "#b04fc4", "#c49a1a", "#d6476b", "#2aa3b0", "#8a8f98"]

# Light, and dark where whoever looks has asked for that.
STYLE = """
.page{fill:#f4f5f6}.panel{fill:#ffffff;stroke:#d8dbdf}.grid{stroke:#e6e8ea}.text{fill:#1f2328}.dim{fill:#5b636d}
@media (prefers-color-scheme:dark){
.page{fill:#0f1215}.panel{fill:#181b1f;stroke:#2c3136}.grid{stroke:#2a2e33}.text{fill:#e2e5e9}.dim{fill:#9aa3ad}
}
"""

COLUMN, ROW = 50, 30  # a cell of Grafana's grid, 24 of which are a row
COLUMNS = 24
HEAD = 62  # above the first panel
POINTS = 120
WIDTH = 6.8  # of a character of a legend, at most: fonts are those of whoever looks


def fail(text):
    sys.exit("pictures.py: " + text)


def text(x, y, words, size=11, kind="text", more=""):
    return '<text x="%g" y="%g" font-size="%d" class="%s"%s>%s</text>' % (x, y, size, kind, more, escape(words))


def svg(width, height, title, font, body):
    return "\n".join([
        '<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img" font-family="%s">'
        % (width, height, width, height, font),
        "<!-- SPDX-License-Identifier: Apache-2.0 -->",
        "<title>%s</title>" % escape(title),
        "<style>%s</style>" % STYLE,
        '<rect class="page" width="%d" height="%d"/>' % (width, height),
        *body,
        "</svg>",
    ])


# --- what Prometheus answers -----------------------------------------------------------------


def ask(prometheus, **parameters):
    """The series of a range: (labels, [(time, value)...])."""
    url = prometheus + "/api/v1/query_range?" + urllib.parse.urlencode(parameters)
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            result = json.load(answer)
    except urllib.error.HTTPError as error:
        raise ValueError(json.load(error).get("error", str(error))) from error
    return [(s["metric"], [(float(t), float(v)) for t, v in s["values"]]) for s in result["data"]["result"]]


def legend(template, labels):
    if not template:
        return ", ".join("%s=%s" % pair for pair in sorted(labels.items()))
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda m: labels.get(m[1], ""), template).strip()


def series_of(panel, prometheus, start, end):
    found = []
    step = max(1, math.ceil((end - start) / POINTS))
    for target in panel["targets"]:
        try:
            answer = ask(prometheus, query=target["expr"], start=start, end=end, step=step)
        except ValueError as error:
            fail("panel '%s': %s: %s" % (panel["title"], target["expr"], error))
        found += [(legend(target.get("legendFormat"), labels), values) for labels, values in answer]
    return [(name, [v for v in values if math.isfinite(v[1])]) for name, values in found], step


# --- numbers as Grafana shows them -----------------------------------------------------------

SCALES = [(1e-6, "µs"), (1e-3, "ms"), (1, "s"), (60, "min"), (3600, "h"), (86400, "d")]


def duration(value, top):
    size, word = [s for s in SCALES if s[0] <= max(top, 1e-6)][-1]
    return "%g %s" % (float("%.3g" % (value / size)), word)


def amount(value, top, word=""):
    size, letter = (1e3, "k") if top >= 1e4 else (1, "")
    return ("%g%s %s" % (float("%.3g" % (value / size)), letter, word)).strip()


UNITS = {
    "short": amount,
    "reqps": lambda value, top: amount(value, top, "req/s"),
    "ops": lambda value, top: amount(value, top, "ops/s"),
    "percentunit": lambda value, top: "%g%%" % float("%.3g" % (100 * value)),
    "s": duration,
    "bool_yes_no": lambda value, top: "Yes" if value else "No",
}


def ticks(top, unit):
    """Round numbers from 0 to at least the top, three to six of them."""
    if top <= 0:
        return [0, 1]
    bases = [1, 2, 2.5, 5, 10]
    scale = [s[0] for s in SCALES if s[0] <= top][-1] if unit == "s" and top >= 60 else 1
    if scale > 1:
        bases = [0.25, 0.5, 1, 2, 3, 5, 10, 15, 30]
        power = scale
    else:
        power = 10 ** math.floor(math.log10(top / 4))
    step = next((b * power for b in bases if b * power * 5 >= top), 100 * power)
    return [i * step for i in range(math.ceil(top / step - 1e-9) + 1)]


# --- panels ----------------------------------------------------------------------------------


def path(values, step, place):
    """Lines through the values, with a gap where some are missing; what lies between two that are alike says nothing."""
    parts, before, pending = [], None, None
    for when, value in values:
        x, y = place(when, value)
        if before is None or when - before[0] > 1.5 * step:
            if pending:
                parts.append("L%g %g" % pending)
            parts.append("M%g %g" % (x, y))
            pending = None
        elif y == before[1]:
            pending = (x, y)
        else:
            if pending:
                parts.append("L%g %g" % pending)
            parts.append("L%g %g" % (x, y))
            pending = None
        before = (when, y)
    if pending:
        parts.append("L%g %g" % pending)
    return "".join(parts)


def legend_rows(names, width):
    """(x, row, number of the series) of each."""
    x, row, found = 0, 0, []
    for i, name in enumerate(names):
        needed = 30 + WIDTH * len(name)
        if x and x + needed > width:
            x, row = 0, row + 1
        found.append((x, row, i))
        x += needed
    return found, row + 1


def look(i):
    """Colour, and dashes for those after the last colour."""
    return COLOURS[i % len(COLOURS)], (' stroke-dasharray="%d 3"' % (2 + 3 * (i // len(COLOURS))) if i >= len(COLOURS) else "")


def draw_lines(series, step, unit, start, end, x, y, w, h):
    out = []
    places, rows = legend_rows([name for name, _ in series], w - 24)
    left, right, upper, lower = x + 62, x + w - 16, y + 38, y + h - 30 - 15 * rows
    marks = ticks(max(v for _, values in series for _, v in values), unit)
    top = marks[-1]
    if min(v for _, values in series for _, v in values) < 0:
        fail("a value below 0")

    def place(when, value):
        return round(left + (when - start) / (end - start) * (right - left), 1), round(lower - value / top * (lower - upper), 1)

    for mark in marks:
        at = place(start, mark)[1]
        out.append('<path class="grid" d="M%g %gH%g"/>' % (left, at, right))
        out.append(text(left - 6, at + 3.5, UNITS[unit](mark, top), 10, "dim", ' text-anchor="end"'))
    for i in range(5):
        back = (end - start) * (1 - i / 4)
        back = round(back / 15) * 15 if back >= 60 else back
        words = "now" if i == 4 else "−" + duration(back, max(back, 1))
        out.append(text(left + i * (right - left) / 4, lower + 14, words, 10, "dim",
                        ' text-anchor="%s"' % ("start" if i == 0 else "end" if i == 4 else "middle")))
    for i, (name, values) in enumerate(series):
        colour, dash = look(i)
        if len(values) == 1:
            at = place(*values[0])
            out.append('<circle cx="%g" cy="%g" r="2.5" fill="%s"/>' % (*at, colour))
        elif values:
            out.append('<path fill="none" stroke="%s" stroke-width="1.6" stroke-linejoin="round"%s d="%s"/>'
                       % (colour, dash, path(values, step, place)))
    for at, row, i in places:
        colour, dash = look(i)
        base = lower + 32 + 15 * row
        out.append('<path stroke="%s" stroke-width="3"%s d="M%g %gh12"/>' % (colour, dash, x + 12 + at, base - 4))
        out.append(text(x + 28 + at, base, series[i][0], 11))
    return out


def draw_numbers(series, unit, x, y, w, h):
    out, each = [], w / len(series)
    for i, (name, values) in enumerate(series):
        middle = x + each * (i + 0.5)
        out.append(text(middle, y + h / 2 + 18, UNITS[unit](values[-1][1], values[-1][1]), 44, "text",
                        ' text-anchor="middle" style="fill:%s" font-weight="600"' % COLOURS[i % len(COLOURS)]))
        out.append(text(middle, y + h / 2 + 44, name, 13, "dim", ' text-anchor="middle"'))
    return out


def draw_panel(panel, prometheus, start, end):
    grid, unit = panel["gridPos"], panel["fieldConfig"]["defaults"].get("unit", "short")
    x, y, w, h = grid["x"] * COLUMN + 5, HEAD + grid["y"] * ROW + 5, grid["w"] * COLUMN - 10, grid["h"] * ROW - 10
    if unit not in UNITS:
        fail("panel '%s': the unit %s is not known" % (panel["title"], unit))
    if panel["type"] not in ("stat", "timeseries"):
        fail("panel '%s': the type %s is not known" % (panel["title"], panel["type"]))
    series, step = series_of(panel, prometheus, start, end)
    series = [s for s in series if s[1]]
    out = ['<rect class="panel" x="%g" y="%g" width="%g" height="%g" rx="3"/>' % (x, y, w, h),
           text(x + 12, y + 21, panel["title"], 13, "text", ' font-weight="600"')]
    if not series:
        out.append(text(x + w / 2, y + h / 2 + 6, "No data", 14, "dim", ' text-anchor="middle"'))
    elif panel["type"] == "stat":
        out += draw_numbers(series, unit, x, y, w, h)
    else:
        out += draw_lines(series, step, unit, start, end, x, y, w, h)
    print("%s: %s" % (panel["title"], "%d series" % len(series) if series else "no data"), file=sys.stderr)
    return out


def dashboard(file, prometheus, seconds, note):
    with open(file, encoding="utf-8") as f:
        doc = json.load(f)
    end = time.time()
    body = [text(10, 28, doc["title"], 20, "text", ' font-weight="600"'), text(10, 49, note, 12, "dim")]
    for panel in doc["panels"]:
        body += draw_panel(panel, prometheus, end - float(seconds), end)
    height = HEAD + ROW * max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in doc["panels"]) + 5
    return svg(COLUMNS * COLUMN, height, "The dashboard of kekd", FONT, body)


# --- a terminal ------------------------------------------------------------------------------

CLEAR = "\x1b[H\x1b[2J"


def screen(note, command):
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp(command[0], command)
    seen = b""
    while True:
        try:
            data = os.read(terminal, 65536)
        except OSError:
            break
        if not data:
            break
        seen += data
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status != 0:
        fail("%s: exit status %d: %s" % (command[0], status, seen.decode()))
    last = seen.decode().rsplit(CLEAR, 1)[-1].replace("\r\n", "\n").rstrip("\n")
    if not last.isprintable() and not last.replace("\n", "").isprintable():
        fail("the screen has what this program does not draw: " + ascii(last))
    lines = last.split("\n")
    size, high = 14, 19
    width = round(max(len(line) for line in lines) * size * 0.62 + 40)
    body = ['<rect class="panel" x="6" y="6" width="%d" height="%d" rx="6"/>' % (width - 12, len(lines) * high + 28)]
    for i, line in enumerate(lines):
        if line:
            body.append(text(20, 30 + i * high, line, size, "text", ' xml:space="preserve"'))
    height = len(lines) * high + 62
    body.append(text(20, height - 12, note, 11, "dim", ' style="font-family:%s"' % FONT.replace('"', "")))
    return svg(width, height, "kekctl top", MONO, body)


def main(arguments):
    if len(arguments) == 5 and arguments[0] == "dashboard":
        print(dashboard(*arguments[1:]))
    elif len(arguments) > 3 and arguments[0] == "screen" and arguments[2] == "--":
        print(screen(arguments[1], arguments[3:]))
    else:
        sys.exit(__doc__)


main(sys.argv[1:])
