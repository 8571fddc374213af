"""Inside of the mouth: the bag behind the lips, two arches of teeth in their gums, and the tongue."""

from __future__ import annotations

import numpy as np

from avatarkit.heads.parts import Array, Index, Part, fan, grid_uv, open_mirror, rigid, smoothstep, strip

BAG_DEPTH = (0.0024, 0.0044, 0.0070, 0.0125, 0.026, 0.042, 0.055)
"""Depth of the bag's rows behind the lips, meters; a last vertex closes it."""
BAG_WIDTH = (0.0, 0.0215, 0.0225, 0.0280, 0.0310, 0.028, 0.016)
BAG_ABOVE = (0.0, 0.0075, 0.0155, 0.0195, 0.019, 0.015, 0.007)
BAG_BELOW = (0.0, 0.0070, 0.0125, 0.0205, 0.021, 0.016, 0.007)
"""Half axes of the bag's cross-sections at these rows (the first keeps to the lips)."""
BAG_BLEND = (0.0, 0.6, 0.9, 1.0, 1.0, 1.0, 1.0)
"""Share of those cross-sections against the lips' own outline."""
BAG_FOLLOWS = (0.95, 0.75, 0.45, 0.1, 0.0, 0.0, 0.0)
"""Share of the lips' motion that the rows take part in; the rest is the skull's or the mandible's."""

UPPER_TEETH = (8.5, 6.6, 7.6, 7.1, 6.8, 10.0, 9.6)
LOWER_TEETH = (5.4, 5.9, 6.9, 7.1, 7.1, 11.0, 10.5)
"""Widths of the crowns from the middle outwards, mm (Wheeler's Dental Anatomy)."""
UPPER_CROWNS = (10.2, 9.2, 10.0, 8.4, 7.8, 7.2, 7.0)
LOWER_CROWNS = (8.8, 9.2, 10.2, 8.6, 8.0, 7.4, 7.0)
"""Heights of the crowns, mm."""
THICKNESS = (1.6, 1.6, 2.4, 5.5, 6.5, 9.0, 9.0)
"""Of the biting edge, mm."""
TEETH_BEHIND_LIPS = 0.0074
OVERBITE = 0.0022
"""Upper edge below the line where the lips meet, meters."""
SAMPLES = 3
"""Columns per tooth."""
TEETH_ROWS = 7

TONGUE_SECTIONS = 11
TONGUE_COLUMNS = 14


def bag(lips: Array) -> tuple[Array, Array]:
    """Rows [R, C, 3] behind the ``lips`` [C, 3] and the closing vertex [3].

    Columns start at the middle of the upper lip; those at C/4 and 3C/4 are the corners.
    """
    columns = len(lips)
    turn = np.pi / 2 + 2 * np.pi * np.arange(columns) / columns
    middle = (lips[0] + lips[columns // 2]) / 2
    rows = []
    for depth, width, above, below, blend in zip(
        BAG_DEPTH, BAG_WIDTH, BAG_ABOVE, BAG_BELOW, BAG_BLEND, strict=True
    ):
        height = np.where(np.sin(turn) > 0, above, below)
        section = np.stack([width * np.cos(turn), middle[1] + height * np.sin(turn)], 1)
        # Closed lips touch over their thickness and part behind it.
        own = lips[:, :2] + np.stack([0 * turn, 0.3 * (depth - BAG_DEPTH[0]) * np.sin(turn)], 1)
        level = smoothstep(0.02, 0.05, np.array(depth))
        z = (1 - level) * lips[:, 2] + level * (lips[:, 2].mean()) - depth
        rows.append(np.concatenate([(1 - blend) * own + blend * section, z[:, None]], 1))
    end = np.array((0.0, middle[1], rows[-1][:, 2].mean() - 0.004))
    return np.array(rows), end


def bag_jaw_share(columns: int) -> Array:
    """[R, C] how far the bag's rows belong to the mandible: the lower half does, but not the throat."""
    turn = np.pi / 2 + 2 * np.pi * np.arange(columns) / columns
    lower = smoothstep(0.15, -0.45, np.sin(turn))
    throat = smoothstep(0.058, 0.03, np.array(BAG_DEPTH))
    out: Array = throat[:, None] * lower
    return out


def bag_triangles(lips: Index, first: int) -> tuple[Index, Array, Index]:
    """Triangles from the vertices ``lips`` [C] through the rows from ``first`` on; their chart's uv.

    Counter-clockwise seen from inside the mouth when the lips' order is opposite to the face's border.
    Returns triangles [F, 3], uv [U, 2] and uv triangles [F, 3].
    """
    columns, rows = len(lips), len(BAG_DEPTH)
    names = np.concatenate([lips, first + np.arange(rows * columns)])
    end = first + rows * columns
    triangles = np.concatenate([names[strip(rows + 1, columns, closed=True)], fan(names[-columns:], end)])
    uv, uv_triangles = grid_uv(rows + 1, columns, closed=True, heights=np.linspace(0, 0.94, rows + 1))
    tip = len(uv) + np.arange(columns)
    uv = np.concatenate([uv, np.stack([(np.arange(columns) + 0.5) / columns, np.ones(columns)], 1)])
    last = rows * (columns + 1) + np.arange(columns)
    uv_triangles = np.concatenate([uv_triangles, np.stack([last, last + 1, tip], 1)])
    return triangles, uv, uv_triangles


def teeth(lips: Array, upper: bool) -> Part:
    """An arch of fourteen teeth in its gum, fitted behind the ``lips`` [C, 3] (columns as in ``bag``).

    A strip from the outer gum over the biting edge to the inner gum: rows root, gum line, crown's neck,
    crown's middle, outer edge, inner edge, inner root. Upper teeth belong to the skull, lower to the jaw.
    """
    middle = (lips[0] + lips[len(lips) // 2]) / 2
    widths, crowns = (
        np.array(part) * 1e-3
        for part in ((UPPER_TEETH, UPPER_CROWNS) if upper else (LOWER_TEETH, LOWER_CROWNS))
    )
    borders = np.concatenate([[0], np.cumsum(widths)])
    within = np.arange(SAMPLES) / SAMPLES
    half = np.concatenate([borders[:-1, None] + widths[:, None] * within, np.full((1, SAMPLES), borders[-1])])
    half = half.ravel()[: SAMPLES * len(widths) + 1]
    tooth = np.minimum(np.arange(len(half)) // SAMPLES, len(widths) - 1)
    groove = np.where(np.arange(len(half)) % SAMPLES == 0, 1.0, 0.0)
    arc = np.concatenate([-half[:0:-1], half])
    tooth, groove = (np.concatenate([part[:0:-1], part]) for part in (tooth, groove))

    front = middle[2] - TEETH_BEHIND_LIPS - (0.0 if upper else 0.0022)
    a, b = (0.0300, 0.0440) if upper else (0.0282, 0.0420)
    place, outward = _arch(arc, a, b)
    up = 1.0 if upper else -1.0
    edge = middle[1] - OVERBITE + (0.0 if upper else 0.0012)
    # The curve of Spee: the molars' edges rise a little above the incisors'.
    edge_height = edge + 0.0015 * np.square(arc / borders[-1])
    crown = np.array(crowns)[tooth] - np.where(groove > 0, 0.0014, 0)
    bulge = np.where(groove > 0, -0.0009, 0.0)
    thick = np.interp(np.abs(arc), (borders[1:] + borders[:-1]) / 2, np.array(THICKNESS) * 1e-3)
    gum = edge_height + up * crown

    def row(out: Array | float, height: Array) -> Array:
        base = np.concatenate([place[:, :1], height[:, None], front + place[:, 1:]], 1)
        side = np.broadcast_to(np.asarray(out, np.float64), arc.shape)[:, None]
        return base + side * np.stack([outward[:, 0], 0 * arc, outward[:, 1]], 1)

    bite = edge_height + np.where(groove > 0, up * 0.0005, 0.0)
    rows = np.array([
        row(0.0006, gum + up * 0.0085),
        row(0.0012 + 0.3 * bulge, gum + up * 0.0003),
        row(0.0003 + bulge, gum - up * 0.0003),
        row(0.0008 + bulge, (gum + bite) / 2),
        row(-0.0002 + bulge, bite),
        row(-thick, bite),
        row(-thick - 0.0035, gum + up * 0.006),
    ])  # fmt: skip
    columns = len(arc)
    triangles = strip(TEETH_ROWS, columns, closed=False)
    uv, uv_triangles = grid_uv(TEETH_ROWS, columns, closed=False)
    if upper:  # the rows run downwards: turn the strip over
        triangles, uv_triangles = triangles[:, ::-1], uv_triangles[:, ::-1]
    region = np.repeat(["gums", "gums", "teeth", "teeth", "teeth", "teeth", "gums"], columns)
    count = TEETH_ROWS * columns
    return Part(rows.reshape(-1, 3), triangles, uv, uv_triangles, region,
                open_mirror(TEETH_ROWS, columns), rigid(count, 0 if upper else 2))  # fmt: skip


def _arch(arc: Array, a: float, b: float) -> tuple[Array, Array]:
    """Points (x, z) [N, 2] and outward normals at arc lengths ``arc`` from the front of the half ellipse."""
    fine = np.linspace(-1.75, 1.75, 2001)
    curve = np.stack([a * np.sin(fine), -b * (1 - np.cos(fine))], 1)
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))])
    turn = np.interp(arc, length - length[1000], fine)
    normal = np.stack([np.sin(turn) / a, np.cos(turn) / b], 1)
    place = np.stack([a * np.sin(turn), -b * (1 - np.cos(turn))], 1)
    return place, normal / np.linalg.norm(normal, axis=1, keepdims=True)


def tongue(lips: Array) -> tuple[Part, Array]:
    """The tongue resting behind the lower teeth, and its displacement [N, 3] when stuck out."""
    middle = (lips[0] + lips[len(lips) // 2]) / 2
    along = np.linspace(0, 1, TONGUE_SECTIONS)  # root to tip
    rounding = np.sqrt(np.maximum(1 - np.maximum((along - 0.72) / 0.28, 0) ** 2, 0.0) + 0.03)
    root = np.sqrt(np.minimum(1, 0.25 + along / 0.2))
    width = 0.0185 * rounding * root * (1 - 0.12 * along)
    thick = (0.0095 - 0.0045 * along) * rounding**0.5 * root
    z = middle[2] - 0.052 + 0.0395 * along
    y = middle[1] - 0.0155 + 0.0035 * np.sin(np.pi * np.minimum(along * 1.1, 1)) + 0.002 * along
    turn = np.pi / 2 + 2 * np.pi * np.arange(TONGUE_COLUMNS) / TONGUE_COLUMNS
    cos, sin = np.cos(turn), np.sin(turn)
    # A shallow groove runs along the middle of the back.
    top = np.where(sin > 0, sin - 0.22 * np.exp(-np.square(cos / 0.35)), sin)
    body = np.stack([
        width[:, None] * cos,
        y[:, None] + thick[:, None] * top,
        np.broadcast_to(z[:, None], (TONGUE_SECTIONS, TONGUE_COLUMNS)),
    ], -1)  # fmt: skip
    ends = np.array([(0, y[0], z[0] - 0.003), (0, y[-1], z[-1] + 0.0016)])
    vertices = np.concatenate([body.reshape(-1, 3), ends])
    count = len(vertices)
    first = np.arange(TONGUE_COLUMNS)
    last = (TONGUE_SECTIONS - 1) * TONGUE_COLUMNS + first
    grid = strip(TONGUE_SECTIONS, TONGUE_COLUMNS, closed=True)
    triangles = np.concatenate([grid, fan(first[::-1], count - 2), fan(last, count - 1)])
    uv, uv_triangles = grid_uv(TONGUE_SECTIONS, TONGUE_COLUMNS, closed=True,
                               heights=np.linspace(0.06, 0.94, TONGUE_SECTIONS))  # fmt: skip
    wide = TONGUE_COLUMNS + 1
    half = (np.arange(TONGUE_COLUMNS) + 0.5) / TONGUE_COLUMNS
    tips = np.concatenate([np.stack([half, 0 * half], 1), np.stack([half, 0 * half + 1], 1)])
    bottom = len(uv) + np.arange(TONGUE_COLUMNS)
    tip_row = (TONGUE_SECTIONS - 1) * wide + first
    tip_fan = np.stack([tip_row, tip_row + 1, bottom + TONGUE_COLUMNS], 1)
    uv_triangles = np.concatenate([uv_triangles, _back_fan(first, bottom), tip_fan])
    uv = np.concatenate([uv, tips])
    column = (-np.arange(TONGUE_COLUMNS)) % TONGUE_COLUMNS
    mirror = np.concatenate(
        [(np.arange(TONGUE_SECTIONS)[:, None] * TONGUE_COLUMNS + column).ravel(), [count - 2, count - 1]]
    )
    weights = rigid(count, 2)
    part = Part(vertices, triangles, uv, uv_triangles, np.full(count, "tongue"), mirror, weights)
    share = np.concatenate([np.repeat(along, TONGUE_COLUMNS), [0, 1]])
    reach = smoothstep(0.0, 1.0, share) * share**0.5
    # It rises over the lower teeth and lip, then hangs down at the tip, and narrows on its way.
    lift = 0.015 * smoothstep(0.15, 0.6, share) - 0.012 * smoothstep(0.6, 1.0, share)
    out = np.stack([-0.15 * vertices[:, 0] * reach, lift, 0.047 * reach], 1)
    return part, out


def _back_fan(first: Index, bottom: Index) -> Index:
    """Chart triangles of the fan over the reversed first ring, in the order ``fan`` makes them."""
    columns = len(first)
    high = first[::-1]  # ring vertex i of the reversed loop; the next one is one column lower
    low = high - 1
    wrapped = low < 0
    return np.stack([np.where(wrapped, columns, high), np.where(wrapped, columns - 1, low),
                     bottom[np.where(wrapped, columns - 1, low)]], 1)  # fmt: skip
