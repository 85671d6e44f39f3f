"""Charts of the benchmarks, as SVG: lines over time, one panel below the other, and bars of ratios. Standard library alone."""
FONT = 'font-family="sans-serif" font-size="12"'
COLOURS = ('#06c', '#c60', '#393', '#888')


def text(x, y, what, anchor='start', colour='#000', bold=False):
    weight = ' font-weight="bold"' if bold else ''
    what = what.replace('&', '&amp;').replace('<', '&lt;')
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"{weight}>{what}</text>'


def write(path, width, height, parts):
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" {FONT}>'
    with open(path, 'w', encoding='utf-8') as f:
        f.write('\n'.join([head, '<rect width="100%" height="100%" fill="white"/>', *parts, '</svg>']) + '\n')


def nice(top):
    """The next of 1, 2, 5, 10 ... that is not below."""
    step = 1e-6
    while True:
        for m in (1, 2, 5):
            if step * m >= top:
                return step * m
        step *= 10


# ---- lines ----

WIDTH, HEIGHT, LEFT, RIGHT, GAP = 900, 130, 70, 10, 34


def panel(y, title, times, lines, limit):
    top = nice(max([limit or 0] + [max(values) for _, values in lines] + [1e-6]))
    span = max(times[-1], 1e-9)

    def at(t, v):
        return f'{LEFT + t / span * (WIDTH - LEFT - RIGHT):.1f},{y + HEIGHT - v / top * HEIGHT:.1f}'

    out = [text(LEFT, y - 8, title, bold=True),
           f'<rect x="{LEFT}" y="{y}" width="{WIDTH - LEFT - RIGHT}" height="{HEIGHT}" fill="none" stroke="#999"/>']
    out += [text(LEFT - 6, y + HEIGHT - share * HEIGHT + 4, f'{top * share:g}', 'end') for share in (0, 0.5, 1)]
    if limit:
        out.append(f'<polyline points="{at(0, limit)} {at(span, limit)}" stroke="#b00" stroke-dasharray="5 4"/>')
    x = WIDTH - RIGHT
    for (name, values), colour in zip(lines, COLOURS):
        points = ' '.join(at(t, v) for t, v in zip(times, values))
        out.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.2"/>')
        out.append(text(x, y - 8, name, 'end', colour))
        x -= 8 * len(name) + 16
    return out


def lines(path, title, minutes, panels):
    """panels: [(title, [(name, values)], limit or None)], values one for each of the minutes; the limit is a dashed line."""
    out = [text(10, 16, title)]
    for i, (name, drawn, limit) in enumerate(panels):
        out += panel(50 + i * (HEIGHT + GAP), name, minutes, drawn, limit)
    height = 60 + len(panels) * (HEIGHT + GAP)
    write(path, WIDTH, height, out + [text(WIDTH - RIGHT, height - 8, f'minutes: 0 to {minutes[-1]:.1f}', 'end')])


# ---- bars ----

BAR, SPACE, NAMES = 12, 16, 230


def bars(path, title, names, rows):
    """rows: [(what, [value or None for each name], {mark's letter: value})]. Bars from 0, a line at 1, marks where they say."""
    top = max(v for _, values, marks in rows for v in [*values, *marks.values()] if v is not None)
    scale = (WIDTH - NAMES - 50) / top
    out, y = [text(10, 16, title)], 34
    for i, name in enumerate(names):
        out.append(text(NAMES + 130 * i, y, name, colour=COLOURS[i], bold=True))
    y += 14
    begin = y
    for what, values, marks in rows:
        group = BAR * len(values)
        out.append(text(NAMES - 8, y + group / 2 + 4, what, 'end'))
        for i, v in enumerate(values):
            if v is not None:
                out.append(f'<rect x="{NAMES}" y="{y + BAR * i}" width="{v * scale:.1f}" height="{BAR - 2}" fill="{COLOURS[i]}"/>')
                out.append(text(NAMES + v * scale + 4, y + BAR * i + 10, f'{v:.2f}', colour=COLOURS[i]))
        for letter, v in marks.items():
            x = NAMES + v * scale
            out.append(f'<line x1="{x:.1f}" y1="{y - 3}" x2="{x:.1f}" y2="{y + group}" stroke="#b00"/>')
            out.append(text(x, y + group + 10, letter, 'middle', '#b00'))
        y += group + SPACE
    out.append(f'<line x1="{NAMES + scale:.1f}" y1="{begin - 4}" x2="{NAMES + scale:.1f}" y2="{y}" stroke="#000" stroke-dasharray="3 3"/>')
    write(path, WIDTH, y + 10, out)
