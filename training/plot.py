"""A log of JSON lines as curves over minutes, one small chart per quantity, in SVG."""

import json

WIDTH, HEIGHT, MARGIN = 640, 160, 40


def write_plot(log, path):
    with open(log) as file:
        lines = [json.loads(line) for line in file]
    names = [name for name in dict.fromkeys(name for line in lines for name in line) if name not in ("minutes", "steps")]
    charts = [
        chart(name, [(line["minutes"], line[name]) for line in lines if isinstance(line.get(name), (int, float))], i)
        for i, name in enumerate(names)
    ]
    with open(path, "w") as file:
        height = len(charts) * (HEIGHT + MARGIN) + MARGIN
        file.write(f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH + 3 * MARGIN}" height="{height}" ')
        file.write('font-family="sans-serif" font-size="12">')
        file.write(f"<title>{', '.join(names)} over minutes of training</title>")
        file.write('<rect width="100%" height="100%" fill="white"/>\n')
        file.write("\n".join(charts) + "\n</svg>\n")


def chart(name, points, row):
    if not points:
        return ""
    left, top = 2 * MARGIN, MARGIN + row * (HEIGHT + MARGIN)
    xs, ys = [x for x, _ in points], [y for _, y in points]
    low, high, last = min(ys), max(ys), max(max(xs), 1e-9)
    spread = (high - low) or 1
    place = lambda x, y: f"{left + x / last * WIDTH:.1f},{top + (high - y) / spread * HEIGHT:.1f}"
    return (
        f'<text x="{left}" y="{top - 6}">{name}, last {ys[-1]:.4g}</text>'
        f'<text x="{left - 6}" y="{top + 10}" text-anchor="end">{high:.4g}</text>'
        f'<text x="{left - 6}" y="{top + HEIGHT}" text-anchor="end">{low:.4g}</text>'
        f'<text x="{left + WIDTH}" y="{top + HEIGHT + 14}" text-anchor="end">{last:.1f} min</text>'
        f'<rect x="{left}" y="{top}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#ccc"/>'
        f'<polyline fill="none" stroke="#2d69cd" points="{" ".join(place(x, y) for x, y in points)}"/>'
    )
